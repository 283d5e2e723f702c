"""Where the files of deploy/ lie, and how they are read."""

import json
import shutil
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
RULES = DEPLOY / "prometheus" / "rules" / "dialog-service.yml"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "dialog-service.json"
ADAPTER = KUBERNETES / "monitoring" / "prometheus-adapter-values.yaml"


def read_yaml(path: Path) -> dict:
    """The one document of a file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_all(path: Path) -> list[dict]:
    """Every document of a file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def read_dashboard() -> dict:
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def rules() -> list[dict]:
    """Every rule, recording and alerting, in order."""
    return [rule for group in read_yaml(RULES)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> list[dict]:
    """The panels that ask something."""
    return [panel for panel in read_dashboard()["panels"] if panel["type"] != "row"]


def kustomizations() -> list[Path]:
    return sorted(path.parent for path in DEPLOY.rglob("kustomization.yaml"))


def manifests(folder: str = "service") -> list[dict]:
    """The objects of a folder of kubernetes/ as they are written."""
    kustomization = read_yaml(KUBERNETES / folder / "kustomization.yaml")
    files = [KUBERNETES / folder / name for name in kustomization["resources"]]
    return [each for path in files if path.is_file() for each in read_all(path)]


def manifest(kind: str, name: str = "dialog-service", folder: str = "service") -> dict:
    """The one object of this kind and name."""
    (found,) = [
        each
        for each in manifests(folder)
        if each["kind"] == kind and each["metadata"]["name"] == name
    ]
    return found


def container(workload: dict) -> dict:
    """The one container of a Deployment or a Job."""
    (found,) = workload["spec"]["template"]["spec"]["containers"]
    return found


def variables(path: Path) -> dict[str, str]:
    """A file of NAME=value lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def renderer() -> list[str] | None:
    """The command that renders a kustomization, where there is one."""
    for program, arguments in (("kustomize", ["build"]), ("kubectl", ["kustomize"])):
        if found := shutil.which(program):
            return [found, *arguments]
    return None


def rendered(folder: Path) -> list[dict]:
    """The objects that a cluster would be given."""
    command = [*(renderer() or ()), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))
