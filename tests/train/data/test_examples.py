"""Pairs, what counts as a duplicate, what leaks, and that every pair is accounted for."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dialog_service.errors import CorpusError
from train.data.corpora import Corpus, CorpusSource, Dialog, Turn, load_corpus
from train.data.dialogs import alternate_speakers
from train.data.duplicates import DedupRule, drop_seen, leaked_dialogs, text_key
from train.data.examples import (
    ExampleOptions,
    Pair,
    PairMode,
    load_examples,
    make_examples,
)
from train.data.pairs import make_pairs
from train.data.published import PublishedSplit, select_published


def dialog(*texts: str) -> Dialog:
    return Dialog("d", alternate_speakers(list(texts)))


def pair(post: str, reply: str) -> Pair:
    return Pair((post,), reply, 0)


def corpus(name: str = "dailydialog") -> Corpus:
    return Corpus(
        name=name,
        train=(dialog("Hi!", "Hello.", "Bye."), dialog("How much?", "5 dollars.", "Fine.")),
        validation=(dialog("What now?", "Lunch."),),
        test=(
            dialog("how much", "60 dollars", "fine"),
            dialog("Hi", "Who's there?", "It's me."),
            dialog("Guess!", "Hello"),
        ),
    )


# --- pairs ---


def test_every_turn_answers_the_one_before_it() -> None:
    pairs = make_pairs([dialog("a", "b", "c"), dialog("d", "e"), dialog("f")], PairMode.ADJACENT)
    assert pairs == (Pair(("a",), "b", 0), Pair(("b",), "c", 0), Pair(("d",), "e", 1))


def test_contexts_hold_as_many_turns_as_there_are() -> None:
    pairs = make_pairs([dialog("a", "b", "c", "d")], PairMode.ADJACENT, context_turns=2)
    assert [p.context for p in pairs] == [("a",), ("a", "b"), ("b", "c")]


SEGMENTED = Dialog(
    "s", (Turn("A", "a"), Turn("A", "b"), Turn("B", "c"), Turn("A", "d"), Turn("A", "e"))
)


def test_segments_pair_one_speaker_too_and_leave_the_last_out() -> None:
    pairs = make_pairs([SEGMENTED], PairMode.SEGMENTS)
    assert [(*p.context, p.response) for p in pairs] == [("a", "b"), ("b", "c"), ("c", "d")]


def test_turns_join_what_one_speaker_says() -> None:
    pairs = make_pairs([SEGMENTED], PairMode.TURNS)
    assert [(*p.context, p.response) for p in pairs] == [("a b", "c"), ("c", "d e")]


# --- duplicates and leaks ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Don't you?", "don \u2019 t  you ."),
        ("It's 10 dollars", "its 25 dollars"),
        ("3.50", "1:15"),
        ("Caf\u00c9", "caf\u00e9"),
        ("a_b", "ab"),
    ],
)
def test_keys_ignore_spelling(one: str, other: str) -> None:
    assert text_key(one) == text_key(other)


@pytest.mark.parametrize(("one", "other"), [("10:15", "1015"), ("to day", "two day"), ("a", "a1")])
def test_keys_keep_letters_and_runs_of_digits_apart(one: str, other: str) -> None:
    assert text_key(one) != text_key(other)


TRAIN = (pair("Hi!", "Hello."), pair("Bye.", "See you."))
EVALUATED = (
    pair("hi", "hello"),  # the pair
    pair("hi", "Who is it?"),  # the post
    pair("Guess!", "hello"),  # the reply
    pair("hi", "see you"),  # both, of different pairs
    pair("Hello.", "Hi!"),  # the wrong way round
)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (DedupRule.SIDES, EVALUATED[4:]),
        (DedupRule.PAIRS, EVALUATED[1:]),
        (DedupRule.OFF, EVALUATED),
    ],
)
def test_what_each_rule_keeps(rule: DedupRule, kept: tuple[Pair, ...]) -> None:
    assert drop_seen(EVALUATED, TRAIN, rule) == kept


def test_only_dialogues_repeated_from_end_to_end_leak() -> None:
    train = [dialog("A b", "c"), dialog("a", "b", "x"), dialog("y", "a", "b"), dialog("ab", "C.")]
    assert leaked_dialogs(train, [dialog("a b!", "c"), dialog("a", "b")]) == {0, 3}


# --- the whole way ---


def test_evaluation_loses_what_training_has_and_training_what_leaks() -> None:
    examples = make_examples(corpus(), ExampleOptions())
    assert examples.train == (pair("Hi!", "Hello."), pair("Hello.", "Bye."))
    assert examples.validation == (pair("What now?", "Lunch."),)
    assert examples.test == (Pair(("Who's there?",), "It's me.", 1),)
    report = examples.report
    assert (report.train.pairs, report.train.kept, report.train.leaked_dialogs) == (4, 2, 1)
    assert (report.test.pairs, report.test.kept, report.test.dropped) == (5, 1, 4)
    assert (report.pair_mode, report.dedup) == (PairMode.ADJACENT, DedupRule.SIDES)


def test_keeping_leaks_changes_training_alone() -> None:
    without = make_examples(corpus(), ExampleOptions())
    with_leaks = make_examples(corpus(), ExampleOptions(keep_leaks=True))
    assert len(with_leaks.train) == 4
    assert with_leaks.test == without.test
    assert with_leaks.fingerprint != without.fingerprint


def test_a_training_pair_may_be_seen_once() -> None:
    repeated = corpus()
    twice = (*repeated.train, dialog("hi", "hello", "bye bye"), dialog("So?", "hello", "bye"))
    repeated = Corpus(
        name=repeated.name, train=twice, validation=repeated.validation, test=repeated.test
    )
    often, once = (
        make_examples(repeated, ExampleOptions(keep_repeats=keep)) for keep in (True, False)
    )
    assert [(p.context, p.response) for p in once.train] == [
        (("Hi!",), "Hello."),
        (("Hello.",), "Bye."),
        (("hello",), "bye bye"),
        (("So?",), "hello"),
    ]
    assert once.test == often.test
    assert once.report.train.repeats == len(often.train) - len(once.train) == 2
    assert often.report.train.repeats == 0


def test_longer_contexts_keep_the_same_rows() -> None:
    one, many = (make_examples(corpus(), ExampleOptions(context_turns=n)) for n in (1, 5))
    assert [p.response for p in many.test] == [p.response for p in one.test]
    assert many.test[0].context == ("Hi", "Who's there?")


def test_switchboard_joins_turns_and_compares_pairs_unless_told_otherwise() -> None:
    report = make_examples(corpus("switchboard"), ExampleOptions()).report
    assert (report.pair_mode, report.dedup) == (PairMode.TURNS, DedupRule.PAIRS)
    assert report.test.kept == 3
    told = ExampleOptions(pair_mode=PairMode.SEGMENTS, dedup=DedupRule.OFF)
    report = make_examples(corpus("switchboard"), told).report
    assert (report.pair_mode, report.dedup, report.test.dropped) == (
        PairMode.SEGMENTS,
        DedupRule.OFF,
        0,
    )


def test_options_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="context_turns"):
        ExampleOptions(context_turns=0)
    with pytest.raises(ValidationError, match="keep_leak"):
        ExampleOptions.model_validate({"keep_leak": True})


def test_the_toy_corpus_has_duplicates_and_leaks(toy: Path) -> None:
    examples = load_examples(CorpusSource(corpus="dailydialog", data_dir=toy))
    report = examples.report
    assert report.train.leaked_dialogs == 8
    for split, kept in ((report.validation, examples.validation), (report.test, examples.test)):
        assert 0 < split.kept == len(kept) < split.pairs


def test_a_corpus_without_training_pairs_cannot_be_trained_on(toy: Path) -> None:
    with pytest.raises(CorpusError, match="no pair to train on"):
        load_examples(CorpusSource(corpus="published", data_dir=toy))


# --- the published split ---


def test_published_rows_select_by_letters() -> None:
    ours = (
        pair("It's $10.", "Don't pay!"),
        pair("OK. Bye.", "Thanks!"),
        pair("ok. Bye.", "Thanks."),
        pair("Mine alone.", "Yes."),
        pair("Again.", "Sure."),
        pair("Again.", "Sure."),
    )
    rows = [
        dialog("its  NUM ", "dont pay"),
        dialog("ok . bye .", "thanks"),
        dialog("in  NUM m ago", "no"),
        dialog("again .", "sure ."),
        dialog("again .", "sure ."),
    ]
    split = select_published(ours, rows)
    assert split.pairs == (*ours[:2], *ours[4:])
    assert (split.rows, split.unmatched, split.ambiguous) == (5, 1, 1)


def published_split(data_dir: Path) -> PublishedSplit:
    ours, listed = (
        load_corpus(CorpusSource(corpus=name, data_dir=data_dir))
        for name in ("dailydialog", "published")
    )
    return select_published(make_pairs(ours.test, PairMode.ADJACENT), listed.test)


def test_the_toy_published_rows_are_ours(toy: Path) -> None:
    split = published_split(toy)
    assert len(split.pairs) == split.rows - split.unmatched
    assert split.pairs
    assert split.unmatched < split.rows / 10


# --- the real corpora: figures of the specification ---


@pytest.mark.corpora
def test_dailydialog_figures(real_corpora: Path) -> None:
    source = CorpusSource(corpus="dailydialog", data_dir=real_corpora)
    report = load_examples(source).report
    assert [split.pairs for split in report.splits.values()] == [76_052, 7_069, 6_740]
    assert (report.validation.kept, report.test.kept) == (4_279, 3_924)
    assert report.train.leaked_dialogs == 310  # 269 different ones
    published = published_split(real_corpora)
    assert (len(published.pairs), published.unmatched, published.ambiguous) == (4_046, 49, 1)


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("mode", "pairs"),
    [(PairMode.SEGMENTS, [190_160, 3_230, 4_040]), (PairMode.TURNS, [95_329, 1_466, 2_119])],
)
def test_switchboard_figures(real_corpora: Path, mode: PairMode, pairs: list[int]) -> None:
    source = CorpusSource(corpus="switchboard", data_dir=real_corpora)
    report = load_examples(source, ExampleOptions(pair_mode=mode)).report
    assert [split.pairs for split in report.splits.values()] == pairs
