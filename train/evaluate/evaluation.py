"""From what is asked to the report: cases and systems of a checkpoint or of a file of replies."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from dialog_service.errors import ConfigError
from train.data.corpora import load_corpus
from train.data.pairs import Pair
from train.evaluate.cases import CaseOptions, load_cases, training_pairs
from train.evaluate.job import Job, run_job
from train.evaluate.journal import REPLIES, Journal
from train.evaluate.options import CheckpointSubject, FileSubject, Options
from train.evaluate.replies_file import RepliesFile
from train.evaluate.subsets import subsets_of
from train.metrics.null_rows import (
    Echo,
    GivenReplies,
    Human,
    RandomReplies,
    RetrievedReplies,
    Role,
    System,
)
from train.metrics.report import Report, Row, Setting
from train.metrics.unigrams import Unigrams


@dataclass(frozen=True, slots=True)
class _NullRows:
    """The rows that need no model, and what UniKL compares with."""

    systems: tuple[System, ...]
    corpus: Unigrams | None = None


def evaluate_checkpoint(subject: CheckpointSubject, options: Options, console: Console) -> Report:
    """Judge a checkpoint, in each decoding that belongs beside the others.

    Raises:
        UserError: the checkpoint, the corpus, a sampling value or the output folder.
    """
    # Here, so that a file of replies is judged without torch.
    from dialog_service.generation import Generator
    from train.evaluate.decodings import GeneratedReplies, decodings
    from train.evaluate.origin import numerics, origin, trained_pair_mode

    generator = Generator.load(
        subject.directory, device=subject.device, precision=subject.precision
    )
    count = options.reply_count or 1
    case_options = CaseOptions(
        split=subject.split,
        part=subject.part,
        pair_mode=options.pair_mode or trained_pair_mode(subject),
        context_turns=generator.limits.context_turns,
        keep_leaks=options.keep_leaks,
    )
    found = load_cases(subject.source, case_options, console)
    ways = decodings(generator, subject.override, reply_count=count, contexts=len(found.cases))
    null_rows = _null_rows(count, found.train, options, console)
    job = Job(
        cases=found.cases,
        case_count=len(found.cases),
        systems=(
            *(GeneratedReplies(generator, way, seed=options.seed) for way in ways),
            *null_rows.systems,
        ),
        setting=Setting(
            corpus=found.corpus,
            split=found.split,
            deduplication=found.deduplication,
            training=found.training,
            seed=options.seed,
        ),
        batch_size=options.batch_size,
        origin=origin(subject, generator),
        subsets=subsets_of(subject.source.corpus),
        corpus=null_rows.corpus,
    )
    meta = generator.meta
    title = (
        f"{meta.variant} {meta.preset}, version {meta.version}, seed {meta.seed}, {meta.commit}, "
        f"{numerics(subject, generator)}: {subject.source.corpus} {subject.part}, {subject.split}"
    )
    return _reported(title, found.notes, job, options, console)


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
    training: tuple[Pair, ...] = ()
    origin, notes = "none", ["random and BM25 rows and UniKL need --corpus and --data-dir"]
    if subject.source:
        corpus = load_corpus(subject.source)
        training = training_pairs(corpus, options.pair_mode, keep_leaks=options.keep_leaks)
        origin, notes = f"{corpus.name}@{corpus.fingerprint[:12]}", []
    null_rows = _null_rows(count, training, options, console)
    job = Job(
        cases=file.cases(),
        case_count=file.case_count,
        systems=(GivenReplies(subject.path.name, count=count), *null_rows.systems),
        setting=Setting(
            corpus=f"{subject.path.name}@{file.fingerprint}",
            split="every line",
            deduplication="as in the file",
            training=origin,
            seed=options.seed,
        ),
        batch_size=options.batch_size,
        subsets=subsets_of(subject.source.corpus if subject.source else None),
        corpus=null_rows.corpus,
    )
    return _reported(str(subject.path), (file.note(), *notes), job, options, console)


def _null_rows(count: int, train: Sequence[Pair], options: Options, console: Console) -> _NullRows:
    """Human and echo; with training pairs to draw from, random and BM25 as well."""
    rows: list[System] = [Human(count=count), Echo()]
    if not train:
        return _NullRows(tuple(rows))
    replies = [pair.response for pair in train]
    with console.status("indexing the training replies"):
        rows.append(RandomReplies(replies, count=count, seed=options.seed))
        if options.extras.bm25:
            posts = [pair.context[-1] for pair in train]
            rows.append(RetrievedReplies(posts, replies, count=count))
        return _NullRows(tuple(rows), Unigrams(replies))


def _reported(
    title: str, notes: Sequence[str], job: Job, options: Options, console: Console
) -> Report:
    """Run the job and write the report; the replies get their name when it is there."""
    try:
        journal = Journal(options.output / REPLIES, job.fingerprint)
        _say_what_is_kept(journal, job, console)
        rows = run_job(job, journal, console)
        report = Report(
            subject=title,
            notes=(*notes, *_short_notes(rows)),
            rows=tuple(rows),
            command=options.command,
        )
        report.write(options.output)
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
