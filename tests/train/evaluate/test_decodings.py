"""A checkpoint's replies as rows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dialog_service.errors import ConfigError
from dialog_service.generation import Generator
from dialog_service.selection import MmrSelection, likelihood, select
from train.evaluate.decodings import Decoding, GeneratedReplies, decodings, overridden
from train.evaluate.options import AskedSelection, Override
from train.metrics.scoring import Case

CASES = [
    Case(dialogue=str(n), context=(text,), responses=("good .",))
    for n, text in enumerate(("the train is late today .", "a taxi .", "our teacher", "the soup"))
]


@pytest.fixture(scope="module")
def generator(tiny_checkpoint: Path) -> Generator:
    return Generator.load(tiny_checkpoint, device="cpu", precision="fp32")


def test_a_stochastic_model_is_also_shown_with_greedy_tokens(generator: Generator):
    asked, drawn, at_mean = decodings(generator, Override(), reply_count=3, contexts=4)
    assert asked.sampling == generator.defaults
    assert (drawn.sampling.temperature, drawn.sampling.latent_scale, drawn.count) == (0, 1, 3)
    assert (at_mean.sampling.temperature, at_mean.sampling.latent_scale) == (0, 0)
    assert at_mean.count == 1
    assert drawn.are_raw


def test_without_selection_the_signature_says_nothing_of_it(generator: Generator):
    own = "T=1,top_k=0,top_p=0.95,latent_scale=1,max_tokens=12"
    asked, drawn, at_mean = decodings(generator, Override(), reply_count=3, contexts=4)
    greedy = own.replace("T=1", "T=0").replace("top_p=0.95", "top_p=1")
    assert str(asked) == f"{own},different replies"
    assert str(drawn) == f"{greedy},raw draws,ten on 1 context of 1"
    assert str(at_mean) == f"{greedy.replace('scale=1', 'scale=0')},one draw"


def test_a_model_with_a_matcher_is_also_shown_selecting(
    generator: Generator, matched: Callable[[Generator], Any]
):
    asked, selecting, *others = decodings(
        matched(generator), Override(temperature=0.5), reply_count=3, contexts=4
    )
    assert selecting.name == "wed_s, selected"
    assert (selecting.sampling, selecting.count) == (asked.sampling, 3)
    assert str(selecting) == f"{asked},mmr 0.5 of 32 by matcher"
    assert others == decodings(generator, Override(temperature=0.5), reply_count=3, contexts=4)[1:]


@pytest.mark.parametrize(
    ("selection", "reply_count", "said"),
    [
        (AskedSelection(candidate_count=8), 3, "different replies,mmr 0.5 of 8 by likelihood"),
        (AskedSelection(candidate_count=8), 1, "different replies,mmr 0.5 of 8 by likelihood"),
        (AskedSelection(candidate_count=1), 1, "one draw,mmr 0.5 of 1 by likelihood"),
        (AskedSelection(relevance_weight=0.0), 3, "different replies,mmr 0 of 32 by likelihood"),
        (
            AskedSelection(relevance_weight=0.25),
            40,
            "different replies,mmr 0.25 of 40 by likelihood",
        ),
    ],
)
def test_a_model_without_a_matcher_selects_where_that_is_asked_for(
    generator: Generator, selection: AskedSelection, reply_count: int, said: str
):
    ways = decodings(
        generator, Override(), selection=selection, reply_count=reply_count, contexts=4
    )
    assert [way.name for way in ways].index("wed_s, selected") == 1
    assert str(ways[1]).endswith(f"max_tokens=12,{said}")


def test_replies_are_selected_by_relevance(
    generator: Generator, matched: Callable[[Generator], Any]
):
    own = Decoding(name="own", sampling=generator.defaults, count=3)
    pools = GeneratedReplies(generator, replace(own, count=20), seed=0).answer(CASES)
    relevant = own.selected(candidates=20, relevance_weight=1.0)
    chosen = GeneratedReplies(matched(generator), relevant, seed=0).answer(CASES)
    assert chosen == [tuple(sorted(pool, key=len)[:3]) for pool in pools]
    assert chosen != [pool[:3] for pool in pools]


def test_replies_are_selected_by_likelihood_where_nothing_else_judges_them(
    generator: Generator, matched: Callable[[Generator], Any]
):
    way = Decoding(name="own", sampling=generator.defaults, count=3).selected(
        candidates=20, relevance_weight=1.0
    )
    model = matched(generator)
    by_matcher, by_likelihood = (
        GeneratedReplies(each, way, seed=0).answer(CASES[:1]) for each in (model, generator)
    )
    [pool] = model.said
    likely = sorted(pool.candidates, key=likelihood, reverse=True)
    assert by_likelihood == [tuple(candidate.text for candidate in likely[:3])]
    assert by_likelihood != by_matcher


def test_replies_are_those_the_service_selects(
    generator: Generator, matched: Callable[[Generator], Any]
):
    model = matched(generator)
    way = Decoding(name="own", sampling=generator.defaults, count=4).selected(
        candidates=20, relevance_weight=0.5
    )
    [replies] = GeneratedReplies(model, way, seed=0).answer(CASES[:1])
    [pool] = model.said
    served = select(pool.candidates, 4, MmrSelection(relevance_weight=0.5))
    assert len(pool.candidates) == 20
    assert replies == tuple(candidate.text for candidate in served)


def test_the_same_decoding_is_not_shown_twice(generator: Generator):
    greedy = Override(temperature=0.0, top_p=1.0)
    assert [d.name for d in decodings(generator, greedy, reply_count=1, contexts=4)] == [
        "wed_s",
        "wed_s, z = mean, greedy tokens",
    ]


def test_replies_depend_on_seed_and_place_and_not_on_the_batch(generator: Generator):
    decoding = decodings(generator, Override(), reply_count=3, contexts=4)[0]

    def answered(seed: int, size: int) -> list[tuple[str, ...]]:
        system = GeneratedReplies(generator, decoding, seed=seed)
        batches = (CASES[start : start + size] for start in range(0, len(CASES), size))
        return [replies for batch in batches for replies in system.answer(batch)]

    assert answered(1, 4) == answered(1, 1)
    assert answered(1, 4) != answered(2, 4)
    assert all(len(set(replies)) == 3 for replies in answered(1, 4))


def test_raw_draws_keep_repeats(generator: Generator):
    still = replace(generator.defaults, temperature=0.0, latent_scale=0.0)
    decoding = Decoding(name="still", sampling=still, count=3, are_raw=True)
    for replies in GeneratedReplies(generator, decoding, seed=0).answer(CASES):
        assert len(replies) == 3
        assert len(set(replies)) == 1


def test_raw_draws_are_drawn_apart(generator: Generator):
    decoding = Decoding(name="raw", sampling=generator.defaults, count=8, are_raw=True)
    [replies] = GeneratedReplies(generator, decoding, seed=0).answer(CASES[:1])
    assert len(set(replies)) > 1


def drawn_decoding(generator: Generator, contexts: int, reply_count: int = 2) -> Decoding:
    return decodings(generator, Override(), reply_count=reply_count, contexts=contexts)[1]


def test_ten_are_drawn_on_contexts_spread_over_all(generator: Generator):
    decoding = drawn_decoding(generator, contexts=600)
    assert decoding.ten_every == 3
    assert "ten on 1 context of 3" in str(decoding)
    tens = GeneratedReplies(generator, decoding, seed=0).answer(CASES)
    assert [len(replies) for replies in tens] == [10, 2, 2, 10]
    plain = GeneratedReplies(generator, replace(decoding, ten_every=0), seed=0).answer(CASES)
    assert [replies[:2] for replies in tens] == plain


def test_ten_replies_and_more_need_no_further_draws(generator: Generator):
    assert drawn_decoding(generator, contexts=600, reply_count=10).ten_every == 0


def test_what_follows_skipped_cases_is_as_it_would_have_been(generator: Generator):
    decoding = drawn_decoding(generator, contexts=600)
    whole = GeneratedReplies(generator, decoding, seed=0).answer(CASES)
    rest = GeneratedReplies(generator, decoding, seed=0)
    rest.skip(1)
    assert rest.answer(CASES[1:]) == whole[1:]


def test_contexts_with_the_same_text_get_replies_of_their_own(generator: Generator):
    decoding = decodings(generator, Override(), reply_count=1, contexts=4)[0]
    replies = GeneratedReplies(generator, decoding, seed=0).answer(CASES[:1] * 8)
    assert len(set(replies)) > 1


@pytest.mark.parametrize(
    ("override", "flag"),
    [
        (Override(temperature=float("nan")), "--temperature nan"),
        (Override(top_p=0.0), "--top-p 0.0"),
        (Override(top_k=-1), "--top-k -1"),
        (Override(latent_scale=9.0), "--latent-scale 9.0"),
    ],
)
def test_sampling_out_of_range_is_refused(generator: Generator, override: Override, flag: str):
    with pytest.raises(ConfigError, match=flag):
        overridden(generator.defaults, override)
