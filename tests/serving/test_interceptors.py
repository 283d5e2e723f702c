"""Request ids, access log, counts; errors that are none of the caller's business."""

import asyncio
import json
import logging
import urllib.request

import grpc
import pytest
from echo_server import Running, running
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from dialog_service.serving.responder import Responder
from dialog_service.v1 import dialog_pb2 as pb

LIST = pb.ListModelsRequest()


async def request_ids(service: Running, sent: str | None) -> tuple[str, str]:
    """Those of the initial and the trailing metadata."""
    call = service.stub.ListModels(LIST, metadata=[("x-request-id", sent)] if sent else None)
    await call
    initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
    return initial["x-request-id"], trailing["x-request-id"]


async def test_a_request_id_is_returned_and_made_where_it_is_absent_or_unfit():
    async with running() as service:
        assert await request_ids(service, "mine-1") == ("mine-1", "mine-1")
        made = {(await request_ids(service, sent))[0] for sent in (None, "two words", "x" * 129)}
    assert len(made) == 3
    assert all(len(one) == 32 for one in made)


async def test_an_error_carries_the_request_id_too():
    async with running() as service:
        call = service.stub.GenerateReplies(
            pb.GenerateRepliesRequest(), metadata=[("x-request-id", "mine-2")]
        )
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await call
    assert failed.value.trailing_metadata()["x-request-id"] == "mine-2"


async def test_every_call_is_counted_and_logged_without_its_words(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with running() as service:
        response = await service.ask("a most private matter")
        with pytest.raises(grpc.aio.AioRpcError):
            await service.ask("a most private matter\x00")
        count = "dialog_requests_total"
        assert service.metric(count, method="GenerateReplies", code="OK") == 1
        assert service.metric(count, method="GenerateReplies", code="INVALID_ARGUMENT") == 1
        seconds = "dialog_request_duration_seconds_count"
        assert service.metric(seconds, method="GenerateReplies") == 2
    lines = [record for record in caplog.records if record.message == "GenerateReplies"]
    assert [(line.code, line.levelname) for line in lines] == [
        ("OK", "INFO"),
        ("INVALID_ARGUMENT", "INFO"),
    ]
    assert all(line.request_id and line.milliseconds >= 0 for line in lines)
    written = json.dumps([str(vars(record)) for record in caplog.records])
    assert "private" not in written
    assert response.replies[0].text not in written


@pytest.mark.parametrize("error", [KeyError("a secret"), asyncio.CancelledError("a secret")])
async def test_an_unforeseen_error_ends_the_call_and_tells_nothing(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Responder, "respond", fail)
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await service.ask()
        assert service.metric("dialog_requests_total", method="GenerateReplies", code="INTERNAL")
    assert failed.value.code() == grpc.StatusCode.INTERNAL
    assert failed.value.details().startswith("internal error; request id ")
    assert "a secret" in caplog.text


@pytest.mark.parametrize("method", ["GenerateReplies", "StreamReplies", "GetModel"])
async def test_bytes_that_are_no_message_are_the_callers_mistake(method: str):
    async with running() as service:
        path = f"/dialog_service.v1.DialogService/{method}"
        if method == "StreamReplies":
            answer = anext(aiter(service.channel.unary_stream(path)(b"\xff\xff")))
        else:
            answer = service.channel.unary_unary(path)(b"\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await answer
        assert service.metric("dialog_requests_total", method=method, code="INVALID_ARGUMENT") == 1
    assert failed.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert failed.value.trailing_metadata()["x-request-id"]


async def test_health_and_reflection_answer_and_are_not_counted():
    async with running() as service:
        health = health_pb2_grpc.HealthStub(service.channel)
        for name in ("", "dialog_service.v1.DialogService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = await anext(aiter(stub.ServerReflectionInfo(iter([asked]))))
        names = {each.name for each in answer.list_services_response.service}
        assert {"dialog_service.v1.DialogService", "grpc.health.v1.Health"} <= names
        assert not next(iter(service.server.metrics.requests.collect())).samples


async def test_reflection_can_be_switched_off():
    async with running(reflection=False) as service:
        stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await anext(aiter(stub.ServerReflectionInfo(iter([asked]))))
    assert failed.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_metrics_can_be_scraped():
    async with running(metrics_address="127.0.0.1:0") as service:
        await service.ask()
        url = f"http://{service.addresses.metrics}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    assert 'dialog_requests_total{code="OK",method="GenerateReplies"} 1.0' in page
    assert 'dialog_model_info{model="models/echo/versions/1",preset="none",version="1"} 1.0' in page
