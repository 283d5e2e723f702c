"""Answers out of pools, through a real server and a real Redis."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from echo_server import EchoModel, Running, running
from redis_process import RedisProcess

from dialog_service.serving.cache import CandidatePools
from dialog_service.serving.single_flight import SingleFlight
from dialog_service.v1 import dialog_pb2 as pb

HIT, MISS = pb.CACHE_STATUS_HIT, pb.CACHE_STATUS_MISS
BYPASS, DEGRADED = pb.CACHE_STATUS_BYPASS, pb.CACHE_STATUS_DEGRADED


def texts(response: pb.GenerateRepliesResponse) -> set[str]:
    return {reply.text for reply in response.replies}


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def grown(service: Running, text: str = "hello") -> None:
    """Ask twice, and wait until the pool has grown to what it holds."""
    await service.ask(text)
    await service.ask(text)
    await until(lambda: len(service.model.finished) >= 3)
    growth = "growth of a pool"  # which ends when it has stored what it has
    await until(lambda: growth not in {task.get_name() for task in asyncio.all_tasks()})


async def test_a_context_seen_once_costs_no_more_than_without_a_cache(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        response = await service.ask(reply_count=4)
        await asyncio.sleep(0.1)
        assert [[r.reply_count for r in batch] for batch in service.model.batches] == [[4]]
    assert (response.cache.status, response.cache.pool_size) == (MISS, 0)
    assert response.HasField("seed")


async def test_the_seed_of_a_miss_gives_the_same_replies_again(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        first = await service.ask()
        again = await service.ask(sampling=pb.Sampling(seed=first.seed))
    assert list(again.replies) == list(first.replies)
    assert again.cache.status == BYPASS


async def test_a_seed_that_would_not_draw_as_long_again_is_not_told(redis_server: RedisProcess):
    async with running(EchoModel(variety=3), redis_url=redis_server.url) as service:
        alone = await service.ask("alone")
        crowd = await asyncio.gather(*(service.ask("crowd") for _ in range(4)))
        assert max(r.reply_count for batch in service.model.batches for r in batch) > 5
    assert [len(response.replies) for response in (alone, *crowd)] == [3] * 5
    assert alone.HasField("seed")
    assert not any(response.HasField("seed") for response in crowd)


async def test_a_hit_generates_nothing_has_no_seed_and_makes_the_pool_grow(
    redis_server: RedisProcess,
):
    async with running(redis_url=redis_server.url) as service:
        await grown(service)
        batches = len(service.model.batches)
        response = await service.ask()
        assert response.cache.status == HIT
        assert response.cache.pool_size == 64
        assert not response.HasField("seed")
        assert not response.timing.HasField("inference")
        assert len(texts(response)) == 5
        assert len(service.model.batches) == batches
        assert service.metric("dialog_cache_requests_total", result="hit") == 1


async def test_a_fault_in_growing_is_told_with_its_traceback_and_costs_no_caller(
    redis_server: RedisProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async def fail(pools: CandidatePools, key: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(CandidatePools, "texts", fail)
    async with running(redis_url=redis_server.url) as service:
        assert all([(await service.ask()).replies for _ in range(2)])
        await until(lambda: any("did not grow" in record.message for record in caplog.records))
        assert "ZeroDivisionError" in caplog.text
        assert (await service.ask()).replies


async def test_a_grown_pool_does_not_repeat_itself(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        await grown(service)
        answers = [texts(await service.ask()) for _ in range(10)]
    assert len(set().union(*answers)) >= 25
    assert len({frozenset(answer) for answer in answers}) == 10


async def test_a_pool_that_is_too_small_is_topped_up_without_repeats(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_pool_size=5) as service:
        await service.ask(reply_count=3)
        response = await service.ask(reply_count=8)
        [request] = service.model.batches[1]
    assert response.cache.status == MISS
    assert response.cache.pool_size == 3
    assert len(texts(response)) == 8
    assert (request.reply_count, len(request.excluded)) == (7, 1)
    assert not response.HasField("seed")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One more each time that a request waits for what is generated for its pool."""
    found: list[object] = []
    run = SingleFlight.run

    def noted(flights: SingleFlight, key: object, work: Callable) -> Awaitable:
        found.append(key)
        return run(flights, key, work)

    monkeypatch.setattr(SingleFlight, "run", noted)
    return found


