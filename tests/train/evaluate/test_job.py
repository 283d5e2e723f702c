"""A job stopped anywhere ends as if it had not been."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dialog_service.diversity import metric_tokens
from dialog_service.errors import ConfigError
from train.evaluate.job import Job, run_job
from train.evaluate.journal import REPLIES, Journal, partial_of
from train.evaluate.measures import MEASURES, MeasuredBy, MeasuresFile, read_measures
from train.evaluate.replies_file import RepliesFile
from train.evaluate.subsets import BACK_CHANNELS, CONTENT, subsets_of
from train.metrics.judgement import Judgement
from train.metrics.language_model import NgramModel
from train.metrics.null_rows import Echo, Human, RandomReplies, Role
from train.metrics.report import Row, Setting
from train.metrics.scoring import Case
from train.metrics.unigrams import Unigrams

TEXTS = ("yes .", "no , not at all .", "oh", "we will see about that .", "why ?", "it is late .")
CASES = [
    Case(dialogue=str(number // 3), context=(f"post {number}",), responses=(TEXTS[number % 5],))
    for number in range(23)
]
SETTING = Setting(corpus="c", split="test/full", deduplication="d", training="t", seed=3)
QUIET = Console(quiet=True)


class Stop(BaseException):
    pass


class Numbered:
    """Replies that tell their place; counts how many it gave, and stops before one of them."""

    role = Role.SYSTEM
    decoding = "numbered"
    count = 2

    def __init__(self, name: str, stop_at: int | None = None) -> None:
        self.name = name
        self.given = 0
        self._place = 0
        self._stop_at = stop_at

    def skip(self, cases: int) -> None:
        self._place += cases

    def answer(self, cases: Sequence[Case]) -> list[tuple[str, ...]]:
        return [self._answer() for _ in cases]

    def _answer(self) -> tuple[str, ...]:
        if self._place == self._stop_at:
            raise Stop
        self._place += 1
        self.given += 1
        return (f"{self.name} {self._place}", TEXTS[self._place % 6])


class ByLength:
    """A judge who likes long replies."""

    fingerprint = "by length"

    def judge(
        self, contexts: Sequence[tuple[str, ...]], replies: Sequence[Sequence[str]]
    ) -> list[Judgement]:
        assert len(contexts) == len(replies)
        return [
            Judgement(probabilities=tuple(len(text) / 50 for text in pool), rank=1 + len(pool[0]))
            for pool in replies
        ]


def job(first: Numbered, second: Numbered, size: int = 4, **changes: object) -> Job:
    null_rows = (Human(count=2), Echo(), RandomReplies(TEXTS, count=2, seed=3))
    made = Job(
        cases=CASES,
        case_count=len(CASES),
        systems=(first, second, *null_rows),
        setting=SETTING,
        batch_size=size,
        origin="model",
        corpus=Unigrams(TEXTS),
        judge=ByLength(),
        language_model=NgramModel(TEXTS),
    )
    return replace(made, **changes)


def run(work: Job, directory: Path) -> list[Row]:
    journal = Journal(directory / REPLIES, work.fingerprint)
    measures = MeasuresFile(directory / MEASURES, work.measured_by)
    rows = run_job(work, journal, measures, QUIET)
    measures.finish()
    journal.finish()
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Row], list[bytes]]:
    directory = tmp_path_factory.mktemp("whole")
    rows = run(job(Numbered("a"), Numbered("b")), directory)
    return rows, written(directory)


def written(directory: Path) -> list[bytes]:
    """The files that a job leaves, and no others."""
    assert sorted(path.name for path in directory.iterdir()) == [MEASURES, REPLIES]
    return [(directory / name).read_bytes() for name in (REPLIES, MEASURES)]


def stopped(directory: Path, stop_at: int, size: int = 4) -> int:
    """How many replies of a job that is stopped are kept."""
    with pytest.raises(Stop):
        run(job(Numbered("a"), Numbered("b", stop_at), size), directory)
    return len(partial_of(directory / REPLIES).read_bytes().splitlines())


@pytest.mark.parametrize(("stop_at", "size"), [(0, 4), (5, 4), (8, 4), (22, 4), (17, 7)])
def test_a_stopped_job_ends_as_if_it_had_not_been(
    tmp_path: Path, whole: tuple[list[Row], list[bytes]], stop_at: int, size: int
):
    kept = stopped(tmp_path, stop_at, size)
    assert kept == stop_at // size * size
    first, second = Numbered("a"), Numbered("b")
    rows = run(job(first, second), tmp_path)
    assert rows == whole[0]
    assert written(tmp_path) == whole[1]
    assert first.given == second.given == len(CASES) - kept


def test_a_job_may_be_stopped_again_and_again(tmp_path: Path, whole: tuple[list[Row], list[bytes]]):
    kept = [stopped(tmp_path, place) for place in (5, 13, 21)]
    assert kept == [4, 12, 20]
    assert run(job(Numbered("a"), Numbered("b")), tmp_path) == whole[0]
    assert written(tmp_path) == whole[1]


def test_replies_kept_by_a_job_without_a_judge_are_measured_by_the_next(
    tmp_path: Path, whole: tuple[list[Row], list[bytes]]
):
    with pytest.raises(Stop):
        run(job(Numbered("a"), Numbered("b", 9), judge=None, corpus=None), tmp_path)
    assert run(job(Numbered("a"), Numbered("b")), tmp_path) == whole[0]
    assert written(tmp_path) == whole[1]


def test_a_stopped_job_leaves_what_a_finished_one_measured(tmp_path: Path):
    """Its replies are there, too; the next to finish replaces both."""
    run(job(Numbered("a"), Numbered("b")), tmp_path)
    before = written(tmp_path)
    with pytest.raises(Stop):
        run(job(Numbered("c"), Numbered("b", 9), judge=None), tmp_path)
    assert [(tmp_path / name).read_bytes() for name in (REPLIES, MEASURES)] == before
    run(job(Numbered("c"), Numbered("b"), judge=None), tmp_path)
    assert b"by length" not in written(tmp_path)[1]


def test_what_is_measured_is_kept_of_the_first_system(
    tmp_path: Path, whole: tuple[list[Row], list[bytes]]
):
    for name, content in zip((REPLIES, MEASURES), whole[1], strict=True):
        (tmp_path / name).write_bytes(content)
    answered = list(RepliesFile.scan(tmp_path / REPLIES, pytest.fail).cases())
    found = read_measures(tmp_path / MEASURES, answered)
    assert found.problem == ""
    model = NgramModel(TEXTS)
    assert found.by == MeasuredBy(
        judge="by length",
        corpus=Unigrams(TEXTS).fingerprint,
        language_model=model.fingerprint,
    )
    for case, line in zip(answered, found.lines, strict=True):
        assert line.judgement is not None
        assert line.judgement.probabilities == tuple(len(text) / 50 for text in case.replies)
        assert line.familiarity == Unigrams(TEXTS).familiarity(metric_tokens(case.replies[0]))
        assert [line.fluency] == model.fluency([case.replies])


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "other model"},
        {"setting": SETTING.model_copy(update={"seed": 4})},
        {"systems": (Numbered("a"), Numbered("c"))},
        {"systems": (Numbered("a"),)},
    ],
)
def test_whatever_changes_replies_is_another_job(tmp_path: Path, changes: dict[str, object]):
    stopped(tmp_path, 9)
    changed = job(Numbered("a"), Numbered("b"), **changes)
    assert Journal(tmp_path / REPLIES, changed.fingerprint).kept == 0


def test_null_rows_and_batches_make_no_other_job():
    made = job(Numbered("a"), Numbered("b"))
    assert made.fingerprint == replace(made, systems=made.systems[:3], batch_size=9).fingerprint
    assert replace(made, systems=made.systems[2:]).fingerprint is None


def test_kept_replies_to_other_contexts_are_refused(tmp_path: Path):
    stopped(tmp_path, 9)
    cases = [replace(case, context=("another",)) for case in CASES]
    with pytest.raises(ConfigError, match="to other contexts: 'post 0' for 'another'"):
        run(job(Numbered("a"), Numbered("b"), cases=cases), tmp_path)


def test_cases_are_read_batch_by_batch(tmp_path: Path):
    read = []

    def cases() -> Iterator[Case]:
        for case in CASES:
            read.append(case)
            yield case

    with pytest.raises(Stop):
        run(job(Numbered("a"), Numbered("b", 9), cases=cases()), tmp_path)
    assert len(read) == 12


def test_subsets_have_rows_of_their_own_that_add_up(tmp_path: Path):
    work = job(Numbered("a"), Numbered("b"), subsets=subsets_of("switchboard"))
    rows = {row.name: row for row in run(work, tmp_path)}
    everything, content = rows["a"], rows["a, content replies"]
    short = rows["a, back-channels"]
    assert list(rows)[5:10] == [f"{name}, content replies" for name in list(rows)[:5]]
    assert content.signature.contexts + short.signature.contexts == everything.signature.contexts
    assert short.signature.split == "test/full, responses of 2 words or fewer"
    alone = [case for case in CASES if CONTENT.holds(case)]
    human = run(job(Numbered("a"), Numbered("b"), cases=alone), tmp_path)[2]
    assert rows["human, content replies"].figures == human.figures
    assert all(BACK_CHANNELS.holds(case) for case in CASES if case not in alone)


def test_rows_judged_by_different_judges_have_different_signatures(tmp_path: Path):
    judged = run(job(Numbered("a"), Numbered("b")), tmp_path)
    unjudged = run(job(Numbered("a"), Numbered("b"), judge=None), tmp_path)
    assert {row.signature.judge for row in judged} == {"by length"}
    assert {row.signature.judge for row in unjudged} == {None}
    assert not any("relevance" in row.figures for row in unjudged)


def test_a_subset_without_cases_has_no_row(tmp_path: Path):
    cases = [case for case in CASES if CONTENT.holds(case)]
    work = job(Numbered("a"), Numbered("b"), cases=cases, subsets=subsets_of("switchboard"))
    assert len(run(work, tmp_path)) == 10
