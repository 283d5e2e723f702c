"""The committed stubs are those of the committed .proto files."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
STUBS = ROOT / "dialog_service" / "v1"


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "proto" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stubs_are_up_to_date(tmp_path: Path):
    assert generator().main(tmp_path) == 0
    fresh = {path.name: path.read_text() for path in (tmp_path / "dialog_service/v1").iterdir()}
    assert {path.name for path in STUBS.glob("*_pb2*")} == set(fresh)
    for name, text in fresh.items():
        assert (STUBS / name).read_text() == text, f"run: make proto  ({name} differs)"


def test_everything_in_the_contract_is_explained():
    from dialog_service.v1 import dialog_pb2

    source = (ROOT / "proto/dialog_service/v1/dialog.proto").read_text().splitlines()
    messages = dialog_pb2.DESCRIPTOR.message_types_by_name
    methods = dialog_pb2.DESCRIPTOR.services_by_name["DialogService"].methods_by_name
    for start in [f"message {name} {{" for name in messages] + [f"rpc {n}(" for n in methods]:
        [line] = [i for i, text in enumerate(source) if text.strip().startswith(start)]
        assert source[line - 1].strip().startswith("//"), start
