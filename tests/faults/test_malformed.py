"""Requests and bytes that nobody should send: each is answered as the caller's mistake, or well."""

import socket
from collections.abc import Iterator

import grpc
import hypothesis
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st
from replica import Replica

from dialog_service.client import DialogClient
from dialog_service.v1 import dialog_pb2 as pb

pytestmark = pytest.mark.timeout(400)  # processes are slow to start on a busy machine

SERVICE = pb.DESCRIPTOR.services_by_name["DialogService"]
METHODS = list(SERVICE.methods)
EXAMPLES = 1000
ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND"}
# Of an item of a batch that asks for more than the queue holds.
ALLOWED_ITEMS = {0, 3, 5, 8}
THOROUGH = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)


@pytest.fixture(scope="module")
def replica(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    log = tmp_path_factory.mktemp("replica") / "log"
    replica = Replica(log, "--redis-url", "off", model_seconds=0)
    replica.start()
    yield replica
    replica.kill()


@pytest.fixture(scope="module")
def channel(replica: Replica) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(replica.address) as channel:
        yield channel


def integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-1, 70) | st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def texts() -> st.SearchStrategy[str]:
    known = ["", " ", "\n", "hello", "models/echo", "models/echo/versions/1", "models/", "a" * 4097]
    characters = st.characters(exclude_categories=["Cs"])
    return st.sampled_from(known) | st.text(characters, max_size=30)


SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: integers(32),
    FieldDescriptor.CPPTYPE_INT64: integers(64),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-1, 4) | integers(32),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(-0.5, 5.5) | st.floats(),
    FieldDescriptor.CPPTYPE_STRING: texts(),
}


def messages(descriptor: Descriptor) -> st.SearchStrategy[Message]:
    """Messages of a type with anything in their fields, each of which may be absent."""
    fields = {field.name: values(field) for field in descriptor.fields}
    given = st.fixed_dictionaries({}, optional=fields)
    return given.map(lambda found: GetMessageClass(descriptor)(**found))


def values(field: FieldDescriptor) -> st.SearchStrategy:
    one = messages(field.message_type) if field.message_type else SCALARS[field.cpp_type]
    return st.lists(one, max_size=3) if field.is_repeated else one


CALLS = st.sampled_from(METHODS).flatmap(
    lambda method: st.tuples(st.just(method), messages(method.input_type))
)


def end(channel: grpc.Channel, method, data: bytes) -> tuple[str, list[bytes]]:
    """How a call with these bytes ends, and what it is answered."""
    path = f"/{SERVICE.full_name}/{method.name}"
    try:
        if method.server_streaming:
            return "OK", list(channel.unary_stream(path)(data, timeout=60))
        return "OK", [channel.unary_unary(path)(data, timeout=60)]
    except grpc.RpcError as error:
        return error.code().name, []


def test_a_thousand_malformed_requests(channel: grpc.Channel):
    seen = set()

    @THOROUGH
    @hypothesis.given(CALLS)
    def check(call) -> None:
        method, message = call
        status, answers = end(channel, method, message.SerializeToString())
        seen.add(status)
        assert status in ALLOWED
        if method.name == "BatchGenerateReplies" and answers:
            results = pb.BatchGenerateRepliesResponse.FromString(answers[0]).results
            assert {result.error.code for result in results} <= ALLOWED_ITEMS

    check()
    assert seen == ALLOWED


def test_bytes_in_the_place_of_messages(channel: grpc.Channel):
    @hypothesis.settings(THOROUGH, max_examples=200)
    @hypothesis.given(st.sampled_from(METHODS), st.binary(max_size=100))
    def check(method, data: bytes) -> None:
        assert end(channel, method, data)[0] in ALLOWED

    check()


RAW = [
    b"",
    b"\x00" * 4096,
    b"\xff" * 4096,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x07" * 500,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 9,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x01\xff\x7f\xff\xff\xff" + b"\x80" * 99,
]


def test_raw_bytes_on_the_port(replica: Replica):
    host, _, port = replica.address.rpartition(":")
    sockets = [socket.create_connection((host, int(port)), timeout=10) for _ in range(5 * len(RAW))]
    for number, each in enumerate(sockets):
        each.sendall(RAW[number % len(RAW)])
    for number, each in enumerate(sockets):
        if number % 2:
            each.shutdown(socket.SHUT_WR)
        each.close()


@pytest.fixture(autouse=True)
def lives_on(replica: Replica) -> Iterator[None]:
    """After each of these tests the replica answers, and has nothing to report."""
    yield
    with DialogClient(replica.address) as client:
        assert client.ask("still there?").replies
    assert '"error"' not in replica.log.read_text()
