"""Paired tests where the truth is known: nothing to find, something to find, every exchange."""

import random
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest

from dialog_service.diversity import distinct_ratio, metric_tokens
from train.metrics.counting import Case, ContextCounter, Counts
from train.metrics.fluency import with_fluency
from train.metrics.judgement import Judgement, with_judgement
from train.metrics.language_model import NgramModel
from train.metrics.scoring import CORPUS_METRICS, METRICS, RowScorer
from train.metrics.significance import Difference, Pairing, Randomisation, holm
from train.metrics.unigrams import Unigrams, with_familiarity

WORDS = tuple("abcdefghijklmnopqrstuvwxyz")
Replies = list[tuple[str, ...]]


def said(draws: random.Random, words: Sequence[str] = WORDS) -> str:
    return " ".join(draws.choices(words, k=draws.randint(3, 9)))


def cases(draws: random.Random, *, dialogues: int, turns: int = 2) -> list[Case]:
    return [
        Case(dialogue=str(number), context=("hello",), responses=(said(draws),))
        for number in range(dialogues)
        for _ in range(turns)
    ]


def pairing(asked: list[Case], first: Replies, second: Replies, *keys: str) -> Pairing:
    counter = ContextCounter()
    sides = [
        [counter.of(case, replies) for case, replies in zip(asked, side, strict=True)]
        for side in (first, second)
    ]
    metrics = [metric for metric in METRICS if not keys or metric.key in keys]
    return Pairing([case.dialogue for case in asked], sides, metrics)


def judged(found: Pairing, *, exchanges: int = 400, seed: int = 0) -> dict[str, Difference]:
    return found.differences(Randomisation(exchanges=exchanges, seed=seed), lambda: None)


def drawn(draws: random.Random, count: int, words: Sequence[str] = WORDS) -> Replies:
    return [(said(draws, words), said(draws, words)) for _ in range(count)]


def test_figures_are_those_of_the_table():
    draws = random.Random(1)
    asked = cases(draws, dialogues=9)
    sides = drawn(draws, len(asked)), drawn(draws, len(asked), WORDS[:8])
    found = judged(pairing(asked, *sides), exchanges=1)
    for place, replies in enumerate(sides):
        scorer = RowScorer()
        scorer.add_all(asked, replies)
        figures = scorer.figures(seed=0)
        assert found.keys() == figures.keys()
        for key, each in found.items():
            value = (each.first, each.second)[place]
            assert value == pytest.approx(figures[key].value, abs=1e-9), key
    for each in found.values():
        assert each.difference.value == pytest.approx(each.second - each.first, abs=1e-9)


TEXTS = [" ".join(WORDS[:place]) for place in range(3, 20)]
CORPUS = Unigrams(TEXTS)
MODEL = NgramModel(TEXTS)


def measured(asked: list[Case], replies: Replies) -> list[Counts]:
    """Counts with all that an evaluation measures; a judge likes long replies."""
    found = []
    for case, given, fluency in zip(asked, replies, MODEL.fluency(replies), strict=True):
        counts = with_fluency(ContextCounter().of(case, given), fluency)
        counts = with_familiarity(counts, CORPUS.familiarity(metric_tokens(given[0])))
        likings = tuple(len(reply) / 20 for reply in given)
        found.append(
            with_judgement(counts, Judgement(probabilities=likings, rank=1 + len(given[0])))
        )
    return found


def test_measured_figures_are_those_of_the_table_too():
    draws = random.Random(11)
    asked = cases(draws, dialogues=9)
    sides = drawn(draws, len(asked)), drawn(draws, len(asked), WORDS[:8])
    counts = [measured(asked, side) for side in sides]
    found = judged(Pairing([case.dialogue for case in asked], counts), exchanges=20)
    assert found.keys() == {metric.key for metric in METRICS} - {"unique_replies"}
    for place, side in enumerate(counts):
        scorer = RowScorer(corpus=CORPUS)
        for each in side:
            scorer.take(each)
        figures = scorer.figures(seed=0)
        for key, each in found.items():
            value = (each.first, each.second)[place]
            assert value == pytest.approx(figures[key].value, abs=1e-9), key
            low, high = each.difference.low, each.difference.high
            assert low is not None
            assert high is not None
            assert low <= each.difference.value <= high, key


