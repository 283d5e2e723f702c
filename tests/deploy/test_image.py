"""The Dockerfile: what it copies is there, and what it runs is this package's.

Its steps are those of ``make``: deploy/environment.sh and pip; the wheel that they lead to is run
in an empty environment by tests/test_packaging.py.
"""

import fnmatch
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import ROOT
from images import DOCKERFILE, Stage, ancestry, command, environment, stages, user

from dialog_service.serving.settings import load_settings
from train.metrics.relevance.cache import cache_folder

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IGNORED = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
KEPT = [pattern[1:] for pattern in IGNORED if pattern.startswith("!")]
TARGETS = ("cpu", "cuda", "evaluation")


def copied() -> Iterator[tuple[Stage, str, str | None]]:
    """Everything copied: by which stage, what, and from which stage."""
    for stage in stages().values():
        for text in stage.all("COPY"):
            *sources, _ = [word for word in text.split() if not word.startswith("--")]
            origin = re.search(r"--from=(\S+)", text)
            for source in sources:
                yield stage, source, origin and origin[1]


def commands() -> list[str]:
    """Every command of every RUN."""
    runs = [text for stage in stages().values() for text in stage.all("RUN")]
    return [each.strip() for text in runs for each in text.split("&&")]


def test_every_path_copied_is_there_and_reaches_the_builder():
    from_context = {source for _, source, origin in copied() if origin is None}
    assert from_context == {"constraints.txt", "deploy/environment.sh", "."}
    for source in from_context - {"."}:
        assert (ROOT / source).is_file()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in KEPT)


def test_what_is_copied_between_stages_comes_from_an_earlier_one():
    known = stages()
    pairs = [(stage, known[origin]) for stage, _, origin in copied() if origin]
    assert {(stage.name, origin.name) for stage, origin in pairs} == {
        (target, f"build-{target}") for target in TARGETS
    }
    assert all(origin.number < stage.number for stage, origin in pairs)


def test_every_stage_is_named_and_built_on_one_there_is():
    known = stages()
    assert all(stage.name for stage in known.values())
    for stage in known.values():
        earlier = [name for name in known if known[name].number < stage.number]
        assert stage.parent in earlier or stage.image.startswith("python:3.")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_not_root_and_holds_no_sources(target: str):
    assert user(target).isdigit()
    assert int(user(target)) > 0
    assert "sources" not in [stage.name for stage in ancestry(target)]
    assert f"--uid {user(target)}" in " ".join(commands())


def test_the_default_image_is_the_one_for_a_cpu():
    assert list(stages())[-1] == "cpu"


def test_the_python_of_the_image_is_one_the_package_supports():
    (version,) = re.findall(r"python:(3\.\d+)-", stages()["sources"].image)
    assert f"Programming Language :: Python :: {version}" in PROJECT["classifiers"]
    assert stages()["sources"].image == stages()["run"].image  # the environment is moved between


def test_what_is_installed_are_extras_of_the_package_with_the_pinned_versions():
    installs = [each for each in commands() if " pip install " in each]
    lists = [found for each in installs for found in re.findall(r"\.\[([\w,]+)\]", each)]
    extras = {name for each in lists for name in each.split(",")}
    assert extras == {"embedded", "otel", "train"} <= set(PROJECT["optional-dependencies"])
    assert all("--constraint constraints.txt" in each for each in installs)
    assert all(each.startswith("/opt/venv/bin/python -m pip") for each in installs)


def test_the_cuda_image_has_another_build_of_torch_and_nothing_else_differs():
    runs = {name: stages()[f"build-{name}"].all("RUN") for name in ("cpu", "cuda")}
    default_index = "TORCH_INDEX=https://pypi.org/simple "
    assert runs["cuda"][0].startswith(default_index)
    assert [text.removeprefix(default_index) for text in runs["cuda"]] == runs["cpu"]
    script = (ROOT / "deploy" / "environment.sh").read_text(encoding="utf-8")
    assert "${TORCH_INDEX:-" in script


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_an_image_carries_kernels_of_what_was_installed(target: str):
    """Not of the sources, which lie where they are compiled: hence -P."""
    (run,) = [text for text in stages()[f"build-{target}"].all("RUN") if "kernels" in text]
    install, compile_them = run.split("&&")
    assert " pip install " in install
    assert compile_them.split() == [
        *("/opt/venv/bin/python", "-P", "-m", "dialog_service.engine.kernels")
    ]
    assert any("g++" in text for text in stages()["sources"].all("RUN"))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_service_starts_with_settings_it_takes(target: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in environment(target).items():
        if name.startswith("DIALOG_"):
            monkeypatch.setenv(name, value)
    settings = load_settings({})
    exposed = {text for stage in ancestry(target) for text in stage.all("EXPOSE")}
    listening = [settings.grpc_address, settings.metrics_address]
    assert exposed == {" ".join(address.removeprefix("0.0.0.0:") for address in listening)}


def test_what_the_images_run_is_there():
    assert command("cpu") == command("cuda") == ["dialog-service", "serve"]
    assert command("evaluation") == ["python", "-m", "train.evaluate", "--help"]
    assert "dialog-service" in PROJECT["scripts"]
    (check,) = stages()["serve"].all("HEALTHCHECK")
    assert check.endswith('CMD ["dialog-service", "health"]')
    for arguments in (["serve", "--help"], ["health", "--help"]):
        program = Path(sys.executable).with_name("dialog-service")
        subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60)


def test_an_evaluation_writes_below_the_one_folder_that_it_may_write_to(
    monkeypatch: pytest.MonkeyPatch,
):
    for name, value in environment("evaluation").items():
        if name != "PATH":
            monkeypatch.setenv(name, value)
    assert cache_folder().is_relative_to("/tmp")
    assert Path(environment("evaluation")["MPLCONFIGDIR"]).is_relative_to("/tmp")


def test_the_commands_in_its_comment_name_targets_there_are():
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert set(re.findall(r"--target (\S+)", text)) <= set(stages())
    assert set(re.findall(r"build -f (\S+)", text)) == {"deploy/Dockerfile"}


def test_a_wheel_can_be_built_from_what_reaches_the_builder(tmp_path: Path):
    context, wheels = tmp_path / "context", tmp_path / "wheels"
    leave_out = shutil.ignore_patterns("__pycache__")
    for name in KEPT:
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=leave_out)
        else:
            shutil.copy(ROOT / name, target)
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run(
        [sys.executable, *build, "--wheel-dir", str(wheels), str(context)],
        check=True,
        capture_output=True,
        timeout=100,
    )
    (wheel,) = wheels.iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = ("checkpoints/default/weights.safetensors", "checkpoints/default/LICENSE", "py.typed")
    assert {f"dialog_service/{name}" for name in needed} | {"train/evaluate/cli.py"} <= names
