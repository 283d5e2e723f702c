"""Two evaluations of the same pairs: paired differences with p-values.

Pairs are the same where the responses and the turns that both systems saw are: one may see more
turns before a response than the other.

Both systems' replies are read again and counted by dialogue; they are held in memory, contexts and
all. What takes a classifier or a corpus, such as relevance and UniKL, is as the evaluations
measured it; where they did not, or not by the same, it is left out, and why is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from dialog_service.errors import ConfigError
from train.evaluate.agreement import common_yardsticks, omissions, with_measures
from train.evaluate.comparison import Comparison, null_rows_of, side_of
from train.evaluate.journal import REPLIES
from train.evaluate.measures import MEASURES, MeasuredBy, Measures, read_measures
from train.evaluate.replies_file import RepliesFile
from train.metrics.counting import Case, ContextCounter, Counts
from train.metrics.intervals import Estimate
from train.metrics.report import Report
from train.metrics.significance import Difference, Pairing, Randomisation

_SAME = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluation:
    """One of the two: its report, the replies to every context, what was measured of them."""

    path: Path
    report: Report
    cases: tuple[Case, ...]
    measures: Measures

    @property
    def count(self) -> int:
        """Replies per context."""
        return self.report.rows[0].signature.replies_per_context

    @property
    def most_turns(self) -> int:
        """Turns of the longest context."""
        return max(len(case.context) for case in self.cases)

    def counted(self, count: int, by: MeasuredBy, bar: Progress) -> list[Counts]:
        """Every context's counts, with so many replies each and the measures of these."""
        counter = ContextCounter(count=count)
        cases = bar.track(self.cases, description=f"counting {self.path}")
        counts = [counter.of(case, case.replies) for case in cases]
        if not self.measures.lines:
            return counts
        lines = zip(counts, self.measures.lines, strict=True)
        return [with_measures(each, line, by, count) for each, line in lines]


def compare_reports(
    first: Path, second: Path, output: Path | None, console: Console, *, seed: int = 0
) -> None:
    """Compare two evaluations and print what differs.

    Args:
        first: A: the folder of an evaluation, or the report.json in it.
        second: B, likewise.
        output: a folder for compare.json and compare.md, made if need be; None writes nothing.
        console: where the table goes; progress bars go to stderr.
        seed: of exchanges and resampling.

    Raises:
        UserError: as ``compared``, or the folder cannot be written.
    """
    if output is not None:
        _make(output)  # before the work, so that a mistake costs nothing
    found = compared(first, second, Randomisation(seed=seed))
    if output is not None:
        _write(found, output)
    found.show(console)


def compared(first: Path, second: Path, how: Randomisation) -> Comparison:
    """Every difference between two evaluations.

    Raises:
        UserError: a report or its replies cannot be read, or the contexts are not the same.
    """
    console = Console(stderr=True)
    sides = [_evaluation(path, console) for path in (first, second)]
    _refuse_other_contexts(sides[0], sides[1])
    with Progress(console=console, transient=True) as bar:
        return _compared(sides[0], sides[1], how, bar)


def _compared(
    first: _Evaluation, second: _Evaluation, how: Randomisation, bar: Progress
) -> Comparison:
    count = min(first.count, second.count)
    by = common_yardsticks(first.measures, second.measures)
    sides = [side.counted(count, by, bar) for side in (first, second)]
    pairing = Pairing(_dialogues(first.cases, second.cases), sides)
    task = bar.add_task("exchanging dialogues", total=how.tried(pairing.count))
    differences = pairing.differences(how, lambda: bar.advance(task))
    one, other = side_of(first.path, first.report), side_of(second.path, second.report)
    missing = (one.figures.keys() | other.figures.keys()) - differences.keys()
    return Comparison(
        first=one,
        second=other,
        contexts=len(first.cases),
        dialogues=pairing.count,
        replies_per_context=count,
        seed=how.seed,
        exchanges=how.tried(pairing.count),
        is_exact=how.is_exact(pairing.count),
        judge=by.judge,
        corpus=by.corpus,
        language_model=by.language_model,
        differences=differences,
        not_compared=omissions(missing, first.measures, second.measures),
        null_rows=null_rows_of(first.report),
        notes=tuple(_notes(first, second, differences)),
    )


def _evaluation(path: Path, console: Console) -> _Evaluation:
    report = Report.read(path)
    if not report.rows:
        raise ConfigError(f"{path}: the report has no row to compare")
    folder = path if path.is_dir() else path.parent
    if not (folder / REPLIES).is_file():
        raise ConfigError(f"{folder}: no {REPLIES} beside the report, which a comparison recounts")
    file = RepliesFile.scan(
        folder / REPLIES, lambda line: console.print(line, markup=False, soft_wrap=True)
    )
    cases = tuple(file.cases())
    measures = read_measures(folder / MEASURES, cases)
    return _Evaluation(path=path, report=report, cases=cases, measures=measures)


def _refuse_other_contexts(first: _Evaluation, second: _Evaluation) -> None:
    pairs = zip_longest(first.cases, second.cases)
    for number, (one, other) in enumerate(pairs, start=1):
        if one is None or other is None or not _is_same(one, other):
            raise ConfigError(
                f"{first.path} and {second.path} answer different contexts, from context {number} "
                "on: compare evaluations of the same corpus, part, split and pair mode"
            )


def _is_same(one: Case, other: Case) -> bool:
    """Whether responses and the turns that both have, the last one at least, are the same."""
    turns = min(len(one.context), len(other.context))
    return (one.context[-turns:], one.responses) == (other.context[-turns:], other.responses)


def _dialogues(*sides: Sequence[Case]) -> list[str]:
    """The dialogue of each context, from the side that tells fewer apart.

    A file without dialogues counts every line as one of its own.
    """
    named = [[case.dialogue for case in cases] for cases in sides]
    return min(named, key=lambda names: len(set(names)))


def _notes(
    first: _Evaluation, second: _Evaluation, found: Mapping[str, Difference]
) -> Iterator[str]:
    """What a reader should know of the pairing and the counting."""
    yield from _notes_on_turns(first, second)
    if first.count != second.count:
        yield (
            f"A has {first.count} replies per context, B {second.count}: the first "
            f"{min(first.count, second.count)} of each count"
        )
        return
    for name, side, figures in (
        ("A", first, {key: each.first for key, each in found.items()}),
        ("B", second, {key: each.second for key, each in found.items()}),
    ):
        if others := _unlike(side.report.rows[0].figures, figures):
            yield f"{name}: counted again, and its report says otherwise: {', '.join(others)}"


def _notes_on_turns(first: _Evaluation, second: _Evaluation) -> Iterator[str]:
    pairs = zip(first.cases, second.cases, strict=True)
    differing = sum(len(one.context) != len(other.context) for one, other in pairs)
    if differing:
        yield (
            f"A sees up to {first.most_turns} turns of a context, B up to {second.most_turns}; "
            f"numbers differ in {differing:,} contexts, which are paired by the turns that both "
            "see and the responses"
        )


def _unlike(reported: Mapping[str, Estimate], counted: Mapping[str, float]) -> list[str]:
    """Figures that are not what a report says, for its replies or the counting have changed."""
    both = reported.keys() & counted.keys()
    return sorted(key for key in both if abs(reported[key].value - counted[key]) > _SAME)


def _make(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror}") from error


def _write(found: Comparison, output: Path) -> None:
    try:
        found.write(output)
    except OSError as error:
        raise ConfigError(f"--output {output}: {error.strerror}") from error
