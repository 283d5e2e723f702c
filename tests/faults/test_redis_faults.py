"""Redis goes wrong under load: no caller notices, nobody gets another's reply, it is used again."""

import asyncio
from collections.abc import Iterator

import pytest
from load import loaded, until
from redis_faults import FAULTS, Redis, running_redis
from replica import Replica

from dialog_service.client import AsyncDialogClient
from dialog_service.load.figures import Figures
from dialog_service.v1 import dialog_pb2 as pb

pytestmark = pytest.mark.timeout(400)  # processes are slow to start on a busy machine

FLEET = {"scope": "fleet", "source": "fresh"}


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with running_redis() as redis:
        yield redis


@pytest.fixture(scope="module")
def replica(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    log = tmp_path_factory.mktemp("replica") / "log"
    replica = Replica(log, "--redis-url", redis.proxy.url)
    replica.start()
    yield replica
    replica.kill()


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_caller_notices(fault: str, redis: Redis, replica: Replica):
    figures, after = Figures(), Figures()
    async with AsyncDialogClient(replica.address) as client:
        await until(lambda: is_shared(client, f"before {fault}"))
        with FAULTS[fault](redis):
            while figures.requests <= 20:  # a second is enough but on a machine that stands still
                await loaded(replica.address, figures, clients=8, seconds=1.0)
            assert await client.is_ready()
        await until(lambda: is_shared(client, f"after {fault}"))
    await loaded(replica.address, after, clients=8, seconds=0.3)
    for each in (figures, after):
        assert each.statuses == {"OK": each.requests}
        assert each.wrong == {}
        assert (each.late, each.hung) == (0, 0)
    if fault != "restarted_empty":
        assert figures.cache["degraded"] > 0
    if fault in ("killed", "paused"):
        assert figures.cache["hit"] + figures.cache["miss"] == 0


async def is_shared(client: AsyncDialogClient, text: str) -> bool:
    """Whether Redis has a pool for this text, after one more try."""
    answer = await client.ask(text)
    return answer.cache.status == pb.CACHE_STATUS_HIT


async def test_a_fleet_figure_that_cannot_be_known_is_not_shown(redis: Redis, replica: Replica):
    async def is_shown() -> bool:
        found = await asyncio.to_thread(replica.metric, "dialog_distinct_ratio", **FLEET)
        return found is not None

    await until(is_shown)
    with FAULTS["killed"](redis):
        await until(lambda: _not(is_shown()))
        own = await asyncio.to_thread(replica.metric, "dialog_distinct_ratio", scope="replica")
        assert own is not None
    async with AsyncDialogClient(replica.address) as client:
        await client.ask("something new")  # the Redis that came back is empty
    await until(is_shown)


async def _not(claim) -> bool:
    return not await claim
