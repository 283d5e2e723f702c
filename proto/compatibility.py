"""Hold the contract to what was published: ``python proto/compatibility.py [--publish]``.

``published.binpb`` is the contract as clients have it, a google.protobuf.FileDescriptorSet. What it
has, the present contract must have too, the same way; new things may come beside it. ``--publish``
puts the present contract in its place: always with an addition, never with a break, which takes a
new package (``dialog_service.v2``). Where buf is at hand (``make lint`` installs it where there is
npm), it lints the contract too, and looks for breaks of its own.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from generate import PROTO, run_protoc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

PUBLISHED = PROTO / "published.binpb"
NO_BUF = "buf is not here: where there is npm, make lint installs it"
_API = "dialog.proto"
_BIN = PROTO.parent / "tests" / "node" / "node_modules" / ".bin"
_Entry = tuple[str, tuple[object, ...]]


def compiled(*options: str, sources: Path = PROTO, files: str = "*.proto") -> bytes:
    """Our .proto files below ``sources`` and what they import, a FileDescriptorSet."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "contract.binpb"
        flags = ("--include_imports", f"--descriptor_set_out={output}", *options)
        if run_protoc(*flags, sources=sources, files=files):
            raise SystemExit("protoc does not take the contract; why, it has said")
        return output.read_bytes()


def breaks(published: bytes, present: bytes) -> list[str]:
    """What clients of the published contract would miss in the present one."""
    now = _facts(present)
    return [
        f"{name} is gone" if name not in now else f"{name} was {facts}, is {now[name]}"
        for name, facts in _facts(published).items()
        if now.get(name) != facts
    ]


def buf() -> str | None:
    """Where buf is, if it is."""
    return shutil.which("buf", path=str(_BIN)) or shutil.which("buf")


def complaints(program: str, present: bytes) -> str:
    """What buf has to say of a contract that was compiled with its comments."""
    with tempfile.TemporaryDirectory() as folder:
        contract = Path(folder) / "contract.binpb"
        contract.write_bytes(present)
        shared = (str(contract), "--config", str(PROTO / "buf.yaml"))
        commands = (
            (program, "lint", *shared),
            (program, "breaking", *shared, "--against", str(PUBLISHED)),
        )
        done = [subprocess.run(each, capture_output=True, text=True) for each in commands]
    return "".join(each.stdout + each.stderr for each in done)


def _facts(contract: bytes) -> dict[str, tuple[object, ...]]:
    """Everything of ours in a contract by its full name, with what clients depend on."""
    files = FileDescriptorSet.FromString(contract).file
    return dict(entry for each in files if not _is_foreign(each) for entry in _of_file(each))


def _is_foreign(file: FileDescriptorProto) -> bool:
    return file.package.startswith("google.")


def _of_file(file: FileDescriptorProto) -> Iterator[_Entry]:
    for message in file.message_type:
        yield from _of_message(message, file.package)
    for enum in file.enum_type:
        yield from _of_enum(enum, file.package)
    for service in file.service:
        yield from _of_service(service, file.package)


def _of_message(message: DescriptorProto, parent: str) -> Iterator[_Entry]:
    name = f"{parent}.{message.name}"
    yield name, ("message",)
    for field in message.field:
        yield f"{name}.{field.name}", _of_field(field, message)
    for nested in message.nested_type:
        yield from _of_message(nested, name)
    for enum in message.enum_type:
        yield from _of_enum(enum, name)


def _of_field(field: FieldDescriptorProto, message: DescriptorProto) -> tuple[object, ...]:
    """Number, type, how many, the name of the type, whether absence shows, and which oneof."""
    kind = FieldDescriptorProto.Type.Name(field.type)
    label = FieldDescriptorProto.Label.Name(field.label)
    has_oneof = field.HasField("oneof_index") and not field.proto3_optional
    oneof = message.oneof_decl[field.oneof_index].name if has_oneof else ""
    names = (field.type_name, field.json_name, oneof)
    return (field.number, kind, label, *names, field.proto3_optional)


def _of_enum(enum: EnumDescriptorProto, parent: str) -> Iterator[_Entry]:
    name = f"{parent}.{enum.name}"
    yield name, ("enum",)
    for value in enum.value:
        yield f"{name}.{value.name}", (value.number,)


def _of_service(service: ServiceDescriptorProto, parent: str) -> Iterator[_Entry]:
    name = f"{parent}.{service.name}"
    yield name, ("service",)
    for method in service.method:
        streams = (method.client_streaming, method.server_streaming)
        yield f"{name}.{method.name}", (method.input_type, method.output_type, *streams)


def main(arguments: list[str]) -> int:
    """Check, and publish what is there if asked to; 1 where something is wrong."""
    if arguments not in ([], ["--publish"]):
        print(__doc__, file=sys.stderr)
        return 2
    present, program = compiled("--include_source_info"), buf()
    found = "".join(f"{line}\n" for line in breaks(PUBLISHED.read_bytes(), present))
    found += complaints(program, present) if program else ""
    print(found or f"the contract keeps what was published{'' if program else f' ({NO_BUF})'}")
    if arguments and not found:
        PUBLISHED.write_bytes(compiled(files=_API))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