async def test_a_crowd_shares_a_few_batches_and_gets_different_replies(
    redis_server: RedisProcess, waiting: list[object]
):
    async with running(redis_url=redis_server.url) as service:
        service.model.seconds = 0.05
        service.model.hold()
        crowd = asyncio.gather(*(service.ask() for _ in range(30)))
        await until(lambda: len(waiting) == 30)
        service.model.release()
        answers = await crowd
        counts = [
            service.metric("dialog_cache_requests_total", result=result)
            for result in ("hit", "miss", "degraded")
        ]
    assert sum(counts) == 30  # however often each has drawn
    assert sum(answer.timing.HasField("inference") for answer in answers) <= 6
    assert all(len(texts(answer)) == 5 for answer in answers)
    assert len(set().union(*map(texts, answers))) >= 40


async def test_a_crowd_asks_for_no_more_at_once_than_the_queue_takes(redis_server: RedisProcess):
    limits = {"queue_capacity_sequences": 5, "max_replies": 5}
    async with running(redis_url=redis_server.url, **limits) as service:
        service.model.seconds = 0.05
        answers = await asyncio.gather(*(service.ask() for _ in range(4)))
    assert all(len(texts(answer)) == 5 for answer in answers)


async def test_a_crowd_outlives_the_one_that_generates_for_it(
    redis_server: RedisProcess, waiting: list[object]
):
    async with running(redis_url=redis_server.url) as service:
        service.model.hold()
        first = asyncio.create_task(service.ask())
        await until(lambda: service.model.batches)
        second = asyncio.create_task(service.ask())
        await until(lambda: len(waiting) == 2)
        first.cancel()
        await asyncio.sleep(0.05)
        assert len(service.model.batches) == 1  # the second one has asked for none of its own
        service.model.release()
        assert len(texts(await second)) == 5


async def test_a_caller_who_has_longer_than_the_default_deadline_gets_it(
    redis_server: RedisProcess,
):
    async with running(redis_url=redis_server.url, default_deadline_seconds=0.05) as service:
        service.model.seconds = 0.2
        assert len(texts(await service.ask())) == 5


