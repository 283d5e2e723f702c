"""From what is asked to the report: cases and systems of a checkpoint or of a file of replies."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dialog_service.errors import ConfigError
from train.data.corpora import load_corpus
from train.data.pairs import Pair
from train.evaluate.cases import CaseOptions, load_cases, training_pairs
from train.evaluate.job import REPLIES, Job, run_job
from train.evaluate.options import CheckpointSubject, FileSubject, Options
from train.evaluate.replies_file import RepliesFile
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


def evaluate_checkpoint(subject: CheckpointSubject, options: Options, console: Console) -> Report:
    """Judge a checkpoint, in each decoding that belongs beside the others.

    Raises:
        UserError: the checkpoint, the corpus, a sampling value or the output folder.
    """
    # Here, so that a file of replies is judged without torch.
    from dialog_service.generation import Generator, resolve_precision
    from train.evaluate.decodings import GeneratedReplies, decodings

    generator = Generator.load(
        subject.directory, device=subject.device, precision=subject.precision
    )
    count = options.reply_count or 1
    ways = decodings(generator, subject.override, count)
    case_options = CaseOptions(
        split=subject.split,
        context_turns=generator.limits.context_turns,
        keep_leaks=options.keep_leaks,
    )
    found = load_cases(subject.source, case_options, console)
    systems = [GeneratedReplies(generator, way, seed=options.seed) for way in ways]
    job = Job(
        cases=found.cases,
        case_count=len(found.cases),
        systems=(*systems, *_null_rows(count, found.train, options, console)),
        setting=Setting(
            corpus=found.corpus,
            split=f"test/{subject.split}",
            deduplication=found.deduplication,
            training=found.training,
            seed=options.seed,
        ),
        batch_size=options.batch_size,
    )
    meta = generator.meta
    title = (
        f"{meta.variant} {meta.preset}, version {meta.version}, seed {meta.seed}, {meta.commit}, "
        f"{generator.device.type} {resolve_precision(subject.precision, generator.device)}"
    )
    return _report(f"{title}: {subject.source.corpus} test, {subject.split}", found.notes,
                   run_job(job, options.output, console), options.output)  # fmt: skip


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
    origin, notes = "none", ["random and BM25 rows need --corpus and --data-dir"]
    if subject.source:
        corpus = load_corpus(subject.source)
        training = training_pairs(corpus, keep_leaks=options.keep_leaks)
        origin, notes = f"{corpus.name}@{corpus.fingerprint[:12]}", []
    job = Job(
        cases=file.cases(),
        case_count=file.case_count,
        systems=(
            GivenReplies(subject.path.name, count=count),
            *_null_rows(count, training, options, console),
        ),
        setting=Setting(
            corpus=f"{subject.path.name}@{file.fingerprint}",
            split="every line",
            deduplication="as in the file",
            training=origin,
            seed=options.seed,
        ),
        batch_size=options.batch_size,
    )
    rows = run_job(job, options.output, console)
    return _report(str(subject.path), (file.note(), *notes), rows, options.output)


def _null_rows(
    count: int, train: Sequence[Pair], options: Options, console: Console
) -> list[System]:
    """Human and echo; with training pairs to draw from, random and BM25 as well."""
    rows: list[System] = [Human(count=count), Echo()]
    if train:
        replies = [pair.response for pair in train]
        with console.status("indexing the training replies"):
            rows.append(RandomReplies(replies, count=count, seed=options.seed))
            if options.has_bm25:
                posts = [pair.context[-1] for pair in train]
                rows.append(RetrievedReplies(posts, replies, count=count))
    return rows


def _report(title: str, notes: Sequence[str], rows: Sequence[Row], directory: Path) -> Report:
    short = [
        f"{row.name}: {row.contexts_short_of_replies:,} contexts with fewer replies than asked for"
        for row in rows
        if row.contexts_short_of_replies and row.role is not Role.HUMAN
    ]
    report = Report(subject=title, notes=(*notes, *short), rows=tuple(rows))
    try:
        report.write(directory)
    except OSError as error:
        raise ConfigError(f"--output {directory}: {error.strerror}") from error
    return report
