"""The manifests against Kubernetes' own schemas, against one another, and against the code."""

import copy
import re
import shlex

import kubernetes_validate
import pytest
import typer
from documents import (
    KUBERNETES,
    ROOT,
    container,
    kustomizations,
    manifest,
    manifests,
    read_yaml,
    rendered,
    renderer,
    variables,
)
from images import environment, stages, user

from dialog_service.serving import app
from dialog_service.serving.health import SERVICE
from dialog_service.serving.settings import load_settings, unknown_names
from train.evaluate.cli import app as evaluate

OLDEST = "1.30"
NEWEST = kubernetes_validate.latest_version()
SERVED = {"app.kubernetes.io/name": "dialog-service"}
OBJECTS = [
    pytest.param(each, id=f"{folder}-{each['kind']}-{each['metadata']['name']}")
    for folder in ("service", "evaluation")
    for each in manifests(folder)
]
WORKLOADS = [each for each in OBJECTS if each.values[0]["kind"] in ("Deployment", "Job")]


def deployed() -> dict[str, str]:
    """The environment of the service's container: the image's, then the cluster's."""
    return environment("cpu") | variables(KUBERNETES / "service" / "settings.env")


def pod(workload: dict) -> dict:
    return workload["spec"]["template"]["spec"]


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("manifest", OBJECTS)
def test_an_object_is_what_its_schema_says(manifest: dict, version: str):
    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize(
    "change",
    [{"replcas": 2}, {"replicas": "two"}, {"template": {"spec": {}}}],
    ids=str,
)
def test_the_schema_can_refuse(change: dict):
    broken = copy.deepcopy(manifest("Deployment"))
    broken["spec"] |= change
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, NEWEST, strict=True)


@pytest.mark.parametrize("folder", kustomizations(), ids=lambda path: path.name)
def test_a_kustomization_names_files_that_are_there(folder):
    kustomization = read_yaml(folder / "kustomization.yaml")
    generators = kustomization.get("configMapGenerator", ())
    named = [*kustomization.get("resources", ())]
    for generator in generators:
        named += [*generator.get("files", ()), *generator.get("envs", ())]
    assert named
    assert all((folder / name).exists() for name in named)
    written = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    helm_values = {path.name for path in folder.glob("*-values.yaml")}
    assert written - helm_values <= set(named)


@pytest.mark.skipif(renderer() is None, reason="neither kustomize nor kubectl is on the PATH")
@pytest.mark.parametrize("folder", kustomizations(), ids=lambda path: path.name)
def test_what_kustomize_renders_is_valid(folder):
    objects = rendered(folder)
    for each in objects:
        kubernetes_validate.validate(each, NEWEST, strict=True)
    images = [container(each)["image"] for each in objects if "template" in each.get("spec", {})]
    assert not {"dialog-service", "dialog-evaluation"} & set(images)


