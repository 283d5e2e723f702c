"""A classifier learned in a moment: what it must tell apart, and what must not change it."""

import io
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from dialog_service.errors import ConfigError
from train.data.pairs import Pair
from train.metrics.relevance import RelevanceScorer, RelevanceSettings
from train.metrics.relevance.learning import learn

SETTINGS = RelevanceSettings(
    width=24,
    dropout=0.2,
    feature_dropout=0.2,
    batch_size=32,
    epochs=6,
    least_words=1,
    least_pairs=1000,
    held_out_share=0.2,
)
TOPICS = 12
QUIET = Console(quiet=True)


def post(topic: int, draw: random.Random) -> str:
    """Words of the topic: some that only posts have, one that both sides have."""
    return " ".join([f"p{topic}{draw.choice('abc')}", f"both{topic}", draw.choice("xyz"), "?"])


def reply(topic: int, draw: random.Random) -> str:
    return " ".join([f"r{topic}{draw.choice('abc')}", f"both{topic}", draw.choice("xyz"), "."])


def pairs_of(count: int, seed: int) -> list[Pair]:
    draw = random.Random(seed)
    return [
        Pair(context=(post(n % TOPICS, draw),), response=reply(n % TOPICS, draw), dialog=n // 4)
        for n in range(count)
    ]


TRAIN = pairs_of(480, seed=1)
CONTEXTS = [("before this", *pair.context) for pair in pairs_of(240, seed=2)]
DRAW = random.Random(3)
TRUE = [reply(n % TOPICS, DRAW) for n in range(240)]
WRONG = [reply((n + 5) % TOPICS, DRAW) for n in range(240)]
ECHO = [context[-1] for context in CONTEXTS]


def made(seed: int = 0, console: Console = QUIET) -> RelevanceScorer:
    return RelevanceScorer.train_or_load(TRAIN, seed=seed, console=console, settings=SETTINGS)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "dialog-service"


@pytest.fixture(scope="module")
def scorer() -> RelevanceScorer:
    return RelevanceScorer(learn(TRAIN, SETTINGS, seed=0, console=QUIET), seed=0)


def test_a_fitting_reply_is_far_above_a_wrong_one(scorer: RelevanceScorer):
    true, wrong = scorer.probability(CONTEXTS, TRUE), scorer.probability(CONTEXTS, WRONG)
    assert true.mean() > 0.8
    assert wrong.mean() < 0.2
    assert scorer.rank(CONTEXTS, TRUE).mean() < 15 < 50 < scorer.rank(CONTEXTS, WRONG).mean()


def test_an_echo_is_no_reply(scorer: RelevanceScorer):
    """It shares its topic with the post, and all its words."""
    echo = scorer.probability(CONTEXTS, ECHO)
    assert echo.mean() < 0.3
    assert scorer.quality.relevance_of_echo == pytest.approx(echo.mean(), abs=0.1)


def test_its_own_quality_is_that_on_pairs_it_did_not_learn(scorer: RelevanceScorer):
    quality = scorer.quality
    assert quality.pairs == 96
    assert quality.accuracy > 0.85
    assert quality.mean_rank < 15
    assert quality.relevance > 0.8 > 0.3 > quality.relevance_of_random
    assert "96 held-out training pairs" in str(quality)


def test_judgements_are_the_same_figures_for_the_pool(scorer: RelevanceScorer):
    pools = [(TRUE[0],), (TRUE[1], WRONG[1], ""), (WRONG[2], TRUE[2])]
    judged = scorer.judge(CONTEXTS[:3], pools)
    firsts = [pool[0] for pool in pools]
    expected = scorer.probability(CONTEXTS[:3], firsts).tolist()
    assert [j.relevance for j in judged] == pytest.approx(expected, abs=1e-5)
    assert [j.rank for j in judged] == scorer.rank(CONTEXTS[:3], firsts).tolist()
    assert [j.reciprocal_rank for j in judged] == [1 / j.rank for j in judged]
    of_second = scorer.probability([CONTEXTS[1]] * 2, pools[1][:2])
    assert judged[1].relevance_all == pytest.approx(of_second.sum() / 3, abs=1e-5)


def test_nothing_said_is_worst(scorer: RelevanceScorer):
    assert scorer.probability(CONTEXTS[:2], ["", "  "]).tolist() == [0, 0]
    assert scorer.rank(CONTEXTS[:2], ["", "  "]).tolist() == [100, 100]


def test_a_reply_is_judged_the_same_in_any_company(scorer: RelevanceScorer):
    together = scorer.probability(CONTEXTS, TRUE)
    alone = np.concatenate(
        [scorer.probability([c], [r]) for c, r in zip(CONTEXTS[:20], TRUE[:20], strict=True)]
    )
    assert alone == pytest.approx(together[:20], abs=1e-5)
    assert (scorer.rank(CONTEXTS[3:4], TRUE[3:4])[0] == scorer.rank(CONTEXTS, TRUE)[3]).all()
    assert ((scorer.rank(CONTEXTS, WRONG) >= 1) & (scorer.rank(CONTEXTS, WRONG) <= 100)).all()


def test_no_reply_at_all_is_no_error(scorer: RelevanceScorer):
    assert scorer.judge([], []) == []
    assert len(scorer.probability([], [])) == 0


def test_the_same_is_learned_again_and_kept(cache: Path, scorer: RelevanceScorer):
    torch.manual_seed(5)
    expected = torch.rand(1, generator=torch.Generator().manual_seed(5))
    threads = torch.get_num_threads()
    again = made()
    assert torch.rand(1) == expected, "the random state of others was touched"
    assert torch.get_num_threads() == threads
    probability = scorer.probability(CONTEXTS, TRUE)
    assert np.array_equal(again.probability(CONTEXTS, TRUE), probability)
    [path] = cache.iterdir()
    stamp = path.stat().st_mtime_ns
    loaded = made()
    assert path.stat().st_mtime_ns == stamp
    assert np.array_equal(loaded.probability(CONTEXTS, TRUE), probability)
    assert np.array_equal(loaded.rank(CONTEXTS, TRUE), scorer.rank(CONTEXTS, TRUE))
    assert loaded.quality == scorer.quality
    assert {made.fingerprint for made in (again, loaded, scorer)} == {scorer.fingerprint}


def test_the_fingerprint_is_of_all_that_decides_a_judgement():
    quick = SETTINGS.model_copy(update={"epochs": 1, "width": 4})
    learned = learn(TRAIN, quick, seed=0, console=QUIET)
    other = learn(TRAIN, quick, seed=1, console=QUIET)
    fewer = replace(learned, others=learned.others[:-1])
    scorers = [RelevanceScorer(each, seed=0) for each in (learned, other, fewer)]
    scorers += [RelevanceScorer(learned, seed=1)]
    assert len({scorer.fingerprint for scorer in scorers}) == 4


def test_a_damaged_file_is_made_anew(cache: Path, scorer: RelevanceScorer):
    quick = SETTINGS.model_copy(update={"epochs": 1})
    first = RelevanceScorer.train_or_load(TRAIN, seed=0, console=QUIET, settings=quick)
    [path] = cache.iterdir()
    path.write_bytes(path.read_bytes()[:5000])
    again = RelevanceScorer.train_or_load(TRAIN, seed=0, console=QUIET, settings=quick)
    assert again.quality == first.quality
    assert path.stat().st_size > 5000


def test_other_pairs_settings_and_seeds_have_files_of_their_own(cache: Path):
    quick = SETTINGS.model_copy(update={"epochs": 1, "width": 4})
    for pairs, settings, seed in (
        (TRAIN, quick, 0),
        (TRAIN[:-1], quick, 0),
        (TRAIN, quick.model_copy(update={"dropout": 0.1}), 0),
        (TRAIN, quick, 1),
    ):
        RelevanceScorer.train_or_load(pairs, seed=seed, console=QUIET, settings=settings)
    assert len(list(cache.iterdir())) == 4


def test_without_a_place_to_keep_it_it_is_learned_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    said = io.StringIO()
    quick = SETTINGS.model_copy(update={"epochs": 1, "width": 4})
    console = Console(file=said, force_terminal=False)
    RelevanceScorer.train_or_load(TRAIN, seed=0, console=console, settings=quick)
    assert "relevance classifier not kept" in said.getvalue()


def test_one_dialogue_cannot_be_held_out():
    pairs = [Pair(context=("a",), response="b", dialog=0)] * 10
    with pytest.raises(ConfigError, match="two dialogues"):
        RelevanceScorer.train_or_load(pairs, seed=0, console=QUIET)


@pytest.mark.parametrize("count", [2, 3, 9])
def test_very_few_pairs_are_no_error(count: int):
    pairs = [Pair(context=(f"a {n}",), response=f"b {n}", dialog=n) for n in range(count)]
    scorer = RelevanceScorer.train_or_load(pairs, seed=0, console=QUIET)
    [judged] = scorer.judge([("a 1",)], [("b 1",)])
    assert 0 <= judged.relevance <= 1
    assert 1 <= judged.rank <= 100


def test_a_large_corpus_is_drawn_from():
    settings = SETTINGS.model_copy(update={"max_pairs": 100, "epochs": 1, "width": 4})
    scorer = RelevanceScorer.train_or_load(TRAIN, seed=0, console=QUIET, settings=settings)
    assert scorer.quality.pairs <= 30
