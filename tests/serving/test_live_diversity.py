import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from redis.crc import key_slot

from dialog_service.diversity import distinct_ratio
from dialog_service.serving.live_diversity import LiveDiversity, Source, WindowFigure

MODEL = "models/wed-s"
Reply = list[str]


class Observer:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def on_error(self, op: str) -> None:
        self.errors.append(op)


@pytest.fixture
def observer() -> Observer:
    return Observer()


@asynccontextmanager
async def opened(
    url: str | None, observer: Observer, window_tokens: int = 10_000
) -> AsyncIterator[LiveDiversity]:
    """One that publishes when it is told to, so that tests know what has been published."""
    live = LiveDiversity(url, window_tokens=window_tokens, observer=observer)
    try:
        yield live
    finally:
        await live.close()


def replies(tokens: int, seed: int) -> list[Reply]:
    """Replies of 3 to 17 words from one vocabulary whatever the seed, frequent words first."""
    chance = random.Random(seed)
    made: list[Reply] = []
    count = 0
    while count < tokens:
        reply = [f"w{int(chance.paretovariate(0.6)) % 5_000}" for _ in range(chance.randint(3, 17))]
        made.append(reply)
        count += len(reply)
    return made


def token_count(texts: Sequence[Reply]) -> int:
    return sum(len(text) for text in texts)


def figure(
    live: LiveDiversity, n: int, scope: str, source: Source = Source.FRESH
) -> WindowFigure | None:
    found = [f for f in live.snapshot() if (f.n, f.scope, f.source) == (n, scope, source)]
    assert len(found) <= 1
    return found[0] if found else None


def fleet(live: LiveDiversity, n: int, source: Source = Source.FRESH) -> WindowFigure:
    found = figure(live, n, "fleet", source)
    assert found is not None
    return found


