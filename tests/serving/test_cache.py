import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from dialog_service.errors import ConfigError
from dialog_service.generation import Candidate, SamplingParameters
from dialog_service.serving.cache import CandidatePools, connect
from dialog_service.serving.pools import CacheStatus, Draw, Origin, PoolKey, PoolSettings

KEY = PoolKey.of("v1", ("How are you?",), SamplingParameters())
# For tests that are neither about time nor about how much of a pool one request gets.
PATIENT = PoolSettings(timeout_seconds=30.0, share=1)
Candidates = Callable[..., list[Candidate]]


class Observer:
    def __init__(self) -> None:
        self.errors: list[str] = []
        self.redis_up: list[bool] = []

    def on_error(self, op: str) -> None:
        self.errors.append(op)

    def on_redis_up(self, is_up: bool) -> None:
        self.redis_up.append(is_up)


@pytest.fixture
def observer() -> Observer:
    return Observer()


@asynccontextmanager
async def opened(
    url: str | None, observer: Observer, settings: PoolSettings = PATIENT
) -> AsyncIterator[CandidatePools]:
    pools = CandidatePools(url, settings, observer)
    await pools.start()
    try:
        yield pools
    finally:
        await pools.close()


async def until(claim: Callable[[], bool | Awaitable[bool]], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not (claimed if isinstance(claimed := claim(), bool) else await claimed):
            await asyncio.sleep(0.02)


async def is_degraded(pools: CandidatePools) -> bool:
    return (await pools.draw(KEY, 1)).status == CacheStatus.DEGRADED


async def has_given_up(pools: CandidatePools) -> bool:
    """Whether Redis is left alone, after one more try."""
    return await is_degraded(pools) and pools._line.is_down


def texts(draw: Draw) -> list[str]:
    return [candidate.text for candidate in draw.candidates]


# The rules of a pool, wherever it is kept.


@pytest.fixture(params=["redis", "process"])
async def pools(
    request: pytest.FixtureRequest, observer: Observer
) -> AsyncIterator[CandidatePools]:
    kept_in_redis = request.param == "redis"
    url = request.getfixturevalue("redis_server").url if kept_in_redis else None
    async with opened(url, observer) as opened_pools:
        yield opened_pools


def seen_as(pools: CandidatePools, status: CacheStatus) -> CacheStatus:
    """What a draw without Redis says in the place of ``status``."""
    return status if pools._line is not None else CacheStatus.DEGRADED


async def test_a_pool_gives_back_what_it_was_given(
    pools: CandidatePools, candidates: Candidates
) -> None:
    empty = await pools.draw(KEY, 5)
    assert empty == Draw(missing=5, status=seen_as(pools, CacheStatus.MISS))
    await pools.add(KEY, candidates(5), Origin.ANSWER)
    draw = await pools.draw(KEY, 5)
    assert draw.status == seen_as(pools, CacheStatus.HIT)
    assert sorted(draw.candidates, key=lambda one: one.text) == candidates(5)
    assert (draw.missing, draw.pool_size, draw.wanted_growth) == (0, 5, 59)


async def test_draws_are_without_replacement_and_evenly_at_random(
    pools: CandidatePools, candidates: Candidates
) -> None:
    await pools.add(KEY, candidates(10), Origin.GROWTH, is_complete=True)
    first: Counter[str] = Counter()
    drawn: Counter[str] = Counter()
    for _ in range(400):
        draw = texts(await pools.draw(KEY, 5))
        assert len(set(draw)) == 5
        first[draw[0]] += 1
        drawn.update(draw)
    assert len(drawn) == 10
    assert all(abs(times - 200) < 50 for times in drawn.values())  # five standard deviations
    assert all(abs(times - 40) < 30 for times in first.values())


async def test_a_pool_of_just_the_replies_asked_for_gives_them_in_another_order(
    pools: CandidatePools, candidates: Candidates
) -> None:
    await pools.add(KEY, candidates(5), Origin.GROWTH, is_complete=True)
    orders = {tuple(texts(await pools.draw(KEY, 5))) for _ in range(20)}
    assert len(orders) > 10


@pytest.mark.parametrize("url", ["redis", None])
async def test_a_request_gets_a_part_of_a_pool_that_still_grows(
    url: str | None, redis_server, candidates: Candidates, observer: Observer
) -> None:
    rules = PoolSettings(capacity=12, timeout_seconds=30.0, share=3)
    async with opened(url and redis_server.url, observer, rules) as pools:
        sizes = []
        for count in (2, 5, 8, 11):
            await pools.add(KEY, candidates(count), Origin.GROWTH)
            draw = await pools.draw(KEY, 5)
            assert len(texts(draw)) + draw.missing == 5
            sizes.append(len(texts(draw)))
        assert sizes == [0, 1, 2, 3]
        await pools.add(KEY, candidates(12), Origin.GROWTH)
        assert len(texts(await pools.draw(KEY, 12))) == 12  # it is full
        await pools.add(KEY, candidates(2), Origin.REFRESH, is_complete=True)
        assert len(texts(await pools.draw(KEY, 5))) == 2  # there is no more


async def test_a_candidate_retires_after_three_servings(
    pools: CandidatePools, candidates: Candidates
) -> None:
    await pools.add(KEY, candidates(4), Origin.GROWTH)
    served = Counter[str]()
    while (draw := await pools.draw(KEY, 2)).pool_size:
        served.update(texts(draw))
    assert served == {candidate.text: 3 for candidate in candidates(4)}


async def test_an_answer_counts_as_a_serving(pools: CandidatePools, candidates: Candidates) -> None:
    await pools.add(KEY, candidates(2), Origin.ANSWER)
    assert [(await pools.draw(KEY, 2)).pool_size for _ in range(3)] == [2, 2, 0]


async def test_growth_is_wanted_until_the_pool_is_full(
    pools: CandidatePools, candidates: Candidates
) -> None:
    await pools.add(KEY, candidates(2), Origin.GROWTH)
    draw = await pools.draw(KEY, 5)
    assert (len(draw.candidates), draw.missing, draw.wanted_growth) == (2, 3, 59)
    assert draw.status == seen_as(pools, CacheStatus.MISS)
    await pools.add(KEY, candidates(70), Origin.GROWTH)
    full = await pools.draw(KEY, 1)
    assert (full.pool_size, full.wanted_growth) == (64, 0)
    assert await pools.texts(KEY) == {candidate.text for candidate in candidates(64)}


async def test_a_known_text_keeps_its_count(pools: CandidatePools, candidates: Candidates) -> None:
    await pools.add(KEY, candidates(1), Origin.ANSWER)
    await pools.draw(KEY, 1)
    await pools.add(KEY, candidates(1), Origin.GROWTH)
    await pools.draw(KEY, 1)
    assert (await pools.draw(KEY, 1)).pool_size == 0


async def test_a_complete_pool_is_served_as_it_is(
    pools: CandidatePools, candidates: Candidates
) -> None:
    await pools.add(KEY, (), Origin.ANSWER, is_complete=True)
    assert (await pools.draw(KEY, 5)).missing == 5  # nothing cannot be complete
    await pools.add(KEY, candidates(1), Origin.ANSWER, is_complete=True)
    for _ in range(5):
        draw = await pools.draw(KEY, 5)
        assert (draw.candidates, draw.missing) == (tuple(candidates(1)), 0)
        assert (draw.status, draw.wanted_growth) == (seen_as(pools, CacheStatus.HIT), 0)


async def test_a_complete_pool_whose_candidates_redis_has_evicted_is_none(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as pools:
        await pools.add(KEY, candidates(1), Origin.ANSWER, is_complete=True)
        await pools._line.client.delete(KEY.candidates)
        assert await pools.draw(KEY, 5) == Draw(missing=5, status=CacheStatus.MISS)


async def test_refresh_rebuilds(pools: CandidatePools, candidates: Candidates) -> None:
    await pools.add(KEY, candidates(5), Origin.GROWTH, is_complete=True)
    await pools.add(KEY, candidates(8)[5:], Origin.REFRESH)
    assert await pools.texts(KEY) == {candidate.text for candidate in candidates(8)[5:]}
    assert [(await pools.draw(KEY, 3)).pool_size for _ in range(3)] == [3, 3, 0]


async def test_pools_are_apart(pools: CandidatePools, candidates: Candidates) -> None:
    await pools.add(KEY, candidates(5), Origin.GROWTH)
    other = PoolKey.of("v1", ("How are you?",), SamplingParameters(temperature=0.7))
    assert (await pools.draw(other, 5)).pool_size == 0


# What concerns Redis alone.


async def test_two_replicas_share_a_pool(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as one, opened(redis_server.url, observer) as two:
        await one.add(KEY, candidates(10), Origin.GROWTH)
        served = Counter[str]()
        for _ in range(3):
            draws = await asyncio.gather(*(replica.draw(KEY, 5) for replica in (one, two)))
            served.update(text for draw in draws for text in texts(draw))
    assert max(served.values()) <= 3
    assert served.total() >= 25


async def test_many_draws_at_once_count_every_serving(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as pools:
        await pools.add(KEY, candidates(64), Origin.GROWTH)
        draws = await asyncio.gather(*(pools.draw(KEY, 4) for _ in range(100)))
    served = Counter(text for draw in draws for text in texts(draw))
    assert served == {candidate.text: 3 for candidate in candidates(64)}
    assert observer.errors == []


async def test_both_keys_live_for_the_ttl_with_jitter(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    settings = PoolSettings(ttl_seconds=1_000_000, timeout_seconds=30.0, share=1)
    slack = 100_000  # ms between one look and the next, little beside the jitter
    lives = []
    async with opened(redis_server.url, observer, settings) as pools:
        with redis_server.client as client:
            for number in range(20):
                key = PoolKey.of("v1", (str(number),), SamplingParameters())
                await pools.add(key, candidates(2), Origin.ANSWER)
                before, counts = (client.pttl(name) for name in key.both)
                await pools.add(key, candidates(5), Origin.GROWTH)
                await pools.draw(key, 1)
                assert before - slack < client.pttl(key.candidates) <= before  # not prolonged
                assert abs(counts - before) < slack
                lives.append(before / 1_000_000)
    assert 890 < min(lives) < 1000 < max(lives) <= 1100


async def test_counts_that_were_evicted_start_again_and_do_not_outlive_the_pool(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as pools:
        await pools.add(KEY, candidates(1), Origin.GROWTH)
        with redis_server.client as client:
            client.delete(KEY.both[1])
            await pools.draw(KEY, 1)
            assert client.pttl(KEY.both[1]) > 0
            await pools.draw(KEY, 1)
            await pools.draw(KEY, 1)
            assert client.keys("*") == []


@pytest.mark.parametrize("part", [0, 1])
async def test_a_key_of_another_type_is_a_miss_and_mended(
    redis_server, candidates: Candidates, observer: Observer, part: int
) -> None:
    async with opened(redis_server.url, observer) as pools:
        with redis_server.client as client:
            client.set(KEY.both[part], b"\x80\x04foreign")
        assert (await pools.draw(KEY, 2)).missing == 2
        await pools.add(KEY, candidates(2), Origin.ANSWER)
        assert (await pools.draw(KEY, 2)).status == CacheStatus.HIT
    assert observer.redis_up == [True]


async def test_an_unreadable_candidate_is_a_miss_and_its_pool_is_made_anew(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as pools:
        await pools.add(KEY, candidates(2), Origin.GROWTH)
        with redis_server.client as client:
            client.hset(KEY.candidates, "foreign", b"\x80\x04foreign")
        assert await pools.texts(KEY) == frozenset()
        draw = await pools.draw(KEY, 3)
        assert (draw.candidates, draw.missing, draw.status) == ((), 3, CacheStatus.MISS)
        assert observer.errors == ["draw"]
        with redis_server.client as client:
            assert client.keys("*") == []


@pytest.mark.parametrize("answer", [1, b"abc", [], [1, 2, 1], [b"another", 2, 2, 0, b"x"], "mine"])
async def test_an_answer_to_something_else_is_nobodys(
    redis_server, candidates: Candidates, observer: Observer, answer: object
) -> None:
    async def send(*_: object) -> object:
        return [KEY.candidates.encode(), 2, 2, 0, 7] if answer == "mine" else answer

    async with opened(redis_server.url, observer) as pools:
        pools._drawn = send
        assert await pools.draw(KEY, 2) == Draw(missing=2, status=CacheStatus.DEGRADED)
    assert observer.errors == ["draw"]


async def test_a_redis_that_refuses_to_write_degrades_but_is_not_away(
    redis_server, candidates: Candidates, observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(redis_server.url, observer) as pools:
        with redis_server.client as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")  # read-only
        for _ in range(4):
            assert await is_degraded(pools)
            await pools.add(KEY, candidates(1), Origin.ANSWER)
    assert observer.errors == ["draw", "add"] * 4
    assert observer.redis_up == [True]
    complaints = [each for each in caplog.records if each.levelname == "WARNING"]
    assert [each.op for each in complaints] == ["draw", "add"]  # once each
    assert all("read only replica" in each.why for each in complaints)


async def test_why_redis_is_away_is_said_but_no_password(
    redis_server, observer: Observer, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.url.replace("://", "://:a-secret@")
    with redis_server.client as client:
        client.config_set("requirepass", "another")
        async with opened(url, observer) as pools:
            await until(lambda: has_given_up(pools))
        client.config_set("requirepass", "")
    (warning,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert "is away" in warning.message
    assert "invalid username-password pair" in warning.why
    assert "secret" not in caplog.text + warning.why


async def test_a_draw_that_is_cancelled_half_way_leaves_no_answer_for_the_next(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    keys = [PoolKey.of("v1", (str(n),), SamplingParameters()) for n in range(20)]
    async with opened(redis_server.url, observer) as pools:
        for number, key in enumerate(keys):
            await pools.add(key, candidates(1, prefix=f"to {number}"), Origin.GROWTH)
        redis_server.pause()
        draws = [asyncio.create_task(pools.draw(key, 1)) for key in keys[:10]]
        await asyncio.sleep(0.1)  # sent, and not answered
        for draw in draws:
            draw.cancel()
        await asyncio.wait(draws)
        assert all(draw.cancelled() for draw in draws)
        redis_server.resume()
        for _ in range(2):
            answers = await asyncio.gather(*(pools.draw(key, 1) for key in keys))
            assert [texts(answer) for answer in answers] == [[f"to {n} 0"] for n in range(20)]
        third = [(await pools.draw(key, 1)).pool_size for key in keys]
        assert third == [0] * 10 + [1] * 10  # what was cancelled counts as served
        with redis_server.client as client:
            info = client.info("stats")
    assert observer.errors == []
    assert info["total_connections_received"] <= 20  # none was given up


async def test_a_redis_that_hangs_is_left_alone_until_it_goes_on(
    redis_server, observer: Observer
) -> None:
    async with opened(
        redis_server.url, observer, PoolSettings(timeout_seconds=0.02, share=1)
    ) as pools:
        await until(lambda: observer.redis_up == [True])
        redis_server.pause()
        await until(lambda: has_given_up(pools))
        assert observer.redis_up == [True, False]
        failed = observer.errors.count("draw")
        for _ in range(100):
            await pools.draw(KEY, 5)
        assert observer.errors.count("draw") == failed  # it was asked for none of them
        redis_server.resume()
        await until(lambda: observer.redis_up == [True, False, True])


async def test_a_slow_answer_is_waited_for_no_longer_than_the_time_out(
    redis_server, observer: Observer
) -> None:
    async with opened(
        redis_server.url, observer, PoolSettings(timeout_seconds=0.3, share=1)
    ) as pools:
        redis_server.pause()
        started = time.monotonic()
        assert await is_degraded(pools)
        assert time.monotonic() - started > 0.25
        assert pools._line._under_way  # the command waits on for its answer, ten times as long
        redis_server.resume()


async def test_a_busy_event_loop_is_no_failure_of_redis(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async def hog() -> None:
        while True:
            time.sleep(0.05)  # which Redis has to answer in
            await asyncio.sleep(0)

    async with opened(
        redis_server.url, observer, PoolSettings(timeout_seconds=0.02, share=1)
    ) as pools:
        await until(lambda: observer.redis_up == [True])
        async with opened(redis_server.url, Observer()) as patient:
            await patient.add(KEY, candidates(5), Origin.GROWTH)
            await patient.draw(KEY, 1)  # so that Redis knows the script
        hogging = asyncio.create_task(hog())
        observer.errors.clear()
        assert (await pools.draw(KEY, 5)).status == CacheStatus.HIT
        hogging.cancel()
    assert observer.errors == []


async def test_redis_killed_and_back(
    redis_server, candidates: Candidates, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as pools:
        await pools.add(KEY, candidates(5), Origin.GROWTH)
        redis_server.kill()

        await until(lambda: has_given_up(pools))
        assert observer.redis_up == [True, False]
        await pools.add(KEY, candidates(8, prefix="local"), Origin.GROWTH)
        draw = await pools.draw(KEY, 5)
        assert (draw.status, draw.pool_size) == (CacheStatus.DEGRADED, 8)

        redis_server.start()
        await until(lambda: observer.redis_up == [True, False, True])
        assert (await pools.draw(KEY, 5)).status == CacheStatus.MISS  # it came back empty
        await pools.add(KEY, candidates(5), Origin.GROWTH)
        assert (await pools.draw(KEY, 5)).status == CacheStatus.HIT

        redis_server.kill()
        await until(lambda: has_given_up(pools))
        assert (await pools.draw(KEY, 5)).pool_size == 0  # nothing from the time before


async def test_redis_that_was_never_there(
    observer: Observer, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[object] = []
    connected = asyncio.open_connection

    async def noted(**where: object) -> object:
        tries.append(where)
        return await connected(**where)

    monkeypatch.setattr(asyncio, "open_connection", noted)
    monkeypatch.setattr("dialog_service.serving.cache._HEARTBEAT_SECONDS", 3600.0)
    async with opened(f"redis://127.0.0.1:{unused_tcp_port}", observer) as pools:
        assert (await pools.draw(KEY, 1)).missing == 1
        assert observer.errors == ["ping", "draw"]
        assert len(tries) == 2  # no second ones
        await until(lambda: has_given_up(pools))
    assert observer.redis_up == [False]


async def test_without_redis_it_says_so_at_once(observer: Observer) -> None:
    async with opened(None, observer):
        assert observer.redis_up == [False]


async def test_closing_twice_and_with_a_draw_under_way(redis_server, observer: Observer) -> None:
    pools = CandidatePools(redis_server.url, PATIENT, observer)
    await pools.start()
    draw = asyncio.create_task(pools.draw(KEY, 1))
    await asyncio.sleep(0)
    await pools.close()
    await pools.close()
    assert (await draw).status == CacheStatus.MISS
    assert observer.errors == []


@pytest.mark.parametrize("password", ["secret@", "secret/1@", "secret#@", "secret:2@"])
@pytest.mark.parametrize("scheme", ["http", "redis"])
def test_a_url_that_is_none_does_not_show_its_password(scheme: str, password: str) -> None:
    with pytest.raises(ConfigError, match="redis_url: must begin with redis://") as error:
        connect(f"{scheme}://:{password}localhost:port", timeout_seconds=1)
    assert "secret" not in str(error.value)
