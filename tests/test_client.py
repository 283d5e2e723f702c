"""The Python clients against a real server, and against one that fails as it is told."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import pytest
from echo_server import Running, running
from grpc_health.v1 import health_pb2_grpc

from dialog_service.client import AsyncDialogClient, CallFailed, DialogClient
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc


class Moody(dialog_pb2_grpc.DialogServiceServicer):
    """Ends its first calls as it is told, and answers those after."""

    def __init__(self, *moods: grpc.StatusCode) -> None:
        self.moods = list(moods)
        self.times: list[float] = []

    async def ListModels(self, request, context):
        self.times.append(time.monotonic())
        if self.moods:
            await context.abort(self.moods.pop(0), "not now")
        return pb.ListModelsResponse()

    async def GetModel(self, request, context):
        await asyncio.sleep(30)

    async def StreamReplies(self, request, context):
        if self.moods:
            await context.abort(self.moods.pop(0), "not now")
        await context.write(pb.StreamRepliesResponse(reply=pb.IndexedReply(index=0)))
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone in the middle")


@contextlib.asynccontextmanager
async def moody(servicer: Moody) -> AsyncIterator[str]:
    server = grpc.aio.server()
    dialog_pb2_grpc.add_DialogServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def test_the_async_client_does_all_that_the_service_offers():
    async with running() as service, AsyncDialogClient(service.addresses.grpc) as client:
        assert await client.is_ready()
        response = await client.ask("hello", reply_count=3, seed=4, model="models/echo")
        assert [reply.text[:8] for reply in response.replies] == ["hello / "] * 3
        assert response.seed == 4
        assert (await client.list_models()).models[0].name == "models/echo"
        assert (await client.get_model("models/echo")).model.is_default
        assert (await client.get_diversity()).windows
        good, bad = (pb.GenerateRepliesRequest(turns=[pb.Turn(text=t)]) for t in ("hi", ""))
        first, second = (await client.batch_generate_replies([good, bad])).results
        assert len(first.response.replies) == 5
        assert second.HasField("error")


async def test_the_blocking_client_does_the_same():
    def talk(target: str) -> pb.GenerateRepliesResponse:
        with DialogClient(target) as client:
            assert client.is_ready()
            assert client.list_models().models[0].name == "models/echo"
            assert client.get_model().model.is_default
            response = client.ask("hello", reply_count=3, seed=4, model="models/echo")
            assert client.get_diversity().windows
            hi = pb.GenerateRepliesRequest(turns=[pb.Turn(text="hi")])
            [result] = client.batch_generate_replies([hi]).results
            assert len(result.response.replies) == 5
            return response

    async with running() as service:
        response = await asyncio.to_thread(talk, service.addresses.grpc)
        again = await service.ask("hello", reply_count=3, sampling=pb.Sampling(seed=4))
    assert list(response.replies) == list(again.replies)


REQUEST = pb.GenerateRepliesRequest(turns=[pb.Turn(text="hello")], sampling=pb.Sampling(seed=4))


async def test_replies_can_be_streamed():
    async with running() as service:
        whole = await service.stub.GenerateReplies(REQUEST)
        async with AsyncDialogClient(service.addresses.grpc) as client:
            events = [event async for event in client.stream_replies(REQUEST)]

        def talk() -> list[pb.StreamRepliesResponse]:
            with DialogClient(service.addresses.grpc) as client:
                return list(client.stream_replies(REQUEST))

        blocking = await asyncio.to_thread(talk)
    for received in (events, blocking):
        assert [event.reply.reply for event in received[:-1]] == list(whole.replies)
        assert received[-1].summary.diversity == whole.diversity


async def test_a_failed_stream_says_why():
    bad = pb.GenerateRepliesRequest()
    async with running() as service:
        async with AsyncDialogClient(service.addresses.grpc) as client:
            with pytest.raises(CallFailed) as failed:
                await anext(client.stream_replies(bad))

        def talk() -> None:
            with DialogClient(service.addresses.grpc) as client:
                next(client.stream_replies(bad))

        with pytest.raises(CallFailed) as blocked:
            await asyncio.to_thread(talk)
    for failure in (failed.value, blocked.value):
        assert [v.field for v in failure.violations] == ["turns"]


async def test_a_stream_is_tried_again_before_its_first_reply_and_never_after():
    servicer = Moody(*[grpc.StatusCode.UNAVAILABLE] * 2)
    received = []
    async with moody(servicer) as target, AsyncDialogClient(target) as client:
        events = client.stream_replies(REQUEST)
        received.append((await anext(events)).reply.index)
        with pytest.raises(CallFailed, match="gone in the middle"):
            received.append((await anext(events)).reply.index)
    assert servicer.moods == []
    assert received == [0]


async def test_leaving_a_stream_ends_the_work():
    async with running() as service:
        service.model.early = 1
        service.model.hold()
        async with AsyncDialogClient(service.addresses.grpc) as client:
            async with contextlib.aclosing(client.stream_replies(REQUEST)) as events:
                assert (await anext(events)).reply.index == 0

            def talk() -> None:
                with DialogClient(service.addresses.grpc) as client:
                    with contextlib.closing(client.stream_replies(REQUEST)) as events:
                        assert next(events).reply.index == 0
                    client.list_models()

            await asyncio.to_thread(talk)
            name = {"method": "StreamReplies", "code": "CANCELLED"}
            while service.metric("dialog_requests_total", **name) < 2:
                await asyncio.sleep(0.005)
        assert service.model.finished == []


async def test_a_failed_call_says_why():
    async with running() as service, AsyncDialogClient(service.addresses.grpc) as client:
        with pytest.raises(CallFailed) as failed:
            await client.ask("", reply_count=0)
        with pytest.raises(CallFailed) as blocked:
            await asyncio.to_thread(DialogClient(service.addresses.grpc).ask, "", reply_count=0)
    for failure in (failed.value, blocked.value):
        assert failure.status == "INVALID_ARGUMENT"
        assert [v.field for v in failure.violations] == ["turns[0].text", "reply_count"]
        assert len(failure.request_id) == 32
        assert failure.target == service.addresses.grpc


@pytest.mark.parametrize("is_async", [True, False])
async def test_unavailable_is_tried_again_with_growing_pauses(is_async: bool):
    for _ in range(10):  # a machine that stands still for a moment makes a pause longer
        first, second, third, fourth = await times_of_tries(is_async=is_async)
        if 0.05 < second - first < 0.3 and third - second < fourth - third:
            return
    pytest.fail("the pauses do not grow from a tenth of a second")


async def times_of_tries(*, is_async: bool) -> list[float]:
    """When a server hears of a call that it answers at the fourth try."""
    servicer = Moody(*[grpc.StatusCode.UNAVAILABLE] * 3)
    async with moody(servicer) as target:
        if is_async:
            async with AsyncDialogClient(target) as client:
                await client.list_models()
        else:
            await asyncio.to_thread(DialogClient(target).list_models)
    return servicer.times


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    ],
)
async def test_no_other_status_is_tried_again(code: grpc.StatusCode):
    servicer = Moody(code)
    async with moody(servicer) as target, AsyncDialogClient(target) as client:
        with pytest.raises(CallFailed, match=code.name):
            await client.list_models()
    assert len(servicer.times) == 1


async def test_a_server_that_stays_unavailable_is_given_up():
    servicer = Moody(*[grpc.StatusCode.UNAVAILABLE] * 99)
    async with moody(servicer) as target, AsyncDialogClient(target) as client:
        with pytest.raises(CallFailed, match="UNAVAILABLE: not now"):
            await client.list_models()
    assert len(servicer.times) == 5


@pytest.mark.parametrize("method", ["get_model", "list_models"])
async def test_every_call_has_a_deadline_retries_included(method: str):
    servicer = Moody(*[grpc.StatusCode.UNAVAILABLE] * 99)
    async with moody(servicer) as target, AsyncDialogClient(target, timeout_seconds=0.3) as client:
        started = time.monotonic()
        with pytest.raises(CallFailed):
            await getattr(client, method)()
    assert time.monotonic() - started < 15  # and not the 30 that a call takes
    assert len(servicer.times) < 5  # as many tries as there would be in more time


async def test_nobody_there():
    async with AsyncDialogClient("127.0.0.1:1", timeout_seconds=30) as client:
        with pytest.raises(CallFailed) as failed:
            await client.ask("hello")
    assert failed.value.status == "UNAVAILABLE"
    assert failed.value.request_id == ""


class Unreachable(health_pb2_grpc.HealthServicer):
    """Answers health checks with a status, or never."""

    def __init__(self, code: grpc.StatusCode | None) -> None:
        self.code = code

    async def Check(self, request, context):
        if self.code is None:
            await asyncio.sleep(30)
        await context.abort(self.code, "no")


async def readiness(target: str, seconds: float = 30.0) -> list[bool | str]:
    """What both clients say in so much time, or the status that they raise."""

    def blocking() -> bool:
        with DialogClient(target, timeout_seconds=seconds) as client:
            return client.is_ready()

    async def awaited() -> bool:
        async with AsyncDialogClient(target, timeout_seconds=seconds) as client:
            return await client.is_ready()

    asked = await asyncio.gather(asyncio.to_thread(blocking), awaited(), return_exceptions=True)
    return [each.status if isinstance(each, CallFailed) else each for each in asked]


async def test_a_service_that_nobody_runs_is_not_ready():
    assert await readiness("127.0.0.1:1") == [False, False]
    async with AsyncDialogClient("127.0.0.1:1", timeout_seconds=30) as client:
        with pytest.raises(CallFailed, match="UNAVAILABLE"):
            await client.check_ready()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (grpc.StatusCode.UNAVAILABLE, False),
        (None, False),  # does not answer in time
        (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    ],
)
async def test_only_who_does_not_answer_is_not_ready(
    code: grpc.StatusCode | None, said: bool | str
):
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Unreachable(code), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        seconds = 30.0 if code else 0.5
        assert await readiness(f"127.0.0.1:{port}", seconds) == [said, said]
    finally:
        await server.stop(0)


async def talk_until_both(target: str, services: list[Running]) -> None:
    """Ask both clients of one target until every server has answered a call of each."""

    def answered() -> list[float]:
        name = {"method": "GetModel", "code": "OK"}
        return [service.metric("dialog_requests_total", **name) for service in services]

    for ask in (blocking_get_model, awaited_get_model):
        before = answered()
        async with asyncio.timeout(50), ask(target) as get_model:
            while any(now == then for now, then in zip(answered(), before, strict=True)):
                await get_model()


@contextlib.asynccontextmanager
async def blocking_get_model(target: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    with DialogClient(target) as client:
        yield lambda: asyncio.to_thread(client.get_model)


@contextlib.asynccontextmanager
async def awaited_get_model(target: str) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    async with AsyncDialogClient(target) as client:
        yield client.get_model


async def test_servers_behind_one_target_take_turns():
    async with running() as first, running() as second:
        target = f"ipv4:{first.addresses.grpc},{second.addresses.grpc}"
        await talk_until_both(target, [first, second])
        async with AsyncDialogClient(target) as client:
            await second.server.close()  # the other one is left to answer
            for _ in range(4):
                assert (await client.ask("hello")).replies


class NameServer(asyncio.DatagramProtocol):
    """Says of every name that it has these IPv4 addresses, as a headless service's does."""

    def __init__(self, *addresses: str) -> None:
        self.records = [b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(a) for a in addresses]

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        end = data.index(0, 12) + 5  # of the question, that begins with the name
        records = self.records if data[end - 4 : end - 2] == b"\0\1" else []
        counts = bytes((0, 1, 0, len(records), 0, 0, 0, 0))
        answer = data[:2] + b"\x81\x80" + counts + data[12:end] + b"".join(records)
        self.transport.sendto(answer, addr)


async def test_a_name_is_asked_for_all_its_addresses():
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: NameServer("127.0.0.1", "127.0.0.2"), local_addr=("127.0.0.1", 0)
    )
    resolver = transport.get_extra_info("sockname")[1]
    with contextlib.closing(transport):
        async with running() as first:
            port = first.addresses.grpc.rpartition(":")[2]
            async with running(grpc_address=f"127.0.0.2:{port}") as second:
                target = f"dns://127.0.0.1:{resolver}/replicas.example:{port}"
                await talk_until_both(target, [first, second])
