"""The cache makes no constant of a sampler: the packaged model, a real server, a real Redis."""

import asyncio
import contextlib
import itertools
import statistics
from collections.abc import AsyncIterator

import pytest
from redis_process import RedisProcess

from dialog_service.client import AsyncDialogClient
from dialog_service.load.workload import UTTERANCES
from dialog_service.serving.app import Server
from dialog_service.serving.settings import Settings
from dialog_service.v1 import dialog_pb2 as pb

ROUNDS = 14  # a mean is then known to about 1%, so that 5% between two is no chance


@contextlib.asynccontextmanager
async def served(redis: RedisProcess) -> AsyncIterator[AsyncDialogClient]:
    # A busy machine's Redis is waited for: these tests are about what is in a pool.
    addresses = {"grpc_address": "127.0.0.1:0", "metrics_address": "off", "redis_url": redis.url}
    server = Server(Settings(**addresses, cache_timeout_seconds=10.0))
    try:
        address = (await server.start()).grpc
        async with AsyncDialogClient(address, timeout_seconds=100) as client:
            yield client
    finally:
        await server.close()


def asked(text: str, mode: pb.CacheMode) -> pb.GenerateRepliesRequest:
    return pb.GenerateRepliesRequest(turns=[pb.Turn(text=text)], reply_count=5, cache_mode=mode)


async def diversity(client: AsyncDialogClient, mode: pb.CacheMode) -> tuple[float, float]:
    """Dist-1 and Dist-2 inside a request: means over twenty utterances, each asked many times."""
    requests = [asked(text, mode) for text in UTTERANCES[::3][:20]]
    found = []
    for _ in range(ROUNDS):
        found += await asyncio.gather(*map(client.generate_replies, requests))
    return (
        statistics.fmean(response.diversity.distinct_1 for response in found),
        statistics.fmean(response.diversity.distinct_2 for response in found),
    )


@pytest.mark.timeout(400)
async def test_the_cache_keeps_the_diversity_of_the_model(redis_server: RedisProcess):
    async with served(redis_server) as client:
        same = asked("What shall we do tonight?", pb.CACHE_MODE_DEFAULT)
        answers = [await client.generate_replies(same) for _ in range(30)]
        sets = [frozenset(reply.text for reply in answer.replies) for answer in answers]
        assert sum(one == other for one, other in itertools.combinations(sets, 2)) <= 1
        assert len(frozenset.union(*sets)) >= 40
        assert sum(answer.cache.status == pb.CACHE_STATUS_HIT for answer in answers) >= 5
        without = await diversity(client, pb.CACHE_MODE_BYPASS)
        cached = await diversity(client, pb.CACHE_MODE_DEFAULT)
    assert cached == pytest.approx(without, rel=0.05)
