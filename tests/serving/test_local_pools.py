from collections.abc import Callable

from dialog_service.generation import Candidate, SamplingParameters
from dialog_service.serving.local_pools import LocalPools
from dialog_service.serving.pools import Origin, PoolKey, PoolSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def key(text: str) -> PoolKey:
    return PoolKey.of("v1", (text,), SamplingParameters())


def test_the_least_recently_used_pool_makes_room(
    candidates: Callable[..., list[Candidate]],
) -> None:
    pools = LocalPools(PoolSettings(), pool_limit=2)
    pools.add(key("a"), candidates(1), Origin.GROWTH)
    pools.add(key("b"), candidates(1), Origin.GROWTH)
    pools.draw(key("a"), 1)
    pools.add(key("c"), candidates(1), Origin.GROWTH)
    assert [pools.draw(key(text), 1).pool_size for text in "abc"] == [1, 0, 1]


def test_a_pool_ends(candidates: Callable[..., list[Candidate]]) -> None:
    clock = Clock()
    pools = LocalPools(PoolSettings(ttl_seconds=10), clock=clock)
    pools.add(key("a"), candidates(3), Origin.GROWTH)
    clock.now = 9
    pools.add(key("a"), candidates(5), Origin.GROWTH)
    assert pools.draw(key("a"), 1).pool_size == 5
    clock.now = 10
    assert pools.draw(key("a"), 1).pool_size == 0
    assert pools.texts(key("a")) == frozenset()
