"""The splits, on the toy corpus."""

from pathlib import Path

import pytest
from rich.console import Console

from dialog_service.diversity import metric_tokens
from dialog_service.errors import ConfigError
from train.data.corpora import CorpusSource, load_corpus
from train.data.pairs import PairMode
from train.evaluate.cases import (
    CaseOptions,
    EvaluationPart,
    EvaluationSplit,
    load_cases,
    training_pairs,
)
from train.metrics.overlap import token_f1
from train.metrics.scoring import Case

TOY = CorpusSource(corpus="dailydialog", data_dir=Path(__file__).parents[2] / "data" / "toy")
QUIET = Console(quiet=True)


def cases(split: EvaluationSplit, **options: bool) -> tuple[Case, ...]:
    return load_cases(TOY, CaseOptions(split=split, **options), QUIET).cases


def test_each_split_is_part_of_the_one_before_it():
    full = cases(EvaluationSplit.FULL)
    deduplicated = cases(EvaluationSplit.DEDUPLICATED)
    strict = cases(EvaluationSplit.STRICT)
    assert len(full) > len(deduplicated) > len(strict) > 0
    assert set(full) > set(deduplicated) > set(strict)


def test_strict_leaves_out_exactly_the_pairs_near_a_training_pair():
    def tokens(post: str, response: str) -> tuple[list[str], list[str]]:
        return metric_tokens(post), metric_tokens(response)

    corpus = load_corpus(TOY)
    train = [tokens(p.context[-1], p.response) for p in training_pairs(corpus, keep_leaks=True)]

    def is_near(case: Case) -> bool:
        post, response = tokens(case.context[-1], case.responses[0])
        return any(
            token_f1(post, other) >= 0.6 and token_f1(response, reply) >= 0.6
            for other, reply in train
        )

    deduplicated = set(cases(EvaluationSplit.DEDUPLICATED))
    near = {case for case in deduplicated if is_near(case)}
    assert near
    assert set(cases(EvaluationSplit.STRICT)) == deduplicated - near


def test_leaks_change_what_null_rows_draw_from_and_never_the_rows():
    options = CaseOptions(split=EvaluationSplit.STRICT)
    kept = CaseOptions(split=EvaluationSplit.STRICT, keep_leaks=True)
    without, with_leaks = (load_cases(TOY, each, QUIET) for each in (options, kept))
    assert without.cases == with_leaks.cases
    assert set(without.train) < set(with_leaks.train)
    assert without.training != with_leaks.training


def test_leaks_never_reach_the_pairs_a_judge_learns_from():
    kept = load_cases(TOY, CaseOptions(split=EvaluationSplit.FULL, keep_leaks=True), QUIET)
    assert set(kept.unleaked) < set(kept.train)
    without = load_cases(TOY, CaseOptions(split=EvaluationSplit.FULL), QUIET)
    assert without.unleaked == without.train == kept.unleaked


@pytest.mark.parametrize("split", EvaluationSplit)
def test_validation_has_the_same_splits_of_its_own(split: EvaluationSplit):
    options = CaseOptions(split=split, part=EvaluationPart.VALIDATION)
    found = load_cases(TOY, options, QUIET)
    texts = {turn.text for dialog in load_corpus(TOY).validation for turn in dialog.turns}
    assert found.cases
    assert {case.responses[0] for case in found.cases} <= texts
    assert found.split == f"validation/{split}"
    assert found.train == load_cases(TOY, CaseOptions(split=split), QUIET).train


def test_what_is_not_usual_is_in_the_name_of_the_split():
    source = CorpusSource(corpus="switchboard", data_dir=TOY.data_dir)
    segments, turns = (
        load_cases(source, CaseOptions(split=EvaluationSplit.FULL, pair_mode=mode), QUIET)
        for mode in (PairMode.SEGMENTS, None)
    )
    assert segments.split == "test/full, pairs of segments"
    assert turns.split == "test/full, pairs of turns"
    assert segments.train != turns.train
    several = CaseOptions(split=EvaluationSplit.FULL, context_turns=3)
    assert load_cases(TOY, several, QUIET).split == "test/full, 3 turns of context"


def test_published_rows_are_counted():
    found = load_cases(TOY, CaseOptions(split=EvaluationSplit.PUBLISHED), QUIET)
    assert len(found.cases) == 58
    assert "58 rows select 58 pairs; 0 select none" in found.notes[0]


def test_the_published_list_is_of_dailydialog():
    source = CorpusSource(corpus="switchboard", data_dir=TOY.data_dir)
    with pytest.raises(ConfigError, match="allowed for switchboard: deduplicated, strict, full"):
        load_cases(source, CaseOptions(split=EvaluationSplit.PUBLISHED), QUIET)
