"""One pass over the cases: every system answers a batch, every row counts it."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dialog_service.errors import ConfigError
from train.evaluate.replies_file import replies_line
from train.metrics.null_rows import Role, System
from train.metrics.report import Row, Setting, Signature
from train.metrics.scoring import Case, RowScorer

REPLIES = "replies.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is answered by whom; the cases are read once, batch by batch."""

    cases: Iterable[Case]
    case_count: int
    systems: Sequence[System]
    setting: Setting
    batch_size: int


def run_job(job: Job, directory: Path, console: Console) -> list[Row]:
    """Score every system, writing the first one's replies to ``replies.jsonl`` on the way.

    Args:
        job: the first of its systems is the one to be judged.
        directory: an existing folder.
        console: for the progress bar.

    Raises:
        ConfigError: the replies cannot be written.
    """
    scorers = [RowScorer(is_response=system.role is Role.HUMAN) for system in job.systems]
    partial = directory / f"{REPLIES}.partial"
    try:
        with partial.open("w", encoding="utf-8") as file, _bar(console) as bar:
            task = bar.add_task("answering", total=job.case_count)
            for batch in _batches(job):
                file.writelines(_answered(batch, job.systems, scorers))
                bar.advance(task, len(batch))
        partial.replace(directory / REPLIES)
    except OSError as error:
        raise ConfigError(f"--output {directory}: {error.strerror}") from error
    with console.status("resampling"):
        return [_row(job, *pair) for pair in zip(job.systems, scorers, strict=True)]


def _batches(job: Job) -> Iterator[list[Case]]:
    cases = iter(job.cases)
    while batch := list(islice(cases, job.batch_size)):
        yield batch


def _answered(
    batch: Sequence[Case], systems: Sequence[System], scorers: Sequence[RowScorer]
) -> Iterator[str]:
    """Count every system's replies to a batch; the lines to write of the first one's."""
    answers = [system.answer(batch) for system in systems]
    for scorer, replies in zip(scorers, answers, strict=True):
        scorer.add_all(batch, replies)
    return map(replies_line, batch, answers[0])


def _row(job: Job, system: System, scorer: RowScorer) -> Row:
    return Row(
        name=system.name,
        role=system.role,
        figures=scorer.figures(job.setting.seed),
        contexts_short_of_replies=scorer.contexts_below(system.count),
        signature=Signature(
            **job.setting.model_dump(),
            replies_per_context=system.count,
            decoding=system.decoding,
            contexts=scorer.contexts,
            dialogues=scorer.dialogues,
        ),
    )


def _bar(console: Console) -> contextlib.AbstractContextManager[Progress]:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
    )
