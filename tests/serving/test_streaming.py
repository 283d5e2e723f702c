"""StreamReplies: each reply as soon as it is known, then everything else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from echo_server import EchoModel, Running, running
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redis_process import RedisProcess

from dialog_service.client import AsyncDialogClient
from dialog_service.serving.app import Server
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb

MMR = pb.Selection(strategy=pb.SELECTION_STRATEGY_MMR)
Events = list[pb.StreamRepliesResponse]


def request(text: str = "hello", **fields: object) -> pb.GenerateRepliesRequest:
    return pb.GenerateRepliesRequest(turns=[pb.Turn(text=text)], **fields)


def stream(service: Running, asked: pb.GenerateRepliesRequest, timeout: float | None = 20):
    return service.stub.StreamReplies(pb.StreamRepliesRequest(request=asked), timeout=timeout)


async def events(service: Running, asked: pb.GenerateRepliesRequest) -> Events:
    return [event async for event in stream(service, asked)]


def replies(received: Events) -> list[pb.Reply]:
    """The replies before the summary, whose indices are in order."""
    assert [event.WhichOneof("event") for event in received] == [
        *["reply"] * (len(received) - 1),
        "summary",
    ]
    assert [event.reply.index for event in received[:-1]] == list(range(len(received) - 1))
    assert not received[-1].summary.replies
    return [event.reply.reply for event in received[:-1]]


async def failure(call, received: Events | None = None) -> grpc.aio.AioRpcError:
    """How a stream fails; what came before goes to ``received``."""
    kept = [] if received is None else received
    try:
        async for event in call:
            kept.append(event)
    except grpc.aio.AioRpcError as error:
        return error
    pytest.fail("the stream did not fail")


async def dropped(service: Running) -> None:
    """Return when a request was given up while the model was at work on it."""
    async with asyncio.timeout(30):
        while not service.metric("dialog_requests_cancelled_total", stage="inference"):
            await asyncio.sleep(0.002)


async def test_a_reply_arrives_while_the_model_is_at_work_on_the_others():
    async with running() as service:
        service.model.early = 2
        service.model.hold()
        call = aiter(stream(service, request(reply_count=4)))
        early = [await anext(call) for _ in range(2)]
        assert service.model.finished == []
        service.model.release()
        received = [*early, *[event async for event in call]]
    assert len({reply.text for reply in replies(received)}) == 4
    summary = received[-1].summary
    assert summary.model_version == "models/echo/versions/1"
    assert summary.diversity.unique_replies == 4
    assert summary.diversity.distinct_1 == pytest.approx(6 / 12)
    assert summary.timing.inference.ToNanoseconds() > 0
    assert summary.cache.status == pb.CACHE_STATUS_BYPASS
    assert summary.HasField("seed")


@contextlib.asynccontextmanager
async def real(checkpoint: Path) -> AsyncIterator[AsyncDialogClient]:
    """A client of a server of a checkpoint."""
    choice = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": "off"}
    server = Server(Settings(model=checkpoint, **choice))
    address = (await server.start()).grpc
    try:
        async with AsyncDialogClient(address) as client:
            yield client
    finally:
        await server.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": pb.Sampling(seed=3)},
        {"sampling": pb.Sampling(seed=3, max_tokens=1, temperature=0.7)},  # many repeat
        {"sampling": pb.Sampling(seed=3, stop=["e"])},
        {"sampling": pb.Sampling(seed=3), "selection": MMR},
    ],
    ids=["plain", "repeats", "stop", "mmr"],
)
async def test_a_seed_streams_what_it_returns_at_once(
    tiny_checkpoint: Path, fields: dict[str, object]
):
    asked = request("the soup is cold", reply_count=12, **fields)
    async with real(tiny_checkpoint) as client:
        whole = await client.generate_replies(asked)
        received = [event async for event in client.stream_replies(asked)]
    assert replies(received) == list(whole.replies)
    summary = received[-1].summary
    assert (summary.seed, summary.diversity) == (3, whole.diversity)


async def test_with_selection_nothing_is_sent_before_all_candidates_are_there():
    async with running() as service:
        service.model.early = 5
        service.model.hold()
        asked = request(reply_count=2, selection=MMR)
        first = asyncio.ensure_future(anext(aiter(stream(service, asked))))
        done, _ = await asyncio.wait({first}, timeout=0.3)
        assert not done
        service.model.release()
        assert (await first).reply.index == 0


async def test_streams_and_other_requests_share_a_batch():
    async with running(max_wait_seconds=10, max_batch_sequences=20) as service:
        several = [events(service, request(f"say {n}")) for n in range(3)]
        *streamed, whole = await asyncio.gather(*several, service.ask("say 3"))
        assert [len(batch) for batch in service.model.batches] == [4]
    for number, received in enumerate(streamed):
        assert [reply.text.split(" / ")[0] for reply in replies(received)] == [f"say {number}"] * 5
    assert len(whole.replies) == 5


async def test_a_batch_that_runs_again_for_a_bad_mate_repeats_no_reply():
    async with running(max_wait_seconds=10, max_batch_sequences=10) as service:
        service.model.early = 3
        poison = asyncio.create_task(failure(stream(service, request("poison"))))
        received = await events(service, request("fine"))
        assert (await poison).code() == grpc.StatusCode.INTERNAL
        assert len(service.model.batches[0]) == 2
    assert len({reply.text for reply in replies(received)}) == 5


@pytest.mark.parametrize(
    "bad",
    [request("", reply_count=0), pb.GenerateRepliesRequest(), request(model="models/absent")],
    ids=["fields", "nothing", "no model"],
)
async def test_what_cannot_be_answered_fails_as_generate_replies_does(
    bad: pb.GenerateRepliesRequest,
):
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as whole:
            await service.stub.GenerateReplies(bad)
        error = await failure(stream(service, bad))
        name = {"method": "StreamReplies", "code": error.code().name}
        assert service.metric("dialog_requests_total", **name) == 1
    assert (error.code(), error.details()) == (whole.value.code(), whole.value.details())
    assert rpc_status.from_call(error) == rpc_status.from_call(whole.value)


async def test_a_full_queue_and_a_draining_server_refuse_streams():
    limits = {"queue_capacity_sequences": 8, "max_replies": 8, "max_batch_sequences": 1}
    async with running(**limits) as service:
        service.model.hold()
        first = asyncio.create_task(service.ask("first"))
        while not service.model.batches:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(service.ask("second"))
        while not service.metric("dialog_queue_depth_sequences"):
            await asyncio.sleep(0.001)
        error = await failure(stream(service, request(reply_count=6)))
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        hint = error_details_pb2.RetryInfo()
        assert rpc_status.from_call(error).details[0].Unpack(hint)
        service.model.release()
        await asyncio.gather(first, second)
        await service.server.drain(delay_seconds=0)
        refused = await failure(stream(service, request()))
        assert refused.code() == grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("is_callers", [True, False], ids=["the caller's", "the server's"])
async def test_a_deadline_ends_a_stream_and_its_work(is_callers: bool):
    for seconds in (0.5, 5.0, 50.0):  # as long as a busy machine needs for the first replies
        if await deadline_ended(seconds, is_callers=is_callers):
            return
    pytest.fail("there was no reply in time")


async def deadline_ended(seconds: float, *, is_callers: bool) -> bool:
    """Whether a stream had its first replies before its deadline; how it ended is asserted."""
    async with running(default_deadline_seconds=seconds) as service:
        service.model.early = 2
        service.model.hold()
        received: Events = []
        call = stream(service, request(), timeout=seconds if is_callers else None)
        error = await failure(call, received)
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        if len(received) < 2:
            return False
        assert [event.reply.index for event in received] == [0, 1]
        await dropped(service)
        service.model.release()
        await service.ask("next")
        assert {one.turns for one in service.model.finished} == {("next",)}
        assert service.metric("dialog_replies_total") == 5  # those of "next"
        return True


async def test_a_caller_who_leaves_in_the_middle_frees_the_work():
    async with running() as service:
        service.model.early = 2
        service.model.hold()
        call = stream(service, request())
        assert (await anext(aiter(call))).reply.index == 0
        call.cancel()
        await dropped(service)
        service.model.release()
        await service.ask("next")
        assert {one.turns for one in service.model.finished} == {("next",)}
        name = {"method": "StreamReplies", "code": "CANCELLED"}
        assert service.metric("dialog_requests_total", **name) == 1
        await service.server.drain(delay_seconds=0)  # nothing is under way any more


async def test_the_request_id_is_returned_at_both_ends():
    async with running() as service:
        asked = pb.StreamRepliesRequest(request=request())
        call = service.stub.StreamReplies(asked, metadata=[("x-request-id", "mine")])
        assert len([event async for event in call]) == 6
        initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
    assert initial["x-request-id"] == trailing["x-request-id"] == "mine"


async def test_live_figures_count_every_reply_once():
    async with running() as service:
        for _ in range(3):
            await events(service, request(reply_count=4))
        await events(service, request(reply_count=4, selection=MMR))
        figures = await service.stub.GetDiversity(pb.GetDiversityRequest())
        assert service.metric("dialog_replies_total") == 16
    [window] = [window for window in figures.windows if window.window_tokens]
    assert window.window_tokens == 3 * 16
    assert window.source == pb.REPLY_SOURCE_FRESH


async def test_a_stream_fills_a_pool_and_draws_from_it(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_pool_size=5) as service:
        first = await events(service, request())
        whole = await service.ask()
        second = await events(service, request())
        seeded = await events(service, request(sampling=pb.Sampling(seed=1)))
        fresh = await events(service, request(cache_mode=pb.CACHE_MODE_REFRESH))
    assert {reply.text for reply in replies(first)} == {reply.text for reply in whole.replies}
    assert {reply.text for reply in replies(second)} == {reply.text for reply in whole.replies}
    assert not {r.text for r in replies(fresh)} & {reply.text for reply in whole.replies}
    statuses = [each[-1].summary.cache.status for each in (first, second, seeded, fresh)]
    assert statuses == [
        pb.CACHE_STATUS_MISS,
        pb.CACHE_STATUS_HIT,
        pb.CACHE_STATUS_BYPASS,
        pb.CACHE_STATUS_MISS,
    ]
    assert not second[-1].summary.HasField("seed")
    assert [reply.index for reply in (e.reply for e in first[:-1])] == [0, 1, 2, 3, 4]


async def test_what_a_pool_has_is_sent_before_the_rest_is_generated(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_pool_size=3) as service:
        known = {reply.text for reply in (await service.ask(reply_count=3)).replies}
        service.model.hold()
        call = aiter(stream(service, request(reply_count=6)))
        drawn = [await anext(call) for _ in range(3)]
        assert {event.reply.reply.text for event in drawn} == known
        service.model.release()
        received = [*drawn, *[event async for event in call]]
    assert len({reply.text for reply in replies(received)}) == 6
    assert received[-1].summary.cache.status == pb.CACHE_STATUS_MISS


async def test_a_crowd_of_streams_gets_each_its_own(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        service.model.seconds = 0.05
        crowd = await asyncio.gather(*(events(service, request()) for _ in range(12)))
    assert all(len({reply.text for reply in replies(each)}) == 5 for each in crowd)
    sets = {frozenset(reply.text for reply in replies(each)) for each in crowd}
    assert len(sets) >= 11
    assert len(frozenset().union(*sets)) >= 20  # nothing is served more than three times


async def test_fewer_replies_than_asked_for_are_streamed():
    async with running(EchoModel(variety=3)) as service:
        received = await events(service, request(reply_count=10))
    assert len(replies(received)) == received[-1].summary.diversity.unique_replies == 3