def test_p_of_unikl_and_coverage_is_the_share_of_all_exchanges():
    """Every one of 2^7 exchanges, each scored as a table would.

    Of an exchange and its opposite, which differ in sign alone, one is enough.
    """
    draws = random.Random(12)
    asked = cases(draws, dialogues=7, turns=1)
    one, other = drawn(draws, 7), drawn(draws, 7, WORDS[:21])
    keys = [metric.key for metric in CORPUS_METRICS]

    def figures(replies: Replies) -> list[float]:
        scorer = RowScorer(corpus=CORPUS)
        scorer.add_all(asked, replies)
        found = scorer.figures(seed=0)
        return [found[key].value for key in keys]

    differences = []
    for stays in product([True], *[[True, False]] * 6):
        first = [a if stay else b for a, b, stay in zip(one, other, stays, strict=True)]
        second = [b if stay else a for a, b, stay in zip(one, other, stays, strict=True)]
        differences.append(np.abs(np.subtract(figures(second), figures(first))))
    exact = np.mean(np.array(differences) >= differences[0] - 1e-12, axis=0)
    counts = [measured(asked, side) for side in (one, other)]
    found = judged(Pairing([case.dialogue for case in asked], counts), exchanges=128)
    assert all(0.05 < p < 0.95 for p in exact)  # else the test shows little
    assert [found[key].p for key in keys] == pytest.approx(exact, abs=1e-12)


def test_systems_that_are_the_same_do_not_differ():
    draws = random.Random(2)
    asked = cases(draws, dialogues=12)
    replies = drawn(draws, len(asked))
    for each in judged(pairing(asked, replies, replies)).values():
        assert (each.p, each.p_holm) == (1.0, 1.0)
        assert (each.difference.low, each.difference.high) == (0.0, 0.0)


def test_a_system_that_is_better_is_found_and_the_interval_leaves_zero_out():
    draws = random.Random(3)
    asked = cases(draws, dialogues=30)
    poor = drawn(draws, len(asked), WORDS[:5])
    good = [(case.responses[0] + " z", said(draws)) for case in asked]
    found = judged(pairing(asked, poor, good))
    for key in ("bleu_2", "bleu_4", "set_recall", "entropy", "dist_1", "dist_2"):
        assert found[key].p == pytest.approx(1 / 401), key
        assert found[key].p_holm < 0.05, key
        assert found[key].difference.low is not None
        assert found[key].difference.low > 0, key


def test_the_order_of_the_two_changes_the_sign_alone():
    draws = random.Random(4)
    asked = cases(draws, dialogues=10)
    one, other = drawn(draws, len(asked)), drawn(draws, len(asked), WORDS[:9])
    there, back = judged(pairing(asked, one, other)), judged(pairing(asked, other, one))
    for key, each in there.items():
        assert back[key].difference.value == pytest.approx(-each.difference.value)
        assert back[key].p == pytest.approx(each.p, abs=1e-12)


@pytest.mark.parametrize(("key", "order"), [("dist_2", 2), ("avg_len", 0)])
def test_p_is_the_share_of_all_exchanges(key: str, order: int):
    """Every one of 2^7 exchanges by brute force."""
    draws = random.Random(5)
    asked = cases(draws, dialogues=7, turns=1)
    one, other = drawn(draws, 7), drawn(draws, 7, WORDS[:14])

    def figure(replies: Replies) -> float:
        tokens = [metric_tokens(pool[0]) for pool in replies]
        return distinct_ratio(tokens, order) if order else sum(map(len, tokens)) / len(tokens)

    differences = []
    for stays in product([True], *[[True, False]] * 6):
        first = [a if stay else b for a, b, stay in zip(one, other, stays, strict=True)]
        second = [b if stay else a for a, b, stay in zip(one, other, stays, strict=True)]
        differences.append(abs(figure(second) - figure(first)))
    exact = np.mean(np.array(differences) >= differences[0] - 1e-12)
    found = judged(pairing(asked, one, other, key), exchanges=128)[key]
    assert 0.05 < exact < 0.95  # else the test shows little
    assert found.p == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize(("dialogues", "tried", "steps"), [(3, 8, 8), (6, 64, 64), (7, 100, 101)])
