"""From what is asked to the report: cases and systems of a checkpoint or of a file of replies."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from dialog_service.errors import ConfigError
from train.data.corpora import load_corpus
from train.evaluate.cases import CaseOptions, load_cases, training_pairs
from train.evaluate.insight import Insight, look_into
from train.evaluate.job import Job, run_job
from train.evaluate.journal import REPLIES, Journal
from train.evaluate.measures import MEASURES, MeasuresFile
from train.evaluate.options import CheckpointSubject, FileSubject, Options
from train.evaluate.replies_file import RepliesFile
from train.evaluate.subsets import subsets_of
from train.evaluate.yardsticks import TrainingPairs, make_yardsticks
from train.metrics.null_rows import GivenReplies, Role
from train.metrics.report import Report, Row, Setting

_SEEN_LEAKS = (
    "the checkpoint was trained with --keep-leaks, on dialogues that repeat an evaluation dialogue "
    "too; the null rows do not draw from those, which is what the signatures call training; to "
    "have null rows of the checkpoint's own training, evaluate with --keep-leaks"
)
_WITHOUT_CORPUS = "random and BM25 rows, UniKL, LM nats and relevance need --corpus and --data-dir"


@dataclass(frozen=True, slots=True)
class _Draft:
    """A report but for its rows; ``look`` is asked once they are there."""

    subject: str
    notes: tuple[str, ...]
    look: Callable[[], Insight] = Insight


def evaluate_checkpoint(subject: CheckpointSubject, options: Options, console: Console) -> Report:
    """Judge a checkpoint, in each decoding that belongs beside the others.

    Raises:
        UserError: the checkpoint, the corpus, a sampling value or the output folder.
    """
    # Here, so that a file of replies is judged without torch.
    from train.evaluate.origin import LoadedSubject

    loaded = LoadedSubject(subject)
    case_options = CaseOptions(
        split=subject.split,
        part=subject.part,
        pair_mode=options.pair_mode or loaded.trained_pair_mode,
        context_turns=loaded.generator.limits.context_turns,
        keep_leaks=options.keep_leaks,
    )
    found = load_cases(subject.source, case_options, console)
    count = options.reply_count or 1
    pairs = TrainingPairs(train=found.train, unleaked=found.unleaked)
    sticks = make_yardsticks(count, pairs, options, console)
    job = Job(
        cases=found.cases,
        case_count=len(found.cases),
        systems=(*loaded.systems(len(found.cases), count, options.seed), *sticks.rows),
        setting=Setting(
            corpus=found.corpus,
            split=found.split,
            deduplication=found.deduplication,
            training=found.training,
            seed=options.seed,
        ),
        batch_size=options.batch_size,
        origin=loaded.origin,
        subsets=subsets_of(subject.source.corpus),
        corpus=sticks.corpus,
        language_model=sticks.language_model,
        judge=sticks.judge,
    )
    leaks = (_SEEN_LEAKS,) if loaded.has_seen_leaks and not options.keep_leaks else ()
    draft = _Draft(
        f"{loaded}: {subject.source.corpus} {subject.part}, {subject.split}",
        (*found.notes, *leaks, *sticks.notes),
        functools.partial(look_into, loaded, job, options, console),
    )
    return _reported(draft, job, options, console)


def evaluate_file(subject: FileSubject, options: Options, console: Console) -> Report:
    """Judge the replies in a file.

    Raises:
        UserError: the file, the corpus or the output folder.
    """
    if subject.path.resolve() == (options.output / REPLIES).resolve():
        raise ConfigError(f"--output {options.output}: would overwrite {subject.path}")
    file = RepliesFile.scan(
        subject.path, lambda line: console.print(line, markup=False, soft_wrap=True)
    )
    count = options.reply_count or file.most_replies
    pairs, origin = _lent_pairs(subject, options)
    sticks = make_yardsticks(count, pairs, options, console)
    job = Job(
        cases=file.cases(),
        case_count=file.case_count,
        systems=(GivenReplies(subject.path.name, count=count), *sticks.rows),
        setting=Setting(
            corpus=f"{subject.path.name}@{file.fingerprint}",
            split="every line",
            deduplication="as in the file",
            training=origin,
            seed=options.seed,
        ),
        batch_size=options.batch_size,
        subsets=subsets_of(subject.source.corpus if subject.source else None),
        corpus=sticks.corpus,
        language_model=sticks.language_model,
        judge=sticks.judge,
    )
    notes = sticks.notes if subject.source else (_WITHOUT_CORPUS,)
    return _reported(_Draft(str(subject.path), (file.note(), *notes)), job, options, console)


def _lent_pairs(subject: FileSubject, options: Options) -> tuple[TrainingPairs, str]:
    """The training pairs of the source, and how the signature calls it."""
    if subject.source is None:
        return TrainingPairs(), "none"
    corpus = load_corpus(subject.source)
    unleaked = training_pairs(corpus, options.pair_mode, keep_leaks=False)
    leaky = training_pairs(corpus, options.pair_mode, keep_leaks=True) if options.keep_leaks else ()
    pairs = TrainingPairs(train=leaky or unleaked, unleaked=unleaked)
    return pairs, f"{corpus.name}@{corpus.fingerprint[:12]}"


def _reported(draft: _Draft, job: Job, options: Options, console: Console) -> Report:
    """Run the job and write the report; the replies get their name when it is there."""
    from train.evaluate.page import write_page  # drawing is slow to import

    try:
        journal = Journal(options.output / REPLIES, job.fingerprint)
        _say_what_is_kept(journal, job, console)
        measures = MeasuresFile(options.output / MEASURES, job.measured_by)
        rows = run_job(job, journal, measures, console)
        insight = draft.look()
        report = Report(
            subject=draft.subject,
            notes=(*draft.notes, *_short_notes(rows)),
            rows=tuple(rows),
            health=insight.health,
            probes=insight.probes,
            curves=insight.curves,
            command=options.command,
        )
        report.write(options.output)
        with console.status("drawing"):
            write_page(report, options.output)
        measures.finish()
        journal.finish()
    except OSError as error:
        raise ConfigError(f"--output {options.output}: {error.strerror}") from error
    return report


def _say_what_is_kept(journal: Journal, job: Job, console: Console) -> None:
    said = []
    if journal.kept:
        said.append(f"{journal.kept:,} of {job.case_count:,} contexts were answered before")
    elif journal.dropped_bytes and job.fingerprint:
        said.append("the replies of an unfinished job there are of another one: begun anew")
    for line in said:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _short_notes(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.name}: {row.contexts_short_of_replies:,} contexts with fewer replies than asked for"
        for row in rows
        if row.contexts_short_of_replies and row.role is not Role.HUMAN
    ]
