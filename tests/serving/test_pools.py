import dataclasses
from typing import Any

import pytest
from redis.crc import key_slot

from dialog_service.generation import SamplingParameters
from dialog_service.serving.pools import CacheStatus, PoolKey, Served

SAMPLING = SamplingParameters(temperature=0.8, top_p=0.9)


def key(version: str = "wed-s/1", turns: tuple[str, ...] = ("Hi!",), **changes: Any) -> PoolKey:
    return PoolKey.of(version, turns, dataclasses.replace(SAMPLING, **changes))


def test_a_key_depends_on_what_is_said_not_on_how_it_is_typed() -> None:
    assert key(turns=("  HI ! ",)) == key(turns=("Hi!",))


@pytest.mark.parametrize(
    "other",
    [
        key("wed-s/2"),
        key(turns=("Bye!",)),
        key(turns=("Hi!", "Hi!")),
        key(turns=("Hi! Hi!",)),
        *(key(**{n: 3}) for n in SamplingParameters.__dataclass_fields__ if n != "stop"),
        key(stop=("bye",)),
    ],
)
def test_whatever_decides_a_reply_is_in_the_key(other: PoolKey) -> None:
    assert other != key()


def test_turns_are_not_run_together() -> None:
    assert key(turns=("a", "b c")) != key(turns=("a b", "c"))


def test_equal_numbers_make_equal_keys() -> None:
    assert key(temperature=1, latent_scale=-0.0) == key(temperature=1.0, latent_scale=0.0)


def test_stops_make_other_keys_whatever_their_order() -> None:
    assert key(stop=("a", "b")) == key(stop=("b", "a", "b"))
    stops = [(), ("a",), ("b",), ("a", "b"), ("ab",), ('a", "b',)]
    assert len({key(stop=stop) for stop in stops}) == len(stops)


@pytest.mark.parametrize("version", ["wed-s/1", "a{b}c", "}{", ""])
def test_both_keys_are_in_one_slot_of_a_cluster(version: str) -> None:
    candidates, served = key(version).both
    assert candidates != served
    assert key_slot(candidates.encode()) == key_slot(served.encode())


def test_keys_spread_over_the_slots_of_a_cluster() -> None:
    slots = {key_slot(key(turns=(str(n),)).candidates.encode()) for n in range(100)}
    assert len(slots) > 90


def served(drawn: int, before: int, after: int, *, is_complete: bool = False) -> Served:
    return Served(
        candidates=(None,) * drawn,  # type: ignore[arg-type]  # only counted
        size_before=before,
        size_after=after,
        is_complete=is_complete,
    )


@pytest.mark.parametrize(
    ("pool", "missing", "status", "wanted_growth"),
    [
        (served(0, 0, 0), 5, CacheStatus.MISS, 0),  # the first request costs no more than its own
        (served(5, 5, 5), 0, CacheStatus.HIT, 59),
        (served(2, 2, 2), 3, CacheStatus.MISS, 59),  # what is missing is added too
        (served(5, 5, 0), 0, CacheStatus.HIT, 64),  # all retired
        (served(5, 64, 64), 0, CacheStatus.HIT, 0),
        (served(1, 1, 1, is_complete=True), 0, CacheStatus.HIT, 0),  # greedy
    ],
)
def test_what_is_to_be_generated(
    pool: Served, missing: int, status: CacheStatus, wanted_growth: int
) -> None:
    draw = pool.answer(5, capacity=64)
    assert (draw.missing, draw.status, draw.wanted_growth) == (missing, status, wanted_growth)
