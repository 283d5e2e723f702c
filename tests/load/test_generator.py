"""Loads on a real server whose model can be held still."""

import asyncio
import itertools
import math

import pytest
from echo_server import EchoModel, Running, running

from dialog_service.client import AsyncDialogClient
from dialog_service.load import calls
from dialog_service.load.calls import Outcome
from dialog_service.load.figures import Bar, Figures, histogram, percentiles
from dialog_service.load.generator import Load, generate_load
from dialog_service.load.workload import Kind, Workload, parse_mix
from dialog_service.v1 import dialog_pb2 as pb

EVERYTHING = Workload(mix=parse_mix("unary=2,stream=1,batch=1,seeded=1,mmr=1"))
PLAIN = Workload(mix={Kind.UNARY: 1}, cache_mode=pb.CACHE_MODE_BYPASS)


async def loaded(
    service: Running, load: Load, figures: Figures | None = None, **more: object
) -> Figures:
    """What comes of a load; again where a machine that stood still has used up a short one."""
    figures = Figures() if figures is None else figures
    before = figures.calls

    def connect() -> AsyncDialogClient:
        target = service.addresses.grpc
        return AsyncDialogClient(target, timeout_seconds=load.timeout_seconds, is_plain=True)

    while figures.calls == before:
        await generate_load(connect, load, figures.add, **more)
    return figures


@pytest.mark.parametrize("rate", [None, 60.0])
async def test_every_kind_of_call_is_answered_and_counted(rate: float | None):
    # Of a load that a slow machine has fallen behind with, all calls come at once.
    async with running(queue_capacity_sequences=100_000) as service:
        figures = await of_every_kind(service, rate)
        counted = service.server.metrics.requests.collect()[0].samples
        seen = sum(each.value for each in counted if each.name.endswith("_total"))
        replies = service.metric("dialog_replies_total")
    assert set(figures.seconds) == set(Kind)
    assert figures.calls == seen == sum(map(len, figures.seconds.values()))
    assert figures.statuses == {"OK": figures.requests}
    assert figures.requests == figures.calls + 7 * len(figures.seconds[Kind.BATCH])
    assert figures.replies == replies == 5 * figures.requests
    assert figures.cache == {"bypass": figures.requests}
    assert (figures.late, figures.hung, figures.error_share, figures.wrong) == (0, 0, 0, {})


async def of_every_kind(service: Running, rate: float | None) -> Figures:
    """A second of calls; where a slow machine has not come to every kind in it, more seconds."""
    whole, seeds = Figures(), itertools.count()
    while set(whole.seconds) != set(Kind):
        load = Load(workload=EVERYTHING, clients=3, seconds=1, rate=rate, seed=next(seeds))
        await loaded(service, load, whole)
    return whole


async def stalled(rate: float | None) -> Figures:
    """Of a service that answers nothing before half a second after the last call was due."""
    async with running(EchoModel()) as service:
        service.model.hold()
        load = Load(workload=PLAIN, clients=2, seconds=0.5, rate=rate)
        loading = asyncio.create_task(loaded(service, load))
        async with asyncio.timeout(30):
            while not service.model.has_begun:
                await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
        service.model.release()
        return await loading


async def test_a_stall_shows_in_every_call_that_was_due_in_it():
    in_turn, at_rate = await stalled(None), await stalled(100.0)
    assert 1 <= in_turn.calls <= 2  # one a client
    assert at_rate.calls > 20
    assert min(*in_turn.latencies, *at_rate.latencies) > 0.4


async def test_failures_are_told_by_status_and_no_refusal_counts_as_an_answer():
    workload = Workload(mix={Kind.BATCH: 1}, utterances=("poison", "hello"), repeated_share=1)
    async with running() as service:
        figures = await loaded(service, Load(workload=workload, clients=1, seconds=0.5))
        await service.server.close()
        refused = await loaded(service, Load(workload=PLAIN, clients=1, seconds=0.3))
    assert set(figures.statuses) == {"OK", "INTERNAL"}
    assert 0 < figures.error_share < 1
    assert set(refused.statuses) == {"UNAVAILABLE"}
    assert refused.error_share == 1
    assert refused.calls < 10  # it pauses
    assert refused.latencies == []


