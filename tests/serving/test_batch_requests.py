"""BatchGenerateReplies: many requests in one call, each with its own answer or its own error."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from echo_server import Running, running
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status
from redis_process import RedisProcess

from dialog_service.v1 import dialog_pb2 as pb


def request(text: str = "hello", **fields: object) -> pb.GenerateRepliesRequest:
    return pb.GenerateRepliesRequest(turns=[pb.Turn(text=text)], **fields)


async def batch(
    service: Running, requests: Sequence[pb.GenerateRepliesRequest], timeout: float | None = 20
) -> list[pb.BatchResult]:
    asked = pb.BatchGenerateRepliesRequest(requests=requests)
    return list((await service.stub.BatchGenerateReplies(asked, timeout=timeout)).results)


def texts(result: pb.BatchResult) -> list[str]:
    assert result.WhichOneof("result") == "response", result
    return [reply.text for reply in result.response.replies]


def violated(error) -> list[str]:
    found = error_details_pb2.BadRequest()
    assert error.details[0].Unpack(found)
    return [violation.field for violation in found.field_violations]


async def test_each_item_succeeds_or_fails_on_its_own(caplog: pytest.LogCaptureFixture):
    items = [
        request("first", reply_count=2),
        request("", reply_count=0),
        request("bell \x07"),
        request("hi", model="models/absent"),
        request("poison"),
        request("last", reply_count=3),
    ]
    async with running(max_wait_seconds=0.05) as service:
        asked = pb.BatchGenerateRepliesRequest(requests=items)
        call = service.stub.BatchGenerateReplies(asked, metadata=[("x-request-id", "mine")])
        first, empty, bell, absent, poison, last = (await call).results
        for method, code, count in (
            ("BatchGenerateReplies", "OK", 1),
            ("GenerateReplies", "OK", 0),
        ):
            assert service.metric("dialog_requests_total", method=method, code=code) == count
    assert [text.split(" / ")[0] for text in (*texts(first), *texts(last))] == [
        *["first"] * 2,
        *["last"] * 3,
    ]
    assert empty.error.code == bell.error.code == code_pb2.INVALID_ARGUMENT
    assert violated(empty.error) == ["turns[0].text", "reply_count"]
    assert violated(bell.error) == ["turns[0].text"]
    assert absent.error.code == code_pb2.NOT_FOUND
    assert "models/echo/versions/1" in absent.error.message
    assert poison.error.code == code_pb2.INTERNAL
    assert poison.error.message == "internal error; request id mine"
    assert "a secret of the model" in caplog.text


@pytest.mark.parametrize(
    "bad", [request(""), request(model="models/absent")], ids=["invalid", "not found"]
)
async def test_an_items_error_is_that_of_generate_replies(bad: pb.GenerateRepliesRequest):
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as alone:
            await service.stub.GenerateReplies(bad)
        [item] = await batch(service, [bad])
    assert (item.error.code, item.error.message) == (
        alone.value.code().value[0],
        alone.value.details(),
    )
    status = rpc_status.from_call(alone.value)
    assert list(item.error.details) == (list(status.details) if status else [])


@pytest.mark.parametrize("count", [0, 65])
async def test_no_items_and_too_many_fail_the_call(count: int):
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await batch(service, [request()] * count)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert violated(rpc_status.from_call(refused.value)) == ["requests"]
        assert service.model.batches == []


async def test_sixty_four_items_share_batches_and_keep_their_order():
    async with running(max_wait_seconds=10, max_batch_sequences=128) as service:
        items = [request(f"say {n}", reply_count=2) for n in range(64)]
        results = await batch(service, items)
        assert [len(one) for one in service.model.batches] == [64]
    for number, result in enumerate(results):
        assert [text.split(" / ")[0] for text in texts(result)] == [f"say {number}"] * 2


async def test_a_seed_gives_what_it_gives_alone_and_live_figures_count_every_reply():
    seeded = request(reply_count=4, sampling=pb.Sampling(seed=9))
    async with running() as service:
        alone = await service.stub.GenerateReplies(seeded)
        result, other = await batch(service, [seeded, request("other")])
        assert service.metric("dialog_replies_total") == 4 + 4 + 5
        figures = await service.stub.GetDiversity(pb.GetDiversityRequest())
    assert list(result.response.replies) == list(alone.replies)
    assert other.response.diversity.unique_replies == 5
    assert [w.window_tokens for w in figures.windows if w.window_tokens] == [3 * 13]


async def test_what_the_queue_cannot_hold_is_refused_item_by_item():
    limits = {"queue_capacity_sequences": 32, "max_batch_sequences": 8, "max_wait_seconds": 0.05}
    async with running(**limits) as service:
        results = await batch(service, [request(f"say {n}", reply_count=8) for n in range(6)])
    answered = [texts(each)[0] for each in results if each.HasField("response")]
    assert [text.split(" / ")[0] for text in answered] == [f"say {n}" for n in range(4)]
    for refused in results[4:]:
        hint = error_details_pb2.RetryInfo()
        assert refused.error.code == code_pb2.RESOURCE_EXHAUSTED
        assert refused.error.details[0].Unpack(hint)
        assert hint.retry_delay.ToNanoseconds() > 0


async def test_a_callers_deadline_ends_the_work_of_every_item():
    for seconds in (0.5, 5.0, 50.0):  # as long as a busy machine needs to begin with the work
        if await deadline_ended(seconds):
            return
    pytest.fail("nothing was begun in time")


async def deadline_ended(seconds: float) -> bool:
    """Whether work had begun before the deadline; what became of it is asserted."""
    async with running(max_batch_sequences=10) as service:
        service.model.hold()
        # Whether the caller's clock or the server's is the first to say so is a matter of luck.
        try:
            asked = [request(f"say {n}") for n in range(4)]
            codes = {result.error.code for result in await batch(service, asked, timeout=seconds)}
        except grpc.aio.AioRpcError as late:
            codes = {late.code().value[0]}
        assert codes == {code_pb2.DEADLINE_EXCEEDED}
        if not service.model.has_begun:
            return False
        await dropped(service, 4)
        service.model.release()
        await service.ask("next")
        assert {one.turns for one in service.model.finished} == {("next",)}
        return True


async def test_the_servers_own_deadline_is_told_item_by_item():
    async with running(default_deadline_seconds=0.1) as service:
        service.model.hold()
        results = await batch(service, [request("slow"), request("")], timeout=None)
    codes = [result.error.code for result in results]
    assert codes == [code_pb2.DEADLINE_EXCEEDED, code_pb2.INVALID_ARGUMENT]


async def test_a_caller_who_leaves_takes_every_item_along():
    async with running(max_batch_sequences=10) as service:
        service.model.hold()
        call = asyncio.create_task(batch(service, [request(f"say {n}") for n in range(4)]))
        while not service.model.batches:
            await asyncio.sleep(0.001)
        call.cancel()
        await dropped(service, 4)
        service.model.release()
        await service.ask("next")
        assert {one.turns for one in service.model.finished} == {("next",)}


async def dropped(service: Running, count: int) -> None:
    """Return when so many requests have been given up, in the queue or in a batch."""
    async with asyncio.timeout(30):
        stages = ("queue", "inference")
        name = "dialog_requests_cancelled_total"
        while sum(service.metric(name, stage=stage) for stage in stages) < count:
            await asyncio.sleep(0.001)


async def test_a_draining_server_refuses_the_call():
    async with running() as service:
        await service.server.drain(delay_seconds=0)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await batch(service, [request()])
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_items_use_the_cache_as_single_requests_do(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        await service.ask("known", reply_count=15)
        seeded = request("known", sampling=pb.Sampling(seed=1))
        fresh = [request("new"), request("new")]
        known, alone, *twins = await batch(service, [request("known"), seeded, *fresh])
    assert known.response.cache.status == pb.CACHE_STATUS_HIT
    assert alone.response.cache.status == pb.CACHE_STATUS_BYPASS
    assert all(len(set(texts(one))) == 5 for one in (known, alone, *twins))
    assert set(texts(twins[0])) != set(texts(twins[1]))
