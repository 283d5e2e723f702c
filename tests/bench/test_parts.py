"""The parts of ``make bench`` run as they stand, on models that take no time."""

import asyncio
import json
from pathlib import Path

import budget
import growth
import over_the_wire
import pooled
import pytest
import replicas
from filled_pools import RULES, SERVINGS, FilledPools, running_redis
from forced_checkpoint import save_forced
from growth import Axis, Case, Point
from growth_point import Measured, measured
from plain_model import PlainSizes
from replicas import Costs, Fleet, Found, replicas_needed
from timed_parts import Part

from dialog_service.serving.cache import CandidatePools
from dialog_service.serving.metrics import Metrics

TINY = Case(batch=2, replies=3, words=60, hidden=8)


def point(size: int) -> Point:
    """Time grows like the size, memory like its square."""
    found = Measured(0.5 * size, 2**30, size**2 * 2**20, "fp32")
    return Point(Axis.BATCH, size, Case(batch=size), found)


def test_growth_is_a_power(tmp_path: Path):
    found = [point(size) for size in (1, 4, 16)]
    powers = growth.exponents(found)
    assert list(powers) == list(growth.FIGURES)
    assert list(powers.values()) == pytest.approx([1, 0, 2])
    growth.written(found, tmp_path)
    written = json.loads((tmp_path / "growth.json").read_text())
    assert written["points"][1]["batch"] == 4
    assert written["exponents"]["batch"] == powers
    assert (tmp_path / "growth.png").stat().st_size > 1000
    assert growth.table(found).row_count == 4


def test_growth_measures_a_case_once(monkeypatch: pytest.MonkeyPatch):
    cases: list[Case] = []

    def found(case: Case, seconds: float) -> Measured:
        cases.append(case)
        return Measured(seconds, 1, 1, "fp32")

    monkeypatch.setattr(growth, "in_fresh_process", found)
    points = list(growth.points(Axis, Case(), 1.0))
    assert len(points) == 16
    assert len(cases) == len(set(cases)) == 14


def test_a_point_is_measured_in_a_process_of_its_own(tmp_path: Path):
    here = tmp_path / "forced"
    save_forced(here, PlainSizes(words=TINY.words, hidden=TINY.hidden))
    found = growth.in_fresh_process(TINY, 0.0)
    assert 0 < found.model_bytes < found.peak_bytes
    assert found.seconds > 0
    assert measured(here, batch=2, replies=3, seconds=0.0).precision == found.precision


async def test_full_pools_stay_full_for_as_many_servings(tiny_checkpoint: Path):
    with running_redis() as server:
        pools = await asyncio.to_thread(FilledPools.make, server, 3, tiny_checkpoint)
        pools.fill()
        cache = CandidatePools(server.url, RULES, Metrics())
        await cache.start()
        for _ in range(SERVINGS):
            draws = [await cache.draw(key, RULES.capacity) for key in pools.keys]
            assert [(each.missing, each.wanted_growth) for each in draws] == [(0, 0)] * 3
        await cache.draw(pools.keys[0], RULES.capacity)
        sizes = [(await cache.draw(key, 1)).pool_size for key in pools.keys]
        await cache.close()
    assert sizes == [0, RULES.capacity, RULES.capacity]
    assert len(pools.deck(5)) == 3 * SERVINGS


@pytest.fixture
def _patience(monkeypatch: pytest.MonkeyPatch):
    """A Redis that is late on a busy machine is waited for."""
    monkeypatch.setenv("DIALOG_CACHE_TIMEOUT_SECONDS", "10")


@pytest.mark.usefixtures("_patience")
def test_answers_of_a_replica_come_from_full_pools(tiny_checkpoint: Path):
    plan = replicas.Plan(tiny_checkpoint, clients=2, replies=3, seconds=0.3)
    with running_redis() as server:
        pools = FilledPools.make(server, 100, tiny_checkpoint)
        found = replicas.measured(Fleet(1, 2), plan, pools)
    assert found.generated_per_second > 0
    assert found.pooled_per_second > 0
    assert found.pooled_share > 0.5
    assert found.redis_seconds >= 0
    assert replicas.measured_table([found, found]).row_count == 3


def test_replicas_on_paper():
    found = Found(2, 1, generated_per_second=20, pooled_per_second=1000, pooled_share=1,
                  redis_seconds=1e-4)  # fmt: skip
    costs = Costs.of(found, replies=10)
    assert costs == pytest.approx((0.002, (0.1 - 0.002) / 10, 1e-4))
    needed = {
        share: replicas_needed(costs, requests_per_second=70, replies=10, generated_share=share)
        for share in (1.0, 0.0)
    }
    assert needed == {1.0: 10, 0.0: 1}
    assert replicas.paper_table(costs, 10).row_count == len(replicas.LOADS)


def test_pooled_answers_are_held_against_both_echoes():
    [apart], [beside] = over_the_wire.echo_apart([2], 0.1), over_the_wire.echo([2], 0.1)
    assert min(apart.requests_per_second, beside.requests_per_second) > 0
    names = [pooled.named(processes) for processes in (1, 2)]
    assert names == ["service, from full pools", "service, 2 processes, from full pools"]
    ours = [
        beside._replace(server=name, requests_per_second=float(count))
        for count, name in enumerate(names, start=1)
    ]
    found = [pooled.Row(row, 1.0) for row in ours] + [
        pooled.Row(row, None) for row in (apart, beside)
    ]
    rates = {row.server: 1 / row.requests_per_second for row in (apart, beside)}
    assert pooled.ratios(found) == {
        name: {server: {2: pytest.approx(count * rate)} for server, rate in rates.items()}
        for count, name in enumerate(names, start=1)
    }
    assert pooled.table(found).row_count == 4


@pytest.mark.usefixtures("_patience")
def test_a_budget_adds_up_to_what_the_caller_waits(tiny_checkpoint: Path):
    found: list[budget.Budget] = []
    plan = budget.Plan(tiny_checkpoint, clients=3, replies=4, seconds=0.3)
    asyncio.run(budget.measured(plan, found.append))
    lone, _, full = found
    assert [each.load for each in found] == ["1 client", "3 clients", "1 client, full pools"]
    assert list(lone.elapsed) == list(full.elapsed)
    assert min(lone.elapsed[part] for part in Part) > 0
    assert full.elapsed[Part.TOKENISE] > 0
    assert full.pooled_share > 0.5
    for name in ("else in the call", "gRPC, network, client"):
        assert lone.elapsed[name] > 0
    assert budget.table(found).row_count == len(lone.elapsed) + 4
