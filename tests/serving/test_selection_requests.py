"""Selection through a real server: of a real model, with seeds, pools and figures."""

from pathlib import Path

import grpc
import pytest
from brute_force_mmr import brute_force_mmr
from echo_server import EchoModel, relevance_of, running
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from redis_process import RedisProcess
from test_stop import served, texts

from dialog_service.diversity import metric_tokens
from dialog_service.replies import Candidate, FinishReason
from dialog_service.selection import likelihood
from dialog_service.v1 import dialog_pb2 as pb

MMR = pb.SELECTION_STRATEGY_MMR
HIT, MISS, BYPASS = pb.CACHE_STATUS_HIT, pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_BYPASS
REASONS = {
    pb.FINISH_REASON_END: FinishReason.END,
    pb.FINISH_REASON_LENGTH: FinishReason.LENGTH,
}


def relevance(reply: pb.Reply) -> float:
    return likelihood(
        Candidate(
            text=reply.text,
            log_prob_nats=reply.log_prob_nats,
            token_count=reply.token_count,
            finish_reason=REASONS[reply.finish_reason],
        )
    )


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
async def test_mmr_chooses_among_what_would_be_drawn(tiny_checkpoint: Path, weight: float):
    seeded = {"sampling": pb.Sampling(seed=7)}
    selection = pb.Selection(strategy=MMR, relevance_weight=weight, candidate_count=24)
    async with served(tiny_checkpoint, "off") as ask:
        drawn = list((await ask(reply_count=24, **seeded)).replies)
        chosen = await ask(reply_count=6, selection=selection, **seeded)
        fewer = await ask(reply_count=2, selection=selection, **seeded)
    words = [metric_tokens(reply.text) for reply in drawn]
    wanted = brute_force_mmr(words, [*map(relevance, drawn)], count=6, weight=weight)
    assert list(chosen.replies) == [drawn[index] for index in wanted]
    assert list(fewer.replies) == list(chosen.replies)[:2]
    assert chosen.diversity.unique_replies == 6
    assert chosen.seed == 7


async def test_what_is_absent_is_32_candidates_of_equal_weight(tiny_checkpoint: Path):
    full = pb.Selection(strategy=MMR, relevance_weight=0.5, candidate_count=32)
    async with served(tiny_checkpoint, "off") as ask:
        for count in (1, 9):
            answers = [
                await ask(reply_count=count, selection=each, sampling=pb.Sampling(seed=3))
                for each in (full, pb.Selection(strategy=MMR))
            ]
            assert list(answers[0].replies) == list(answers[1].replies)


async def test_only_what_is_returned_is_counted():
    async with running() as service:
        response = await service.ask(reply_count=2, selection=pb.Selection(strategy=MMR))
        figures = await service.stub.GetDiversity(pb.GetDiversityRequest())
        assert service.metric("dialog_replies_total") == 2
        [[request]] = service.model.batches
    assert request.reply_count == 32
    assert len(texts(response)) == 2
    [window] = [window for window in figures.windows if window.window_tokens]
    assert window.window_tokens == 6  # "hello", "/" and a number, twice


async def test_the_seed_of_a_miss_gives_the_same_choice_again(redis_server: RedisProcess):
    selection = pb.Selection(strategy=MMR, candidate_count=12)
    async with running(redis_url=redis_server.url) as service:
        first = await service.ask(selection=selection)
        seeded = pb.Sampling(seed=first.seed)
        again = await service.ask(selection=selection, sampling=seeded)
    assert (first.cache.status, again.cache.status) == (MISS, BYPASS)
    assert list(first.replies) == list(again.replies)


async def test_selection_draws_from_the_same_pool_and_is_no_constant(redis_server: RedisProcess):
    selection = pb.Selection(strategy=MMR, candidate_count=16)
    async with running(redis_url=redis_server.url, cache_pool_size=32) as service:
        await service.ask(reply_count=32)
        first = await service.ask(selection=selection)
        second = await service.ask(selection=selection)
        assert service.metric("dialog_cache_requests_total", result="miss") == 1
    assert first.cache.status == second.cache.status == HIT
    assert not first.HasField("seed")
    assert set(texts(first)) != set(texts(second))


async def test_replies_from_a_pool_and_fresh_ones_are_told_apart(redis_server: RedisProcess):
    selection = pb.Selection(strategy=MMR, candidate_count=10, relevance_weight=0.0)
    async with running(redis_url=redis_server.url, cache_pool_size=5) as service:
        known = set(texts(await service.ask(reply_count=5)))
        response = await service.ask(reply_count=7, selection=selection)
        figures = await service.stub.GetDiversity(pb.GetDiversityRequest())
    assert response.cache.status == MISS
    assert len(set(texts(response))) == 7
    from_pool = known & set(texts(response))
    tokens = {
        window.source: window.window_tokens
        for window in figures.windows
        if window.scope == pb.DIVERSITY_SCOPE_REPLICA
    }
    assert tokens[pb.REPLY_SOURCE_CACHE] == 3 * len(from_pool)
    assert tokens[pb.REPLY_SOURCE_FRESH] == 3 * (5 + 7 - len(from_pool))