async def until(claim: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not claim():
            await asyncio.sleep(0.02)


async def test_a_replica_counts_exactly(observer: Observer) -> None:
    texts = replies(15_000, seed=1)
    async with opened(None, observer) as live:
        live.record(MODEL, Source.FRESH, texts)
        kept = list(texts)
        while token_count(kept[1:]) >= 10_000:
            kept.pop(0)
        for n in (1, 2):
            assert figure(live, n, "replica") == WindowFigure(
                model=MODEL,
                n=n,
                scope="replica",
                source=Source.FRESH,
                distinct_ratio=distinct_ratio(kept, n),
                window_tokens=token_count(kept),
                is_full=True,
            )
        assert len(live.snapshot()) == 2  # nothing of the fleet, nothing from the cache


async def test_two_replicas_with_overlapping_text_make_one_figure(
    redis_server, observer: Observer
) -> None:
    texts = replies(60_000, seed=2)
    async with (
        opened(redis_server.url, observer, 58_000) as one,
        opened(redis_server.url, observer, 58_000) as two,
    ):
        for number, start in enumerate(range(0, len(texts), 10)):
            (one, two)[number % 2].record(MODEL, Source.FRESH, texts[start : start + 10])
            if number % 7 == 0:
                await asyncio.gather(one.refresh(), two.refresh())
        await asyncio.gather(one.refresh(), two.refresh())
        await one.refresh()
        for n in (1, 2):
            truth = distinct_ratio(texts, n)
            assert fleet(one, n).is_full
            assert fleet(one, n).window_tokens == token_count(texts)
            assert fleet(one, n).distinct_ratio == pytest.approx(truth, rel=0.02)
            assert fleet(two, n) == fleet(one, n)
            own = [figure(live, n, "replica") for live in (one, two)]
            mean = sum(f.distinct_ratio for f in own if f) / 2
            assert abs(mean / truth - 1) > 0.2  # what averaging would have said
    assert observer.errors == []
    assert one.lost_tokens == two.lost_tokens == 0


async def test_the_window_slides_and_never_shrinks_once_full(
    redis_server, observer: Observer
) -> None:
    texts = replies(60_000, seed=3)
    sizes = []
    async with opened(redis_server.url, observer, 10_000) as live:
        for start in range(0, len(texts), 10):
            live.record(MODEL, Source.FRESH, texts[start : start + 10])
            await live.refresh()
            sizes.append(fleet(live, 1).window_tokens)
            if start % 500 == 0:  # the last figures are of the last texts
                recent: list[Reply] = []
                for text in reversed(texts[: start + 10]):
                    recent += [text] if token_count(recent) < sizes[-1] else []
                assert token_count(recent) == sizes[-1]
                truth = distinct_ratio(recent, 2)
                assert fleet(live, 2).distinct_ratio == pytest.approx(truth, rel=0.03)
    full = next(number for number, size in enumerate(sizes) if size >= 10_000)
    assert sizes[:full] == sorted(sizes[:full])
    assert min(sizes[full:]) >= 10_000
    assert max(sizes) < 11_000


async def test_segments_that_have_left_the_window_are_removed(
    redis_server, observer: Observer
) -> None:
    async with opened(redis_server.url, observer, 1_000) as live:
        live.record(MODEL, Source.FRESH, replies(20_000, seed=4))
        await live.refresh()
        with redis_server.client as client:
            keys = client.keys("*")
            assert len(keys) <= 1 + 3 * 33
            lives = [client.ttl(key) for key in keys]
        assert min(lives) > 6 * 24 * 3600
        assert max(lives) <= 7 * 24 * 3600


async def test_sources_and_models_are_apart(redis_server, observer: Observer) -> None:
    async with opened(redis_server.url, observer) as live:
        live.record(MODEL, Source.FRESH, [["a", "b"]] * 2)
        live.record(MODEL, Source.CACHE, [["c", "c", "c", "c"]])
        live.record("models/{other}", Source.FRESH, [["d", "e", "f"]])
        await live.refresh()
        ratios = {
            (f.model, f.scope, f.source.value, f.n): f.distinct_ratio for f in live.snapshot()
        }
    expected = {
        (MODEL, "fresh", 1): 2 / 4,
        (MODEL, "fresh", 2): 1 / 2,
        (MODEL, "cache", 1): 1 / 4,
        (MODEL, "cache", 2): 1 / 3,
        ("models/{other}", "fresh", 1): 1.0,
        ("models/{other}", "fresh", 2): 1.0,
    }
    assert ratios == {
        (model, scope, source, n): ratio
        for (model, source, n), ratio in expected.items()
        for scope in ("replica", "fleet")
    }


async def test_a_replica_that_joins_sees_the_fleet_and_one_that_dies_leaves_its_replies(
    redis_server, observer: Observer
) -> None:
    texts = replies(12_000, seed=5)
    dying = LiveDiversity(redis_server.url, window_tokens=10_000, observer=observer)
    dying.record(MODEL, Source.FRESH, texts)
    await dying.refresh()
    dying.record(MODEL, Source.FRESH, replies(3_000, seed=6))
    dying._pending.clear()  # a replica that is killed publishes no more
    await dying.close()
    async with opened(redis_server.url, observer) as joining:
        joining.record(MODEL, Source.FRESH, [])
        await joining.refresh()
        assert figure(joining, 1, "replica") is None
        assert fleet(joining, 1).is_full
        before = fleet(joining, 2).distinct_ratio
        joining.record(MODEL, Source.FRESH, [["same", "old", "song"]] * 3_000)
        await joining.refresh()
        after = fleet(joining, 2)
        assert 10_000 <= after.window_tokens < 11_000
        assert after.distinct_ratio < before / 2


async def test_replicas_with_other_windows_do_not_mix(redis_server, observer: Observer) -> None:
    async with (
        opened(redis_server.url, observer, 10_000) as one,
        opened(redis_server.url, observer, 20_000) as two,
    ):
        one.record(MODEL, Source.FRESH, [["a", "b"]])
        two.record(MODEL, Source.FRESH, [["a"]])
        await one.refresh()
        await two.refresh()
        assert (fleet(one, 1).window_tokens, fleet(two, 1).window_tokens) == (2, 1)


async def test_what_others_serve_from_the_cache_is_seen_by_who_does_not(
    redis_server, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as one, opened(redis_server.url, observer) as two:
        one.record(MODEL, Source.CACHE, [["a", "b"]])
        two.record(MODEL, Source.FRESH, [["c"]])
        await one.refresh()
        await two.refresh()
        assert fleet(two, 1, Source.CACHE).window_tokens == 2


@pytest.mark.parametrize("model", ["models/wed-s", "a{b}c", "}{", ""])
async def test_all_keys_of_a_window_are_in_one_slot_of_a_cluster(
    redis_server, observer: Observer, model: str
) -> None:
    async with opened(redis_server.url, observer) as live:
        live.record(model, Source.FRESH, [["a", "b"]])
        await live.refresh()
        with redis_server.client as client:
            assert len({key_slot(key) for key in client.keys("*")}) == 1


async def test_words_do_not_run_together(redis_server, observer: Observer) -> None:
    async with opened(redis_server.url, observer) as live:
        live.record(MODEL, Source.FRESH, [["a", "bc"], ["ab", "c"]])
        await live.refresh()
        assert fleet(live, 2).distinct_ratio == 1.0


async def test_replies_of_one_word_and_of_none(redis_server, observer: Observer) -> None:
    async with opened(redis_server.url, observer) as live:
        live.record(MODEL, Source.FRESH, [[]])
        await live.refresh()
        assert live.snapshot() == ()
        live.record(MODEL, Source.FRESH, [["yes"], ["yes"], []])
        await live.refresh()
        assert fleet(live, 1).distinct_ratio == 1 / 2
        assert figure(live, 2, "fleet") is None
    assert observer.errors == []


async def test_what_redis_does_not_take_is_lost_and_counted(
    redis_server, observer: Observer
) -> None:
    async with opened(redis_server.url, observer) as live:
        live.record(MODEL, Source.FRESH, [["a", "b", "c"]])
        await live.refresh()
        redis_server.kill()
        live.record(MODEL, Source.FRESH, [["d", "e"]] * 1_000)
        await live.refresh()
        assert live.lost_tokens == 2_000
        assert observer.errors == ["diversity_publish", "diversity_read"]
        assert figure(live, 1, "fleet") is None
        own = figure(live, 1, "replica")
        assert own is not None
        assert own.window_tokens == 2_003
        redis_server.start()
        live.record(MODEL, Source.FRESH, [["f", "f"]])
        await live.refresh()
        assert fleet(live, 1).window_tokens == 2  # numerator and denominator began again together
        assert fleet(live, 1).distinct_ratio == 1 / 2


async def test_recording_does_not_wait_for_redis(redis_server, observer: Observer) -> None:
    live = LiveDiversity(
        redis_server.url, window_tokens=10_000, observer=observer, interval_seconds=0.02
    )
    await live.start()
    live.record(MODEL, Source.FRESH, [["a"]])
    await until(lambda: figure(live, 1, "fleet") is not None)
    redis_server.pause()
    async with asyncio.timeout(30):  # half as long as Redis is waited for
        for _ in range(100):
            live.record(MODEL, Source.FRESH, [["b", "c"]])
            live.snapshot()
            await asyncio.sleep(0)
    redis_server.resume()
    await until(lambda: fleet(live, 1).window_tokens == 201)
    await live.close()


async def test_closing_publishes_what_is_left(redis_server, observer: Observer) -> None:
    live = LiveDiversity(
        redis_server.url, window_tokens=10_000, observer=observer, interval_seconds=60
    )
    await live.start()
    await asyncio.sleep(0.05)
    live.record(MODEL, Source.FRESH, [["a", "b"]])
    await live.close()
    await live.close()
    async with opened(redis_server.url, observer) as other:
        other.record(MODEL, Source.FRESH, [])
        await other.refresh()
        assert fleet(other, 1).window_tokens == 2


async def test_what_was_not_counted_yet_is_forgotten_too(observer: Observer) -> None:
    async with opened(None, observer) as live:
        live.record(MODEL, Source.FRESH, [["a", "b"]])
        live.forget(MODEL)
        assert live.snapshot() == ()
