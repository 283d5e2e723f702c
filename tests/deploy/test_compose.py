"""The compose file: every file, port and name it speaks of is there."""

import re
import shutil
import subprocess

import pytest
from documents import DASHBOARD, DEPLOY, read_yaml
from images import environment, stages

from dialog_service.serving import app
from dialog_service.serving.settings import Settings, load_settings

COMPOSE = DEPLOY / "compose.yaml"
ON_GPU = DEPLOY / "compose.cuda.yaml"
SERVICES = read_yaml(COMPOSE)["services"]
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
PROVISIONING = DEPLOY / "grafana" / "provisioning"


def mounts(service: str) -> dict[str, str]:
    """Where a service finds which of our files; all are read-only."""
    split = [each.split(":") for each in SERVICES[service]["volumes"]]
    assert all(mode == "ro" for _, _, mode in split)
    return {inside: outside for outside, inside, _ in split}


def has_compose() -> bool:
    """Whether docker has its compose plugin; it checks a file without a daemon."""
    if not shutil.which("docker"):
        return False
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=30)
    return done.returncode == 0


def test_the_service_is_built_from_stages_there_are():
    build = SERVICES["dialog"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    on_gpu = read_yaml(ON_GPU)["services"]["dialog"]["build"]
    assert {build["target"], on_gpu["target"]} == {"cpu", "cuda"} & set(stages())


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_what_is_mounted_is_there(service: str):
    assert all((DEPLOY / outside).exists() for outside in mounts(service).values())


def test_images_have_versions():
    images = [each["image"] for each in SERVICES.values() if "image" in each]
    assert all(re.fullmatch(r"[\w/]+:v?\d+\.\d+[\w.-]*", image) for image in images)
    assert len(images) == 3


def test_only_this_machine_reaches_what_is_published():
    published = [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, ON_GPU]], ids=["cpu", "cuda"])
def test_the_service_is_given_settings_it_takes(files, monkeypatch: pytest.MonkeyPatch, caplog):
    given = [read_yaml(file)["services"]["dialog"]["environment"] for file in files]
    for name, value in {k: v for each in given for k, v in each.items()}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings({})
    assert not caplog.records
    host = re.fullmatch(r"redis://(\w+):6379/0", settings.redis_url)
    assert host
    assert host[1] in SERVICES


def test_the_service_has_time_to_drain_before_it_is_killed():
    settings = Settings()
    needed = settings.drain_delay_seconds + settings.drain_grace_seconds
    needed += app._GATHER_SECONDS + app._FLUSH_SECONDS
    grace = SERVICES["dialog"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) >= needed + 10


def test_prometheus_scrapes_the_service_where_it_shows_its_figures():
    (job,) = read_yaml(CONFIG)["scrape_configs"]
    ((target,),) = [each["targets"] for each in job["static_configs"]]
    host, _, port = target.partition(":")
    assert host in SERVICES
    assert environment("cpu")["DIALOG_METRICS_ADDRESS"].endswith(f":{port}")
    assert mounts("prometheus")["/etc/prometheus/rules"] == "./prometheus/rules"


def test_grafana_finds_prometheus_and_the_dashboard():
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES
    (provider,) = read_yaml(PROVISIONING / "dashboards" / "dialog-service.yaml")["providers"]
    folder = mounts("grafana")[provider["options"]["path"]]
    assert (DEPLOY / folder).resolve() == DASHBOARD.parent


def test_what_a_service_waits_for_is_there():
    waits = [each for service in SERVICES.values() for each in service.get("depends_on", ())]
    assert set(waits) <= set(SERVICES)


@pytest.mark.skipif(not has_compose(), reason="docker compose is not here")
@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, ON_GPU]], ids=["cpu", "cuda"])
def test_docker_compose_accepts_it(files):
    named = [word for file in files for word in ("-f", str(file))]
    command = ["docker", "compose", *named, "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