def test_exchanges_are_every_way_or_as_many_as_asked_for(dialogues: int, tried: int, steps: int):
    """At random the pair as it is comes first, and is none of those asked for."""
    draws, how = random.Random(13), Randomisation(exchanges=100)
    asked = cases(draws, dialogues=dialogues, turns=1)
    advances: list[None] = []
    found = pairing(asked, drawn(draws, dialogues), drawn(draws, dialogues), "avg_len")
    found.p_values(how, lambda: advances.append(None))
    assert (how.tried(found.count), len(advances)) == (tried, steps)
    assert how.is_exact(found.count) == (tried == 2**dialogues)


def test_some_exchanges_drawn_blindly_stand_for_all():
    draws = random.Random(10)
    asked = cases(draws, dialogues=10, turns=1)
    found = pairing(asked, drawn(draws, 10), drawn(draws, 10, WORDS[:20]), "dist_1", "avg_len")
    exact = judged(found, exchanges=1024)
    sampled = [judged(found, exchanges=1000, seed=seed) for seed in (1, 2)]
    for key, each in exact.items():
        assert 0.01 < each.p < 1
        assert [s[key].p for s in sampled] == pytest.approx([each.p] * 2, abs=0.06)
    assert sampled[0] != sampled[1]
    assert judged(found, exchanges=1000, seed=1) == sampled[0]


def test_p_is_even_where_there_is_nothing_to_find():
    """Two draws of one system, time and again: p <= x in about x of them, as dialogues vary."""
    draws = random.Random(6)
    keys, trials = ("dist_2", "avg_len"), []
    for trial in range(120):
        asked = cases(draws, dialogues=10)
        of_dialogue = {case.dialogue: draws.sample(WORDS, 6) for case in asked}
        sides = [[(said(draws, of_dialogue[case.dialogue]),) for case in asked] for _ in range(2)]
        how = Randomisation(exchanges=49, seed=trial)
        trials.append(pairing(asked, *sides, *keys).p_values(how, lambda: None))
    for key, values in zip(keys, np.array(trials).T, strict=True):
        for level in (0.1, 0.5):
            margin = 3.5 * np.sqrt(level * (1 - level) / len(values))
            assert np.mean(values <= level) == pytest.approx(level, abs=margin), (key, level)


def test_contexts_of_one_dialogue_are_exchanged_together():
    """One dialogue said a hundred times over is one piece of evidence, not a hundred."""
    draws = random.Random(7)
    asked = cases(draws, dialogues=1, turns=100)
    found = judged(pairing(asked, [("a b",)] * 100, [("a b c",)] * 100, "avg_len"))
    assert found["avg_len"].p == 1.0
    assert found["avg_len"].difference.low is None


def test_figures_that_one_system_lacks_are_left_out():
    draws = random.Random(8)
    asked = cases(draws, dialogues=3)
    found = judged(pairing(asked, [("a b",)] * 6, drawn(draws, 6)), exchanges=1)
    assert "avg_len" in found
    assert "inter_dist_1" not in found


def test_silence_has_figures_too():
    asked = cases(random.Random(9), dialogues=2)
    found = judged(pairing(asked, [("",)] * 4, [("a b",)] * 4))
    assert found["dist_1"].first == 0.0
    assert found["entropy"].first == 0.0
    assert found["ead_2"].first == 0.0
    counts = [measured(asked, [(words,)] * 4) for words in ("", "a b")]
    found = judged(Pairing([case.dialogue for case in asked], counts))
    assert (found["uni_kl"].first, found["coverage"].first) == (0.0, 0.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
