"""Two evaluations side by side: the same contexts or a refusal, and what is said of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dialog_service.diversity import metric_tokens
from dialog_service.errors import ConfigError, UserError
from train.evaluate.compare import compare_reports, compared
from train.evaluate.comparison import Comparison
from train.evaluate.measures import (
    MEASURES,
    MeasuredBy,
    MeasuresFile,
    MeasuresLine,
    digest_of,
)
from train.evaluate.tellers import Told
from train.metrics.counting import ContextCounter
from train.metrics.judgement import Judgement
from train.metrics.language_model import NgramModel
from train.metrics.null_rows import Role
from train.metrics.report import Report, Row, Setting, Signature
from train.metrics.scoring import CORPUS_METRICS, FLUENCY_METRICS, JUDGED_METRICS, Case, RowScorer
from train.metrics.significance import Randomisation
from train.metrics.unigrams import Unigrams

QUICK = Randomisation(exchanges=600)
CASES = tuple(
    Case(
        dialogue=f"dialogue {number // 2}",
        context=(f"what is number {number} ?",),
        responses=(f"number {number} is a good one , i think .",),
    )
    for number in range(32)
)
GOOD = tuple((case.responses[0], f"{number} it is") for number, case in enumerate(CASES))
POOR = (("no .", "no idea ."),) * len(CASES)
SETTING = Setting(corpus="toy@0", split="test/full", deduplication="off", training="none", seed=0)

TEXTS = ["it is a good one , i think .", "no ."]
CORPUS = Unigrams(TEXTS)
MODEL = NgramModel(TEXTS)
ALL = MeasuredBy(judge="a classifier", corpus=CORPUS.fingerprint, language_model=MODEL.fingerprint)
JUDGED = {metric.key for metric in JUDGED_METRICS}
LOOKED_UP = {metric.key for metric in CORPUS_METRICS}
READ = {metric.key for metric in FLUENCY_METRICS}

Replies = tuple[tuple[str, ...], ...]


def judgement_of(replies: tuple[str, ...]) -> Judgement:
    """Of one who likes long replies."""
    return Judgement(probabilities=tuple(len(each) / 50 for each in replies), rank=len(replies[0]))


def told_of(replies: tuple[str, ...], by: MeasuredBy) -> Told:
    return Told(
        judgement=judgement_of(replies) if by.judge else None,
        fluency=MODEL.fluency([replies])[0] if by.language_model else None,
    )


def row(name: str, role: Role, cases: tuple[Case, ...], replies: Replies, by: MeasuredBy) -> Row:
    is_human = role is Role.HUMAN
    scorer = RowScorer(is_response=is_human, corpus=CORPUS if by.corpus else None)
    for case, said in zip(cases, replies, strict=True):
        counts = ContextCounter(is_response=is_human).of(case, said)
        scorer.take(told_of(said, by).beside(counts))
    return Row(
        name=name,
        role=role,
        figures=scorer.figures(0),
        contexts_short_of_replies=0,
        signature=Signature(
            **SETTING.model_dump(),
            replies_per_context=len(replies[0]),
            decoding="by hand",
            contexts=len(cases),
            dialogues=scorer.dialogues,
        ),
    )


def measure(folder: Path, replies: Replies, cases: tuple[Case, ...], by: MeasuredBy) -> None:
    file = MeasuresFile(folder / MEASURES, by)
    file.append(
        MeasuresLine(
            replies=digest_of(case.context, said),
            judgement=told_of(said, by).judgement,
            fluency=told_of(said, by).fluency,
            familiarity=CORPUS.familiarity(metric_tokens(said[0])) if by.corpus else None,
        )
        for case, said in zip(cases, replies, strict=True)
    )
    file.finish()


def evaluation(
    folder: Path,
    replies: Replies,
    cases: tuple[Case, ...] = CASES,
    *,
    has_dialogues: bool = True,
    by: MeasuredBy = ALL,
) -> Path:
    """A folder as the job leaves it."""
    folder.mkdir()
    human = row("human", Role.HUMAN, cases, tuple(case.responses for case in cases), by)
    rows = (row(folder.name, Role.SYSTEM, cases, replies, by), human)
    measure(folder, replies, cases, by)
    Report(subject=f"{folder.name}: toy", notes=(), rows=rows).write(folder)
    with (folder / "replies.jsonl").open("w") as file:
        for case, said in zip(cases, replies, strict=True):
            line = {"context": case.context, "responses": case.responses, "replies": said}
            more = {"dialogue": case.dialogue} if has_dialogues else {}
            file.write(json.dumps(line | more) + "\n")
    return folder


def found(first: Path, second: Path) -> Comparison:
    return compared(first, second, QUICK)


def test_the_better_one_is_named_in_every_form(tmp_path: Path):
    first, second = evaluation(tmp_path / "poor", POOR), evaluation(tmp_path / "good", GOOD)
    comparison, printed = found(first, second), StringIO()
    bleu = comparison.differences["bleu_2"]
    assert (bleu.first, bleu.second) == (0.0, pytest.approx(100.0))
    assert bleu.p_holm < 0.05
    assert comparison.not_compared == ()
    assert comparison.differences.keys() == comparison.first.figures.keys()
    relevance = comparison.differences["relevance"]
    reported = comparison.second.figures["relevance"].value
    assert relevance.second == pytest.approx(reported, abs=1e-12)
    assert relevance.p_holm < 0.05
    by = (comparison.judge, comparison.corpus, comparison.language_model)
    assert by == (ALL.judge, ALL.corpus, ALL.language_model)
    fluency = comparison.differences["lm_nats_all"]
    assert fluency.second == pytest.approx(comparison.second.figures["lm_nats_all"].value)
    assert (comparison.contexts, comparison.dialogues) == (32, 16)
    assert comparison.notes == ()
    comparison.write(tmp_path)
    table = (tmp_path / "compare.md").read_text()
    [line] = [line for line in table.splitlines() if line.startswith("| BLEU-2 | 0.00")]
    assert line.endswith("| B |")
    assert "| AvgLen | 10.0 |" in table  # the human row, without a model
    assert f"relevance: classifier a classifier; UniKL: word frequencies {ALL.corpus}" in table
    comparison.show(Console(file=printed, width=80))
    lines = printed.getvalue().splitlines()
    [line] = [line for line in lines if "BLEU-2" in line and "+" in line]
    assert line.rstrip().endswith("B")
    last = next(number for number, line in enumerate(lines) if "intra-Dist-2" in line)
    assert max(map(len, lines[2 : last + 1])) <= 80
    assert not any("…" in line for line in lines)


def test_what_is_written_is_what_was_found(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    first, second = evaluation(tmp_path / "a", *few), evaluation(tmp_path / "b", *few)
    output = tmp_path / "new" / "out"
    compare_reports(first, second, output, Console(file=StringIO()), seed=3)
    written = Comparison.model_validate_json((output / "compare.json").read_text())
    assert written == compared(first, second, Randomisation(seed=3))
    assert (output / "compare.md").read_text() == written.markdown()


def test_the_same_replies_do_not_differ_and_the_file_of_a_report_will_do(tmp_path: Path):
    first, second = evaluation(tmp_path / "a", GOOD), evaluation(tmp_path / "b", GOOD)
    comparison = found(first, second / "report.json")
    assert {each.p for each in comparison.differences.values()} == {1.0}
    assert "| B |" not in comparison.markdown().replace("| A | B |", "")


def test_nothing_is_written_unless_asked_for(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    first, second = evaluation(tmp_path / "a", *few), evaluation(tmp_path / "b", *few)
    before = sorted(tmp_path.rglob("*"))
    compare_reports(first, second, None, Console(file=StringIO()))
    assert sorted(tmp_path.rglob("*")) == before


def test_the_smaller_number_of_replies_counts(tmp_path: Path):
    first = evaluation(tmp_path / "a", tuple((*pair, "a third") for pair in GOOD))
    comparison = found(first, evaluation(tmp_path / "b", GOOD))
    assert comparison.replies_per_context == 2
    assert comparison.notes == ("A has 3 replies per context, B 2: the first 2 of each count",)
    assert comparison.differences["inter_dist_1"].difference.value == 0.0
    assert comparison.differences["relevance_all"].difference.value == 0.0
    assert comparison.first.figures["relevance_all"] != comparison.second.figures["relevance_all"]


def test_dialogues_are_those_of_the_side_that_knows_them(tmp_path: Path):
    first = evaluation(tmp_path / "a", GOOD)
    second = evaluation(tmp_path / "b", POOR, has_dialogues=False)
    assert found(first, second).dialogues == 16
    assert found(second, first).dialogues == 16


def old(folder: Path) -> None:
    (folder / MEASURES).unlink()


def of_others(folder: Path) -> None:
    measure(folder, GOOD[4:8], CASES[:4], ALL)


def torn(folder: Path) -> None:
    (folder / MEASURES).write_bytes((folder / MEASURES).read_bytes()[:-9])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (old, "no measures.jsonl, being of an earlier version"),
        (of_others, "its measures.jsonl is not of the replies in its replies.jsonl"),
        (torn, "its measures.jsonl cannot be read, or is not whole"),
    ],
)
def test_without_measures_the_rest_is_compared(
    tmp_path: Path, spoil: Callable[[Path], None], why: str
):
    first, second = evaluation(tmp_path / "a", GOOD[:4], CASES[:4]), tmp_path / "b"
    evaluation(second, POOR[1:5], CASES[:4])
    whole = found(first, second)
    spoil(second)
    less = found(first, second)
    [left_out] = less.not_compared
    told = JUDGED | LOOKED_UP | READ
    assert set(left_out.figures) == told == whole.differences.keys() - less.differences
    assert left_out.why.startswith(f"B: {why}; to have them, score those replies again: python -m")
    for key, each in less.differences.items():
        assert replace(each, p_holm=1) == replace(whole.differences[key], p_holm=1)
    [note] = [line for line in less.markdown().splitlines() if line.startswith("- not compared: ")]
    names = "relevance, relevance of all, rank of 100, MRR, LM nats, LM nats of all, UniKL"
    assert f": {names}, words in corpus: B: {why}" in note
    spoil(first)
    assert found(first, second).not_compared[0].why.startswith(f"A and B: {why}; ")


def test_two_classifiers_are_not_mixed(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    first = evaluation(tmp_path / "a", *few)
    second = evaluation(tmp_path / "b", *few, by=ALL.model_copy(update={"judge": "another"}))
    comparison = found(first, second)
    [left_out] = comparison.not_compared
    assert set(left_out.figures) == JUDGED
    assert "different classifiers (a classifier and another)" in left_out.why
    assert "score the replies of both again, on one machine" in left_out.why
    assert not JUDGED & comparison.differences.keys()
    assert comparison.differences.keys() >= LOOKED_UP
    assert (comparison.judge, comparison.corpus) == (None, ALL.corpus)


def test_words_of_two_corpora_are_not_mixed(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    first = evaluation(tmp_path / "a", *few)
    second = evaluation(tmp_path / "b", *few, by=ALL.model_copy(update={"corpus": "another"}))
    [left_out] = found(first, second).not_compared
    assert set(left_out.figures) == LOOKED_UP
    assert "different word frequencies" in left_out.why


def test_two_language_models_are_not_mixed(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    first = evaluation(tmp_path / "a", *few)
    other = ALL.model_copy(update={"language_model": "another"})
    comparison = found(first, evaluation(tmp_path / "b", *few, by=other))
    [left_out] = comparison.not_compared
    assert set(left_out.figures) == READ
    assert "different language models" in left_out.why
    assert comparison.language_model is None


def test_an_evaluation_made_before_there_were_language_models_is_compared(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    earlier = ALL.model_copy(update={"language_model": None})
    first = evaluation(tmp_path / "a", *few, by=earlier)
    assert found(first, first).not_compared == ()
    [left_out] = found(first, evaluation(tmp_path / "b", *few)).not_compared
    assert set(left_out.figures) == READ
    assert left_out.why.startswith("A: evaluated without a corpus, or by an earlier version; ")


def test_what_one_was_evaluated_without_is_told(tmp_path: Path):
    few = GOOD[:4], CASES[:4]
    first = evaluation(tmp_path / "a", *few)
    second = evaluation(tmp_path / "b", *few, by=MeasuredBy())
    judged, read, looked_up = found(first, second).not_compared
    assert judged.why.startswith("B: evaluated without relevance; ")
    assert read.why.startswith("B: evaluated without a corpus, or by an earlier version; ")
    assert looked_up.why.startswith("B: evaluated without a corpus; ")
    assert found(second, second).not_compared == ()  # neither has them


def test_a_figure_of_one_side_alone_is_told(tmp_path: Path):
    several = evaluation(tmp_path / "a", GOOD[:4], CASES[:4])
    single = evaluation(tmp_path / "b", tuple(pool[:1] for pool in GOOD[:4]), CASES[:4])
    [left_out] = found(several, single).not_compared
    assert left_out.why == "one of the two has none"
    assert "inter_dist_1" in left_out.figures


def test_of_more_replies_than_the_other_has_the_first_count(tmp_path: Path):
    several = evaluation(tmp_path / "a", GOOD[:4], CASES[:4])
    single = evaluation(tmp_path / "b", tuple(pool[:1] for pool in GOOD[:4]), CASES[:4])
    differences = found(several, single).differences
    for of_first, of_all in (("relevance", "relevance_all"), ("lm_nats", "lm_nats_all")):
        assert differences[of_all].first == differences[of_first].first
        assert differences[of_all].difference.value == 0


def test_replies_that_are_not_those_of_the_report_are_told(tmp_path: Path):
    first, second = evaluation(tmp_path / "a", GOOD), evaluation(tmp_path / "b", POOR)
    (second / "replies.jsonl").write_text((first / "replies.jsonl").read_text())
    [note] = found(first, second).notes
    assert note.startswith("B: counted again")
    assert "bleu_2" in note


def seeing_more(case: Case, *turns: str) -> Case:
    return replace(case, context=(*turns, *case.context))


LONGER = tuple(
    seeing_more(case, "hello .", "hi .") if place % 2 else case for place, case in enumerate(CASES)
)


def test_one_may_see_more_turns_than_the_other(tmp_path: Path):
    first = evaluation(tmp_path / "three", POOR, LONGER)
    second = evaluation(tmp_path / "one", GOOD)
    same = found(evaluation(tmp_path / "poor", POOR), second)
    comparison = found(first, second)
    assert comparison.notes == (
        "A sees up to 3 turns of a context, B up to 1; numbers differ in 16 contexts, which are "
        "paired by the turns that both see and the responses",
    )
    assert comparison.differences == same.differences  # relevance, too
    assert found(second, first).notes[0].startswith("A sees up to 1 turns of a context, B up to 3")
    measure(first, POOR, CASES, ALL)  # of the last turns alone: not of this side's contexts
    assert "A: its measures.jsonl is not of" in found(first, second).not_compared[0].why


def test_turns_that_both_see_must_be_the_same(tmp_path: Path):
    sides = (
        evaluation(tmp_path / said, GOOD[:1], (seeing_more(CASES[0], said),))
        for said in ("hello .", "bye .")
    )
    with pytest.raises(ConfigError, match="different contexts, from context 1 on"):
        found(*sides)


def test_rows_on_a_subset_are_not_shown_beside_those_on_everything(tmp_path: Path):
    first = evaluation(tmp_path / "a", GOOD[:4], CASES[:4])
    report = Report.read(first)
    human = report.rows[1]
    part = human.signature.model_copy(update={"split": "test/full, responses of 2 words or fewer"})
    short = human.model_copy(update={"name": "human, back-channels", "signature": part})
    report.model_copy(update={"rows": (*report.rows, short)}).write(first)
    comparison = found(first, first)
    assert [each.name for each in comparison.null_rows] == ["human"]
    assert "back-channels" not in comparison.markdown()


def test_exchanges_are_told_as_they_were_tried(tmp_path: Path):
    few = evaluation(tmp_path / "few", GOOD[:6], CASES[:6])
    many = evaluation(tmp_path / "many", GOOD)
    exact, drawn = found(few, few), found(many, many)
    assert (exact.dialogues, exact.exchanges, exact.is_exact) == (3, 8, True)
    assert "; all 8 exchanges there are, so p is exact, seed 0" in exact.markdown()
    assert (drawn.dialogues, drawn.exchanges, drawn.is_exact) == (16, 600, False)
    assert "; 600 random exchanges, seed 0" in drawn.markdown()


OTHER = (*CASES[:5], Case(dialogue="x", context=("else ?",), responses=("yes .",)), *CASES[6:])


@pytest.mark.parametrize(
    ("cases", "number"), [(OTHER, 6), (CASES[:-1], 32), (CASES[1:], 1), (CASES[::-1], 1)]
)
def test_other_contexts_are_refused(tmp_path: Path, cases: tuple[Case, ...], number: int):
    first = evaluation(tmp_path / "a", GOOD)
    second = evaluation(tmp_path / "b", GOOD[: len(cases)], cases)
    with pytest.raises(ConfigError, match=f"different contexts, from context {number} on"):
        found(first, second)


def test_what_is_missing_is_told_in_one_line(tmp_path: Path):
    whole = evaluation(tmp_path / "whole", GOOD)
    bare = evaluation(tmp_path / "bare", GOOD)
    (bare / "replies.jsonl").unlink()
    empty = evaluation(tmp_path / "empty", GOOD)
    Report(subject="x", notes=(), rows=()).write(empty)
    for second, problem in (
        (tmp_path / "absent", "absent: no report"),
        (bare, "no replies.jsonl beside the report"),
        (empty, "no row to compare"),
    ):
        with pytest.raises(UserError, match=problem) as refused:
            found(whole, second)
        assert "\n" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(tmp_path: Path):
    few = evaluation(tmp_path / "a", GOOD[:4], CASES[:4])
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--output .*file: File exists"):
        compare_reports(few, few, tmp_path / "file", Console(file=StringIO()))
