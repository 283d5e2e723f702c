"""One pass over the cases: every system answers a batch, every row counts it.

Cases come and go batch by batch. What grows with them are the tables of different n-grams and
one name per dialogue in each row's counts; the replies themselves go to disk.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dialog_service.diversity import metric_tokens
from dialog_service.errors import ConfigError
from train.evaluate.journal import REPLIES, Journal, JournalLine
from train.evaluate.measures import MeasuredBy, MeasuresFile, MeasuresLine, digest_of
from train.evaluate.rows import SystemScorer
from train.evaluate.subsets import ALL, Subset
from train.evaluate.tellers import Tellers, Told
from train.metrics.fluency import LanguageModel
from train.metrics.judgement import Judge
from train.metrics.null_rows import System
from train.metrics.report import Row, Setting
from train.metrics.scoring import Case, Dialogues
from train.metrics.unigrams import Unigrams

Answers = list[list[tuple[str, ...]]]  # of each system, to each case of a batch


@runtime_checkable
class Generating(Protocol):
    """A system whose answers are dear: kept on disk, and not asked for again."""

    @property
    def name(self) -> str:
        """What the table calls the row."""

    def skip(self, cases: int) -> None:
        """Leave the next cases out; what follows is answered as if they had been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is answered by whom; the cases are read once, batch by batch.

    ``origin`` says what fixes the replies of the generating systems besides setting, name and
    decoding: the model's bytes and what it runs on.
    """

    cases: Iterable[Case]
    case_count: int
    systems: Sequence[System]
    setting: Setting
    batch_size: int
    origin: str = ""
    subsets: Sequence[Subset] = (ALL,)
    corpus: Unigrams | None = None
    judge: Judge | None = None
    language_model: LanguageModel | None = None

    @property
    def tellers(self) -> Tellers:
        """Who tells what cannot be counted."""
        return Tellers(judge=self.judge, language_model=self.language_model)

    @property
    def fingerprint(self) -> str | None:
        """The same for the same replies; None where no system generates any."""
        dear = [s for s in self.systems if isinstance(s, Generating)]
        if not dear:
            return None
        rows = [f"{s.name}: {s.decoding}, {s.count}" for s in self.systems if s in dear]
        said = "\n".join([self.origin, self.setting.model_dump_json(), *rows])
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def measured_by(self) -> MeasuredBy:
        """Who measures what cannot be counted."""
        return MeasuredBy(
            judge=self.judge.fingerprint if self.judge else None,
            corpus=self.corpus.fingerprint if self.corpus else None,
            language_model=self.language_model.fingerprint if self.language_model else None,
        )


def run_job(job: Job, journal: Journal, measures: MeasuresFile, console: Console) -> list[Row]:
    """Score every system, keeping the first one's replies and every generated one in the journal.

    Args:
        job: the first of its systems is the one to be judged.
        journal: of this job; its lines are taken as answered.
        measures: just begun; gets what is measured of the first one's replies.
        console: for the progress bar.

    Raises:
        ConfigError: a kept line is not of its case.
        OSError: the journal or the measures cannot be written.
    """
    numberings = {subset: Dialogues() for subset in job.subsets}
    scorers = [SystemScorer(s, numberings, job.corpus, job.tellers) for s in job.systems]
    with _bar(console) as bar:
        task = bar.add_task("answering", total=job.case_count)
        for batch, answers in _answered(job, journal):
            told = [
                scorer.add_all(batch, replies)
                for scorer, replies in zip(scorers, answers, strict=True)
            ]
            measures.append(_measured(job, batch, answers[0], told[0]))
            bar.advance(task, len(batch))
    with console.status("resampling"):
        rows = [scorer.row(part, job.setting) for part in job.subsets for scorer in scorers]
    return [row for row in rows if row]


def _answered(job: Job, journal: Journal) -> Iterator[tuple[list[Case], Answers]]:
    """Every batch with its answers: those the journal has, then new ones, which it gets."""
    cases, kept = iter(job.cases), journal.kept_lines()
    for batch in _batches(islice(cases, journal.kept), job.batch_size):
        lines = list(islice(kept, len(batch)))
        _check(batch, lines)
        yield batch, [_kept_answers(job, system, batch, lines) for system in job.systems]
    for system in job.systems:
        if isinstance(system, Generating):
            system.skip(journal.kept)
    for batch in _batches(cases, job.batch_size):
        answers = [system.answer(batch) for system in job.systems]
        journal.append(_lines(job, batch, answers))
        yield batch, answers


def _batches(cases: Iterable[Case], size: int) -> Iterator[list[Case]]:
    left = iter(cases)
    while batch := list(islice(left, size)):
        yield batch


def _lines(job: Job, batch: Sequence[Case], answers: Answers) -> Iterator[JournalLine]:
    """What the journal keeps of a batch."""
    fingerprint = job.fingerprint
    others = {
        system.name: replies
        for system, replies in list(zip(job.systems, answers, strict=True))[1:]
        if isinstance(system, Generating)
    }
    for place, case in enumerate(batch):
        yield JournalLine(
            context=case.context,
            responses=case.responses,
            replies=answers[0][place],
            dialogue=case.dialogue,
            job=fingerprint,
            others={name: replies[place] for name, replies in others.items()},
        )


def _measured(
    job: Job,
    batch: Sequence[Case],
    answers: Sequence[tuple[str, ...]],
    told: Sequence[Told],
) -> Iterator[MeasuresLine]:
    """What cannot be counted again, of one system's replies to a batch."""
    for case, replies, each in zip(batch, answers, told, strict=True):
        yield MeasuresLine(
            replies=digest_of(case.context, replies),
            judgement=each.judgement,
            familiarity=job.corpus.familiarity(metric_tokens(replies[0])) if job.corpus else None,
            fluency=each.fluency,
        )


def _kept_answers(
    job: Job, system: System, batch: Sequence[Case], lines: Sequence[JournalLine]
) -> list[tuple[str, ...]]:
    """What the journal has of a system, or the system's own answers where they are cheap."""
    if not isinstance(system, Generating):
        return system.answer(batch)
    if system is job.systems[0]:
        return [line.replies for line in lines]
    return [line.others[system.name] for line in lines]


def _check(batch: Sequence[Case], lines: Sequence[JournalLine]) -> None:
    for case, line in zip(batch, lines, strict=True):
        if case.context != line.context:
            raise ConfigError(
                f"the replies kept in --output are to other contexts: {' / '.join(line.context)!r} "
                f"for {' / '.join(case.context)!r}; remove {REPLIES}.partial"
            )


def _bar(console: Console) -> contextlib.AbstractContextManager[Progress]:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
