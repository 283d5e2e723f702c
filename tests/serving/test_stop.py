"""Replies that end before a stop, of a real model, through a real server and a real Redis."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from echo_server import running
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redis_process import RedisProcess

from dialog_service.client import AsyncDialogClient
from dialog_service.serving.app import Server
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb

STOP = "e"  # the tiny model says it often


@contextlib.asynccontextmanager
async def served(checkpoint: Path, redis_url: str) -> AsyncIterator[Callable]:
    """``await ask(...)`` of a server of this checkpoint."""
    addresses = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": redis_url}
    # A busy machine's Redis is waited for: these tests are about what is in a pool.
    cache = {"cache_timeout_seconds": 10.0, "cache_pool_size": 8}
    server = Server(Settings(model=checkpoint, **cache, **addresses))
    address = (await server.start()).grpc
    try:
        async with AsyncDialogClient(address) as client:

            async def ask(**fields: object) -> pb.GenerateRepliesResponse:
                turns = [pb.Turn(text="the soup is cold")]
                request = pb.GenerateRepliesRequest(turns=turns, **{"reply_count": 8, **fields})
                return await client.generate_replies(request)

            yield ask
    finally:
        await server.close()


def texts(response: pb.GenerateRepliesResponse) -> list[str]:
    return [reply.text for reply in response.replies]


async def test_a_seeded_reply_is_the_beginning_of_that_without_a_stop(tiny_checkpoint: Path):
    async with served(tiny_checkpoint, "off") as ask:
        whole = await ask(sampling=pb.Sampling(seed=5))
        cut, again = [await ask(sampling=pb.Sampling(seed=5, stop=[STOP])) for _ in range(2)]
    assert list(cut.replies) == list(again.replies)
    assert cut.seed == 5
    assert len(set(texts(cut))) == len(texts(cut)) == 8
    assert not any(STOP in text for text in texts(cut))
    beginnings = dict.fromkeys(text.partition(STOP)[0].rstrip() for text in texts(whole))
    wanted = [text for text in beginnings if text]
    assert texts(cut)[: len(wanted)] == wanted
    reasons = {reply.text: reply.finish_reason for reply in cut.replies}
    for reply in whole.replies:
        before, stop, _ = reply.text.partition(STOP)
        if stop and before.rstrip():
            assert reasons[before.rstrip()] == pb.FINISH_REASON_STOP


async def test_replies_with_a_stop_have_a_pool_of_their_own(
    tiny_checkpoint: Path, redis_server: RedisProcess
):
    one, other = pb.Sampling(stop=[STOP, "zz"]), pb.Sampling(stop=["zz", STOP])
    async with served(tiny_checkpoint, redis_server.url) as ask:
        answers = [await ask(sampling=each) for each in (None, one, None, other, None)]
    plain, cut, plain_again, cut_again, plain_at_last = answers
    assert [answer.cache.status for answer in answers] == [
        pb.CACHE_STATUS_MISS,
        pb.CACHE_STATUS_MISS,
        pb.CACHE_STATUS_HIT,
        pb.CACHE_STATUS_HIT,
        pb.CACHE_STATUS_HIT,
    ]
    assert not any(STOP in text for text in (*texts(cut), *texts(cut_again)))
    for answer in (plain, plain_again, plain_at_last):
        assert all(reply.finish_reason != pb.FINISH_REASON_STOP for reply in answer.replies)
    assert any(STOP in text for text in texts(plain_at_last))


async def test_replies_that_a_stop_makes_alike_are_one():
    async with running() as service:
        response = await service.ask("hello", sampling=pb.Sampling(stop=["/"]))
        nothing = await service.ask("hello", sampling=pb.Sampling(stop=["hel"]))
    assert texts(response) == ["hello"]
    assert response.diversity.unique_replies == 1
    assert texts(nothing) == []


@pytest.mark.parametrize("stop", [[""], ["a" * 65], ["\x07"], list("abcde")])
async def test_stops_that_cannot_be_are_named(stop: list[str]):
    async with running() as service:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.ask(sampling=pb.Sampling(stop=stop))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = error_details_pb2.BadRequest()
    assert rpc_status.from_call(refused.value).details[0].Unpack(found)
    [violation] = found.field_violations
    assert violation.field.startswith("sampling.stop")
