"""Spans of real servers as a real collector gets them, and servers without OpenTelemetry."""

import asyncio
import builtins
import contextlib
import contextvars
import json
import logging
import sys
import types
from collections.abc import AsyncIterator, Iterator
from unittest import mock

import grpc
import pytest
from echo_server import EchoModel, running
from redis_process import RedisProcess

from dialog_service.errors import ConfigError
from dialog_service.serving.logs import JsonFormatter
from dialog_service.serving.tracing import NoSpan, NoTracer, tracer_for, within
from dialog_service.v1 import dialog_pb2 as pb

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACED = (("traceparent", f"00-{TRACE}-{CALLER}-01"), ("x-request-id", "mine-1"))
METHOD = "dialog_service.v1.DialogService/"
REQUEST = pb.GenerateRepliesRequest(turns=[pb.Turn(text="a most private matter")], reply_count=2)


class Collector:
    """Takes spans over OTLP."""

    def __init__(self, requests: types.ModuleType, services: types.ModuleType) -> None:
        self._response = requests.ExportTraceServiceResponse
        self.services = services
        self.address = ""
        self.resources: list = []

    async def Export(self, request, context):
        self.resources.extend(request.resource_spans)
        return self._response()

    @property
    def spans(self) -> list:
        return [
            span for each in self.resources for scope in each.scope_spans for span in scope.spans
        ]

    def named(self, name: str) -> list:
        return [span for span in self.spans if span.name == name]

    def tree(self) -> dict[str, list[str]]:
        """Names of spans by the name of the one they are within."""
        names = {span.span_id: span.name for span in self.spans}
        found: dict[str, list[str]] = {}
        for span in sorted(self.spans, key=lambda span: span.start_time_unix_nano):
            found.setdefault(names.get(span.parent_span_id, ""), []).append(span.name)
        return found


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a free port; a server has sent everything when it has been closed."""
    reason = "needs the extra [otel], which make installs"
    base = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
    requests = pytest.importorskip(base, reason=reason)
    services = pytest.importorskip(f"{base}_grpc", reason=reason)
    telemetry = pytest.importorskip("dialog_service.serving.telemetry", reason=reason)
    collector = Collector(requests, services)
    server = grpc.aio.server()
    services.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        with mock.patch.object(telemetry, "_FLUSH_SECONDS", 60.0):  # of a busy machine
            yield collector
    finally:
        await server.stop(None)


def facts(span) -> dict[str, object]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }


async def test_a_call_is_a_span_of_its_callers_trace_with_its_parts_within(
    redis_server: RedisProcess,
):
    async with collecting() as collector:
        settings = {"otlp_endpoint": collector.address, "redis_url": redis_server.url}
        async with running(**settings) as service:
            await service.stub.GenerateReplies(REQUEST, metadata=TRACED, timeout=60)
    [call] = collector.named(f"{METHOD}GenerateReplies")
    assert call.parent_span_id.hex() == CALLER
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert facts(call) == {
        "rpc.system.name": "grpc",
        "rpc.method": f"{METHOD}GenerateReplies",
        "rpc.response.status_code": "OK",
        "dialog.request_id": "mine-1",
    }
    assert collector.tree() == {
        "": [call.name],
        call.name: ["answer"],
        "answer": ["cache draw", "queue", "inference", "cache add"],
    }
    [answer], [draw] = collector.named("answer"), collector.named("cache draw")
    assert facts(answer) == {
        "dialog.model": "models/echo/versions/1",
        "dialog.reply_count": 2,
        "dialog.cache.result": "miss",
    }
    assert facts(draw)["dialog.cache.missing"] == 2
    for span in collector.spans:
        assert call.start_time_unix_nano - 1e6 <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= call.end_time_unix_nano
    attributes = [each.resource.attributes for each in collector.resources]
    assert "dialog-service" in str(attributes)
    assert "private" not in str(collector.resources)


async def test_the_growth_of_a_pool_belongs_to_nobodys_trace(redis_server: RedisProcess):
    async with collecting() as collector:
        settings = {"otlp_endpoint": collector.address, "redis_url": redis_server.url}
        async with running(**settings) as service:
            finished = service.model.finished
            while not any(request.reply_count > 6 for request in finished):  # a growth
                await service.stub.GenerateReplies(REQUEST, metadata=TRACED, timeout=60)
            await service.stub.GenerateReplies(REQUEST, metadata=TRACED, timeout=60)
    assert len(collector.named("inference")) == sum(each.reply_count <= 6 for each in finished)


async def test_every_request_of_a_batch_and_every_stream_is_traced():
    batch = pb.BatchGenerateRepliesRequest(requests=[REQUEST, REQUEST])
    async with collecting() as collector, running(otlp_endpoint=collector.address) as service:
        await service.stub.BatchGenerateReplies(batch, timeout=60)
        async for _ in service.stub.StreamReplies(pb.StreamRepliesRequest(request=REQUEST)):
            pass
    tree = collector.tree()
    assert tree[f"{METHOD}BatchGenerateReplies"] == ["answer", "answer"]
    assert tree[f"{METHOD}StreamReplies"] == ["answer"]
    assert sorted(tree["answer"]) == ["inference"] * 3 + ["queue"] * 3


async def test_errors_are_told_by_their_status_and_by_none_of_their_words():
    model = EchoModel()
    async with collecting() as collector:
        settings = {"otlp_endpoint": collector.address, "default_deadline_seconds": 0.5}
        async with running(model, **settings) as service:
            for text, timeout in (("private\x00", 60), ("private poison", 60), ("private", None)):
                model.hold() if timeout is None else model.release()
                request = pb.GenerateRepliesRequest(turns=[pb.Turn(text=text)])
                with pytest.raises(grpc.aio.AioRpcError):
                    await service.stub.GenerateReplies(request, timeout=timeout)
    calls = collector.named(f"{METHOD}GenerateReplies")
    errors = [(facts(call)["rpc.response.status_code"], call.status.code) for call in calls]
    assert errors == [("INVALID_ARGUMENT", 0), ("INTERNAL", 2), ("DEADLINE_EXCEEDED", 2)]
    assert "private" not in str(collector.resources)
    assert "secret" not in str(collector.resources)


@pytest.fixture
def lines() -> Iterator[list[dict]]:
    """What this project logs, as JSON."""
    written: list[dict] = []
    handler = logging.Handler()
    handler.emit = lambda record: written.append(json.loads(JsonFormatter().format(record)))
    logger = logging.getLogger("dialog_service")
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield written
    logger.removeHandler(handler)
    logger.setLevel("NOTSET")


async def test_log_lines_of_a_call_hold_request_id_and_trace_id(lines: list[dict]):
    poison = pb.GenerateRepliesRequest(turns=[pb.Turn(text="poison")])
    async with collecting() as collector, running(otlp_endpoint=collector.address) as service:
        await service.stub.GenerateReplies(REQUEST, metadata=TRACED, timeout=60)
        with pytest.raises(grpc.aio.AioRpcError):
            await service.stub.GenerateReplies(poison, metadata=TRACED, timeout=60)
        await service.ask()
    *traced, untold = [line for line in lines if "request_id" in line]
    assert [(line["message"], line["request_id"], line["trace_id"]) for line in traced] == [
        ("GenerateReplies", "mine-1", TRACE),
        ("GenerateReplies", "mine-1", TRACE),
        ("a call failed", "mine-1", TRACE),
    ]
    assert len(untold["trace_id"]) == 32
    assert untold["trace_id"] != TRACE


async def test_a_collector_that_is_not_there_costs_no_call_and_little_of_the_end():
    async with collecting() as collector:
        address = collector.address
    async with running(otlp_endpoint=address) as service:
        assert len((await service.ask(reply_count=2)).replies) == 2
        ended = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - ended < 20  # its default is 30


async def test_the_standard_variables_name_a_collector_too(monkeypatch: pytest.MonkeyPatch):
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "our-replies")
        async with running() as service:
            await service.ask()
    assert collector.named(f"{METHOD}GenerateReplies")
    [resource] = {str(each.resource) for each in collector.resources}
    assert "our-replies" in resource
    assert "dialog-service" not in resource


def test_work_that_nobody_finishes_may_be_closed_from_anywhere():
    @types.coroutine
    def pause():
        yield

    async def work() -> None:
        with within(NoSpan()):
            await pause()

    given_up = work()
    contextvars.Context().run(given_up.send, None)
    given_up.close()


@pytest.fixture
def _without_opentelemetry(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "dialog_service.serving.telemetry", raising=False)
    real = builtins.__import__

    def absent(name: str, *others, **more):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *others, **more)

    monkeypatch.setattr(builtins, "__import__", absent)


@pytest.mark.usefixtures("_without_opentelemetry")
def test_without_opentelemetry_who_asks_for_traces_hears_what_to_install():
    assert isinstance(tracer_for(None), NoTracer)
    with pytest.raises(ConfigError, match=r"otlp_endpoint .* pip install 'dialog-service\[otel\]'"):
        tracer_for("http://127.0.0.1:4317")


@pytest.mark.usefixtures("_without_opentelemetry")
def test_variables_of_the_whole_machine_do_not_stop_a_server_without_opentelemetry(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
    assert isinstance(tracer_for(None), NoTracer)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces" in caplog.text