async def test_a_deadline_is_a_latency_too():
    async with running() as service:
        service.model.hold()
        load = Load(workload=PLAIN, clients=2, seconds=0.1, timeout_seconds=0.3)
        figures = await loaded(service, load)
    assert set(figures.statuses) == {"DEADLINE_EXCEEDED"}
    assert min(figures.latencies) >= 0.29
    assert figures.hung == 0


async def test_a_call_that_does_not_end_is_given_up_and_told(monkeypatch: pytest.MonkeyPatch):
    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(calls, "_HUNG_SECONDS", 0.1)
    monkeypatch.setattr(AsyncDialogClient, "generate_replies", never)
    async with running() as service:
        load = Load(workload=PLAIN, clients=2, seconds=0.05, timeout_seconds=0.1)
        figures = await loaded(service, load)
    assert figures.statuses == {"HUNG": figures.calls}
    assert figures.report(1.0)["hung"] == figures.hung == figures.calls


async def test_wrong_answers_are_told():
    def judge(request: pb.GenerateRepliesRequest, response: pb.GenerateRepliesResponse) -> str:
        said = request.turns[0].text
        return "" if all(said in reply.text for reply in response.replies) else "another's"

    async with running() as service:
        load = Load(workload=EVERYTHING, clients=2, seconds=0.3)
        assert (await loaded(service, load, judge=judge)).wrong == {}
        figures = await loaded(service, load, judge=lambda *_: "wrong")
    assert figures.wrong == {"wrong": figures.requests}


@pytest.mark.parametrize(
    ("texts", "seed", "said"),
    [
        (["a", "b"], 7, ""),
        ([], 7, "no replies"),
        (["a", "b", "c"], 7, "more replies than asked for"),
        (["a", "a"], 7, "the same reply twice"),
        (["a"], 8, "another seed"),
    ],
)
def test_what_the_api_promises_is_checked(texts: list[str], seed: int, said: str):
    request = pb.GenerateRepliesRequest(reply_count=2, sampling=pb.Sampling(seed=7))
    replies = [pb.Reply(text=text) for text in texts]
    response = pb.GenerateRepliesResponse(replies=replies, seed=seed)
    assert calls.keeps_its_promises(request, response) == said


def test_percentiles_are_those_of_the_nearest_rank():
    found = percentiles([float(number) for number in range(1, 201)])
    assert found == {"count": 200, "p50": 100, "p90": 180, "p99": 198, "max": 200}
    assert percentiles([]) == {"count": 0}


def test_a_histogram_has_every_call_between_its_first_and_last_bar():
    assert histogram([0.0015, 0.002, 0.011, 1000.0])[:5] == [
        Bar(0.002, 2),
        Bar(0.005, 0),
        Bar(0.01, 0),
        Bar(0.02, 1),
        Bar(0.05, 0),
    ]
    assert histogram([1000.0]) == [Bar(math.inf, 1)]
    assert histogram([]) == []


def test_a_report_adds_up():
    figures = Figures()
    for number in range(4):
        statuses = ("OK", "OK") if number else ("OK", "RESOURCE_EXHAUSTED")
        figures.add(
            Outcome(
                kind=Kind.BATCH, statuses=statuses, seconds=0.1, lag_seconds=number / 100, replies=9
            )
        )
    report = figures.report(2.0)
    assert (report["calls"], report["requests"]) == (4, 8)
    assert (report["requests_per_second"], report["replies_per_second"]) == (4.0, 18.0)
    assert report["statuses"] == {"OK": 7, "RESOURCE_EXHAUSTED": 1}
    assert report["error_share"] == pytest.approx(1 / 8)
    assert report["longest_lag_seconds"] == 0.03
    assert report["histogram"] == [{"up_to_seconds": 0.1, "calls": 4}]
