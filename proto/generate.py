"""Generate the Python stubs: ``python proto/generate.py [DIRECTORY]``.

The stubs are committed in ``dialog_service/v1`` and never edited; a test generates them again and
compares. Messages come from protoc, their types and those of the service from mypy-protobuf.
"""

import sys
from pathlib import Path

import google.rpc
from grpc_tools import protoc

PROTO = Path(__file__).parent


def main(directory: Path) -> int:
    """Write the stubs of every .proto file under ``directory``; protoc's exit code."""
    plugin = Path(sys.executable).with_name("protoc-gen-mypy_grpc")
    well_known = Path(protoc.__file__).parent / "_proto"
    rpc = Path(next(iter(google.rpc.__path__))).parents[1]  # holds google/rpc/status.proto
    sources = sorted(str(path) for path in PROTO.glob("dialog_service/*/*.proto"))
    outputs = [f"--{kind}_out={directory}" for kind in ("python", "pyi", "grpc_python")]
    return int(
        protoc.main(
            [
                "protoc",
                *(f"-I{path}" for path in (PROTO, well_known, rpc)),
                *outputs,
                f"--plugin={plugin}",
                f"--mypy_grpc_out={directory}",
                *sources,
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO.parent))