async def test_generating_stops_when_all_who_waited_have_gone(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        service.model.hold()
        crowd = [asyncio.create_task(service.ask()) for _ in range(3)]
        await until(lambda: service.model.batches)
        for one in crowd:
            one.cancel()
        await until(lambda: service.metric("dialog_requests_cancelled_total", stage="inference"))
        service.model.release()
        await service.ask("next")
        assert {request.turns for request in service.model.finished} == {("next",)}


async def test_bypass_leaves_the_pool_alone_and_refresh_replaces_it(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_pool_size=5) as service:
        first = await service.ask()
        bypass = await service.ask(cache_mode=pb.CACHE_MODE_BYPASS)
        hit = await service.ask()
        refresh = await service.ask(cache_mode=pb.CACHE_MODE_REFRESH)
        after = await service.ask()
    assert bypass.cache.status == BYPASS
    assert bypass.HasField("seed")
    assert texts(hit) == texts(first)
    assert refresh.cache.status == MISS
    assert texts(after) == texts(refresh) != texts(first)


async def test_the_second_request_generates_for_some_to_come(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        service.model.hold()  # no idle time
        asking = asyncio.create_task(service.ask())
        for count in (5, 14):
            await until(lambda: service.model.batches)
            [[request]] = service.model.batches
            assert request.reply_count == count
            service.model.batches.clear()
            service.model.release()
            assert len(texts(await asking)) == 5
            service.model.hold()
            asking = asyncio.create_task(service.ask())
        assert (await asking).cache.status == HIT


async def test_other_sampling_is_another_pool(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_pool_size=5) as service:
        await service.ask()
        other = await service.ask(sampling=pb.Sampling(temperature=0.5))
        same = await service.ask(sampling=pb.Sampling(temperature=1.0))
    assert (other.cache.status, same.cache.status) == (MISS, HIT)


async def test_greedy_requests_hold_one_entry(redis_server: RedisProcess):
    model = EchoModel(variety=1, is_deterministic=True)
    greedy = pb.Sampling(temperature=0.0)
    async with running(model, redis_url=redis_server.url) as service:
        answers = [await service.ask(sampling=greedy) for _ in range(5)]
        await asyncio.sleep(0.1)
        assert len(model.batches) == 1
    assert {len(answer.replies) for answer in answers} == {1}
    assert [answer.cache.status for answer in answers] == [MISS, HIT, HIT, HIT, HIT]


async def test_a_cached_reply_still_says_that_the_context_was_cut(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as service:
        long = "word " * 60
        assert [(await service.ask(long)).context_truncated for _ in range(2)] == [True, True]
        assert [(await service.ask("hi")).context_truncated for _ in range(2)] == [False, False]


async def test_another_server_answers_from_the_pool(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_pool_size=5) as first:
        generated = await first.ask()
        async with running(redis_url=redis_server.url, cache_pool_size=5) as second:
            response = await second.ask()
            assert second.model.finished == []
    assert response.cache.status == HIT
    assert texts(response) == texts(generated)


async def test_other_weights_have_other_pools(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url) as first:
        await first.ask()
    other = EchoModel(fingerprint="fedcba9876543210")
    async with running(other, redis_url=redis_server.url) as second:
        assert (await second.ask()).cache.status == MISS


async def test_redis_killed_under_load_costs_no_request_and_is_used_again(
    redis_server: RedisProcess,
):
    async with running(redis_url=redis_server.url) as service:
        statuses: list[int] = []
        stop = asyncio.Event()

        async def caller(number: int) -> None:
            while not stop.is_set():
                response = await service.ask(f"say {number % 3}")
                assert len(texts(response)) == 5
                statuses.append(response.cache.status)
                await asyncio.sleep(0.002)

        callers = [asyncio.create_task(caller(number)) for number in range(8)]
        await until(lambda: HIT in statuses)
        redis_server.kill()
        await until(lambda: statuses[-20:].count(DEGRADED) == 20)
        await until(lambda: service.metric("dialog_redis_up") == 0)
        assert service.metric("dialog_cache_errors_total", op="draw") > 0
        redis_server.start()
        await until(lambda: statuses[-20:].count(HIT) == 20)
        assert service.metric("dialog_redis_up") == 1
        stop.set()
        await asyncio.gather(*callers)  # any failed request would raise here


async def test_a_redis_that_hangs_costs_no_request(redis_server: RedisProcess):
    async with running(redis_url=redis_server.url, cache_timeout_seconds=0.02) as service:
        await service.ask()
        redis_server.pause()
        try:
            answers = [await service.ask() for _ in range(10)]
        finally:
            redis_server.resume()
    assert all(len(texts(answer)) == 5 for answer in answers)
    assert answers[-1].cache.status == DEGRADED


async def test_without_redis_the_server_is_ready_and_degraded():
    async with running(redis_url="unix:///nowhere/redis.sock") as service:
        answers = [await service.ask()]
        async with asyncio.timeout(30):
            while answers[-1].cache.status != DEGRADED:
                answers.append(await service.ask())
        assert service.metric("dialog_redis_up") == 0
    assert all(len(texts(answer)) == 5 for answer in answers)


@pytest.mark.parametrize("mode", [pb.CACHE_MODE_DEFAULT, pb.CACHE_MODE_REFRESH])
async def test_seeded_requests_bypass_the_cache_in_every_mode(
    redis_server: RedisProcess, mode: int
):
    async with running(redis_url=redis_server.url) as service:
        seeded = {"sampling": pb.Sampling(seed=3), "cache_mode": mode}
        first = await service.ask(**seeded)
        unseeded = await service.ask()
        second = await service.ask(**seeded)
    assert list(first.replies) == list(second.replies)
    assert first.cache.status == second.cache.status == BYPASS
    assert unseeded.cache.status == MISS  # nothing of the seeded one was kept