async def test_fewer_candidates_than_replies_are_all_returned():
    async with running(EchoModel(variety=3)) as service:
        response = await service.ask(reply_count=5, selection=pb.Selection(strategy=MMR))
    assert len(texts(response)) == response.diversity.unique_replies == 3


@pytest.mark.parametrize(
    ("selection", "field"),
    [
        (pb.Selection(strategy=MMR, candidate_count=4), "candidate_count"),
        (pb.Selection(strategy=MMR, candidate_count=21), "candidate_count"),
        (pb.Selection(strategy=MMR, candidate_count=-1), "candidate_count"),
        (pb.Selection(strategy=MMR, relevance_weight=1.1), "relevance_weight"),
        (pb.Selection(strategy=MMR, relevance_weight=float("nan")), "relevance_weight"),
        (pb.Selection(candidate_count=20), "candidate_count"),
        (pb.Selection(relevance_weight=0.5), "relevance_weight"),
        (pb.Selection(strategy=9), "strategy"),
    ],
    ids=str,
)
async def test_selections_that_cannot_be_are_named(selection: pb.Selection, field: str):
    async with running(max_candidates=20, max_replies=10) as service:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.ask(reply_count=5, selection=selection)
        edge = pb.Selection(strategy=MMR, candidate_count=20)
        assert len(texts(await service.ask(reply_count=5, selection=edge))) == 5
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    found = error_details_pb2.BadRequest()
    assert rpc_status.from_call(refused.value).details[0].Unpack(found)
    assert [violation.field for violation in found.field_violations] == [f"selection.{field}"]


async def test_no_request_asks_for_more_candidates_than_may_wait():
    async with running(queue_capacity_sequences=40) as service:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await service.ask(selection=pb.Selection(strategy=MMR, candidate_count=41))
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_what_fits_best_is_chosen_first_and_says_how_well():
    selection = pb.Selection(strategy=MMR, relevance_weight=1.0, candidate_count=20)
    async with running(EchoModel(has_matcher=True)) as service:
        chosen = (await service.ask(reply_count=20, selection=selection)).replies
        plain = (await service.ask(reply_count=5)).replies
    relevance = [reply.relevance for reply in chosen]
    assert relevance == [relevance_of(reply.text) for reply in chosen]
    assert relevance == sorted(relevance, reverse=True)
    assert not any(reply.HasField("relevance") for reply in plain)  # nobody asked


async def test_a_server_told_to_select_does_so_unless_a_request_says_otherwise():
    async with running(EchoModel(has_matcher=True), selection="mmr") as service:
        chosen = await service.ask(reply_count=2)
        plain = await service.ask(
            reply_count=2, selection=pb.Selection(strategy=pb.SELECTION_STRATEGY_NONE)
        )
        counts = [request.reply_count for batch in service.model.batches for request in batch]
    assert counts == [32, 2]
    assert all(reply.HasField("relevance") for reply in chosen.replies)
    assert not any(reply.HasField("relevance") for reply in plain.replies)


async def test_a_model_without_a_matcher_says_nothing_of_relevance():
    async with running() as service:
        response = await service.ask(selection=pb.Selection(strategy=MMR))
        [[request]] = service.model.batches
    assert not request.is_rated
    assert not any(reply.HasField("relevance") for reply in response.replies)


async def test_rated_candidates_have_pools_of_their_own(redis_server: RedisProcess):
    selection = pb.Selection(strategy=MMR, relevance_weight=1.0, candidate_count=16)
    rated = {"reply_count": 5, "selection": selection}
    async with running(EchoModel(has_matcher=True), redis_url=redis_server.url) as service:
        await service.ask(reply_count=32)
        first = await service.ask(**rated)
        assert first.cache.status == MISS
        again = await service.ask(**rated)
        while again.cache.status == MISS:
            again = await service.ask(**rated)
    relevance = [reply.relevance for reply in again.replies]
    assert relevance == [relevance_of(reply.text) for reply in again.replies]
    assert relevance == sorted(relevance, reverse=True)


async def test_a_real_model_rates_what_it_says(matched_checkpoint: Path):
    selection = pb.Selection(strategy=MMR, relevance_weight=1.0, candidate_count=12)
    async with served(matched_checkpoint, "off") as ask:
        chosen = (await ask(reply_count=12, selection=selection)).replies
    relevance = [reply.relevance for reply in chosen]
    assert relevance == sorted(relevance, reverse=True)
    assert 0 < relevance[-1] < relevance[0] < 1