@pytest.mark.skipif(renderer() is None, reason="neither kustomize nor kubectl is on the PATH")
def test_the_overlay_for_gpus_changes_what_it_should():
    (found,) = [
        each
        for each in rendered(KUBERNETES / "cuda")
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "dialog-service"
    ]
    assert container(found)["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container(found)["image"].endswith("-cuda")
    assert container(found)["readinessProbe"] == container(manifest("Deployment"))["readinessProbe"]


def test_images_have_the_packages_version():
    (version,) = re.findall(r'(?m)^version = "(.*)"', (ROOT / "pyproject.toml").read_text())
    tags = [
        image["newTag"].removesuffix("-cuda")
        for folder in kustomizations()
        for image in read_yaml(folder / "kustomization.yaml").get("images", ())
    ]
    assert tags == [version] * 3


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_pod_has_no_rights_it_does_not_need(workload: dict):
    spec, own = pod(workload), container(workload)["securityContext"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["readOnlyRootFilesystem"]
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_pod_says_what_it_needs_and_gets_no_stray_variables(workload: dict):
    resources = container(workload)["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])
    assert "memory" in resources["limits"]
    assert pod(workload)["enableServiceLinks"] is False


@pytest.mark.parametrize(
    ("workload", "target"),
    [
        (manifest("Deployment"), "cpu"),
        (manifest("Job", "dialog-evaluation", "evaluation"), "evaluation"),
    ],
    ids=["service", "evaluation"],
)
def test_a_pod_runs_as_the_images_user_with_as_many_threads_as_cores(workload: dict, target: str):
    assert pod(workload)["securityContext"]["runAsUser"] == int(user(target))
    (threads,) = [e["value"] for e in container(workload)["env"] if e["name"] == "OMP_NUM_THREADS"]
    assert container(workload)["resources"]["requests"]["cpu"] == threads
    mounted = {mount["mountPath"] for mount in container(workload)["volumeMounts"]}
    assert "/tmp" in mounted  # the one place to write on a read-only root


def test_settings_are_ones_that_the_service_takes(monkeypatch: pytest.MonkeyPatch):
    for name, value in deployed().items():
        monkeypatch.setenv(name, value)
    settings = load_settings({})
    assert not unknown_names()
    assert settings.log_format == "json"
    host = re.fullmatch(r"redis://([\w-]+):(\d+)/0", settings.redis_url)
    assert host
    redis = manifest("Service", host[1])["spec"]
    assert [each["port"] for each in redis["ports"]] == [int(host[2])]


def test_ports_and_probes_are_the_servers():
    settings, own = deployed(), container(manifest("Deployment"))
    ports = {each["name"]: each["containerPort"] for each in own["ports"]}
    assert ports["grpc"] == port(settings["DIALOG_GRPC_ADDRESS"])
    assert ports["metrics"] == port(settings["DIALOG_METRICS_ADDRESS"])
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["metrics"])
    ready, alive = own["readinessProbe"]["grpc"], own["livenessProbe"]["grpc"]
    assert ready == own["startupProbe"]["grpc"] == {"port": ports["grpc"], "service": SERVICE}
    assert alive == {"port": ports["grpc"]}  # a draining server is alive, and not ready


def test_a_pod_is_given_the_time_that_draining_takes():
    spec, settings = pod(manifest("Deployment")), deployed()
    (_, hook) = container(manifest("Deployment"))["lifecycle"]["preStop"]["exec"]["command"]
    drain = [float(settings[f"DIALOG_DRAIN_{each}_SECONDS"]) for each in ("DELAY", "GRACE")]
    needed = int(hook) + sum(drain) + app._GATHER_SECONDS + app._FLUSH_SECONDS
    assert spec["terminationGracePeriodSeconds"] >= needed + 10


def test_everything_selects_the_pods_there_are():
    deployment = manifest("Deployment")
    assert deployment["spec"]["selector"]["matchLabels"] == SERVED
    assert deployment["spec"]["template"]["metadata"]["labels"] == SERVED
    assert manifest("Service")["spec"]["selector"] == SERVED
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == SERVED
    assert manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == SERVED
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", deployment["metadata"]["name"])


def test_the_autoscaler_alone_says_how_many_and_one_may_always_go():
    assert "replicas" not in manifest("Deployment")["spec"]
    assert manifest("HorizontalPodAutoscaler")["spec"]["minReplicas"] >= 2
    assert manifest("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_the_name_of_the_service_resolves_to_every_replica():
    assert manifest("Service")["spec"]["clusterIP"] == "None"
    names = {each["name"] for each in container(manifest("Deployment"))["ports"]}
    assert {each["targetPort"] for each in manifest("Service")["spec"]["ports"]} <= names


def test_the_network_lets_through_what_is_needed():
    policy = manifest("NetworkPolicy")["spec"]
    inward = {each["port"] for rule in policy["ingress"] for each in rule["ports"]}
    outward = {each["port"] for rule in policy["egress"] for each in rule["ports"]}
    ports = {each["containerPort"] for each in container(manifest("Deployment"))["ports"]}
    assert inward == ports
    assert outward == {6379, 4317, 53}
    assert manifest("NetworkPolicy", "dialog-evaluation", "evaluation")["spec"].keys() == {
        "podSelector",
        "policyTypes",
    }


def test_the_services_arguments_are_the_programs():
    own = container(manifest("Deployment"))
    assert own["args"] == ["serve"]
    assert "command" not in own  # the image's entry point


def test_the_jobs_arguments_are_the_evaluations():
    job = manifest("Job", "dialog-evaluation", "evaluation")
    context = typer.main.get_command(evaluate).make_context(
        "evaluate", list(container(job)["args"]), resilient_parsing=False
    )
    command = context.command.commands["evaluate"]
    flags = command.make_context("evaluate", list(container(job)["args"])).params
    mounts = {each["mountPath"] for each in container(job)["volumeMounts"]}
    assert str(flags["data_dir"]) in mounts
    assert str(flags["output"].parent) in mounts
    (cache,) = [e["value"] for e in container(job)["env"] if e["name"] == "XDG_CACHE_HOME"]
    assert cache.startswith(f"{flags['output'].parent}/")
    package = "dialog_service/checkpoints/default"
    assert str(flags["checkpoint"]).endswith(package)
    assert (ROOT / package).is_dir()
    (python,) = re.findall(r"python:(3\.\d+)-", stages()["sources"].image)
    assert f"/opt/venv/lib/python{python}/" in str(flags["checkpoint"])


def test_the_readme_of_a_command_names_folders_that_are_there():
    for folder in kustomizations():
        text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
        for named in re.findall(r"kubectl apply -k (\S+)", text):
            assert (ROOT / named / "kustomization.yaml").exists()
    values = (KUBERNETES / "monitoring" / "prometheus-adapter-values.yaml").read_text()
    (named,) = re.findall(r"--values (\S+)", values)
    assert (ROOT / shlex.split(named)[0]).exists()
