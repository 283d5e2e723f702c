"""Generate the Python stubs: ``python proto/generate.py [DIRECTORY]``.

The stubs are committed in ``dialog_service/v1`` and never edited; a test generates them again and
compares. Messages come from protoc, their types and those of the service from mypy-protobuf.
"""

import sys
from pathlib import Path

import google.rpc
from grpc_tools import protoc

PROTO = Path(__file__).parent


def run_protoc(*outputs: str, sources: Path = PROTO, files: str = "*.proto") -> int:
    """Run protoc over those .proto files of ours below ``sources``; its exit code."""
    well_known = Path(protoc.__file__).parent / "_proto"
    rpc = Path(next(iter(google.rpc.__path__))).parents[1]  # holds google/rpc/status.proto
    paths = [f"-I{path}" for path in (sources, well_known, rpc)]
    found = sorted(str(path) for path in sources.glob(f"dialog_service/*/{files}"))
    return int(protoc.main(["protoc", *paths, *outputs, *found]))


def main(directory: Path) -> int:
    """Write the stubs of every .proto file under ``directory``; protoc's exit code."""
    plugin = Path(sys.executable).with_name("protoc-gen-mypy_grpc")
    kinds = ("python", "pyi", "grpc_python", "mypy_grpc")
    outputs = [f"--{kind}_out={directory}" for kind in kinds]
    return run_protoc(f"--plugin={plugin}", *outputs)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO.parent))
