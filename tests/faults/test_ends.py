"""Replicas that end, well or badly, while clients who do not back off ask them."""

import asyncio
import itertools
import signal
from pathlib import Path

import grpc
import pytest
from load import loaded, until
from redis_faults import running_redis
from replica import Replica, echoes

from dialog_service.diversity import distinct_ratio, metric_tokens
from dialog_service.load.figures import Figures
from dialog_service.load.workload import Kind, Workload
from dialog_service.v1 import dialog_pb2 as pb
from dialog_service.v1 import dialog_pb2_grpc

pytestmark = pytest.mark.timeout(400)  # processes are slow to start on a busy machine

FRESH = Workload(mix={Kind.UNARY: 1}, reply_count=10, cache_mode=pb.CACHE_MODE_BYPASS)
FLEET = {"scope": "fleet", "source": "fresh"}
WINDOW = "dialog_diversity_window_tokens"


async def hammer(address: str, name: str, ends: dict[str, str]) -> None:
    """Ask without a pause until nobody listens; how each call ended, by its request id."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, own) as channel:
        stub = dialog_pb2_grpc.DialogServiceStub(channel)
        for number in itertools.count():
            call = f"{name}-{number}"
            request = pb.GenerateRepliesRequest(turns=[pb.Turn(text=call)], reply_count=2)
            try:
                metadata = [("x-request-id", call)]
                response = await stub.GenerateReplies(request, timeout=60, metadata=metadata)
                ends[call] = echoes(request, response) or "OK"
            except grpc.aio.AioRpcError as error:
                ends[call] = error.code().name
                if not error.trailing_metadata():
                    return


async def test_sigterm_under_load_loses_no_accepted_request(tmp_path: Path):
    replica = Replica(tmp_path / "log", "--redis-url", "off", "--drain-delay-seconds", "0.3")
    replica.start()
    ends: dict[str, str] = {}
    callers = [
        asyncio.create_task(hammer(replica.address, f"caller-{number}", ends))
        for number in range(16)
    ]
    await until(lambda: len(ends) > 200)
    replica.signal(signal.SIGTERM)
    await asyncio.gather(*callers)
    assert await asyncio.to_thread(replica.wait) == 0
    assert set(ends.values()) == {"OK", "UNAVAILABLE"}
    accepted = {line["request_id"] for line in replica.logged() if line["code"] == "OK"}
    answered = {call for call, end in ends.items() if end == "OK"}
    assert len(accepted) > 200
    assert answered == accepted
    assert set(replica.codes()) == {"OK", "UNAVAILABLE"}


async def test_a_replica_that_is_killed_takes_nothing_of_the_other_with_it(tmp_path: Path):
    returned: dict[str, list[list[str]]] = {"stays": [], "goes": []}

    def judged(name: str):
        def judge(request: pb.GenerateRepliesRequest, response: pb.GenerateRepliesResponse) -> str:
            returned[name] += [metric_tokens(reply.text) for reply in response.replies]
            return echoes(request, response)

        return judge

    with running_redis() as redis:
        flags = ("--redis-url", redis.server.url, "--diversity-window-tokens", "1000000")
        replicas = {name: Replica(tmp_path / name, *flags) for name in returned}
        try:
            await asyncio.gather(*(asyncio.to_thread(each.start) for each in replicas.values()))
            figures = {name: Figures() for name in returned}
            is_over = asyncio.Event()

            async def kept_busy(name: str) -> None:
                load = (replicas[name].address, figures[name], judged(name), FRESH)
                while not is_over.is_set():
                    await loaded(*load, clients=4, seconds=1.0)

            async def is_published() -> bool:
                goes = replicas["goes"]
                return bool(await asyncio.to_thread(goes.metric, WINDOW, **FLEET))

            going = asyncio.create_task(kept_busy("goes"))
            await until(is_published)
            staying = asyncio.create_task(kept_busy("stays"))
            await until(lambda: figures["stays"].requests > 100)
            replicas["goes"].kill()
            await until(lambda: "UNAVAILABLE" in figures["goes"].statuses)
            is_over.set()
            await asyncio.gather(going, staying)
            await check_fleet(replicas["stays"], returned)
        finally:
            for each in replicas.values():
                each.kill()
    assert figures["stays"].statuses == {"OK": figures["stays"].requests}
    assert set(figures["goes"].statuses) == {"OK", "UNAVAILABLE"}
    for each in figures.values():
        assert (each.wrong, each.hung, each.late) == ({}, 0, 0)


async def check_fleet(replica: Replica, returned: dict[str, list[list[str]]]) -> None:
    """The fleet's figure is of what the one has returned, and the other but for its last moment."""
    own, every = returned["stays"], [*returned["stays"], *returned["goes"]]
    fewest, most = (sum(map(len, each)) for each in (own, every))
    await until(lambda: (replica.metric(WINDOW, **FLEET) or 0) > fewest)
    await until(lambda: replica.metric(WINDOW, scope="replica", source="fresh") == fewest)
    await asyncio.sleep(2.5)  # for the last publication to be read and shown
    assert fewest < replica.metric(WINDOW, **FLEET) <= most
    for n in (1, 2):
        shown = replica.metric("dialog_distinct_ratio", **FLEET, n=str(n))
        # The ratio falls as text grows.
        assert 0.97 * distinct_ratio(every, n) < shown < 1.03 * distinct_ratio(own, n)
