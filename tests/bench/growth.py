"""How time, throughput and memory of the engine grow with one size at a time.

    python tests/bench/growth.py                      all four axes, some minutes
    python tests/bench/growth.py --axis words         one of them
    python tests/bench/growth.py --batch 1            about a lone request instead

Replies of 20 tokens that never end early, random weights, about the sizes of Stochastic WAE: 20,000
words, 500 hidden units, 16 requests at once of 10 replies each. Each point is a process of its own.

Memory is no smooth power of vocabulary and hidden size: a layer's table of words, which saves it a
product, is made where it takes no more than 192 MiB of a decoder, 128 of an encoder.
"""

import enum
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import typer
from forced_checkpoint import save_forced
from growth_point import Measured
from plain_model import PAPER, PlainSizes
from results import save, wide_console
from rich.table import Table

POINT = Path(__file__).with_name("growth_point.py")
_console = wide_console()


class Axis(enum.StrEnum):
    """What grows, by the name of the size."""

    BATCH = "batch"
    REPLIES = "replies"
    WORDS = "words"
    HIDDEN = "hidden"


AXES: Mapping[Axis, Sequence[int]] = {
    Axis.BATCH: (1, 4, 16, 64),
    Axis.REPLIES: (1, 5, 10, 30),
    Axis.WORDS: (5_000, 10_000, 20_000, 40_000),
    Axis.HIDDEN: (128, 256, 512, 1024),
}
TITLES = {
    Axis.BATCH: "requests at once",
    Axis.REPLIES: "replies per request",
    Axis.WORDS: "words in the vocabulary",
    Axis.HIDDEN: "hidden units",
}
FIGURES = ("ms", "replies/s", "MB, model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Every size of one point."""

    batch: int = 16
    replies: int = 10
    words: int = PAPER.words
    hidden: int = PAPER.hidden


@dataclass(frozen=True, slots=True)
class Point:
    """A case and what was found: ``size`` is that of its axis."""

    axis: Axis
    size: int
    case: Case
    found: Measured

    @property
    def figures(self) -> dict[str, float]:
        """Those that grow, by their names in the table."""
        replies = self.case.batch * self.case.replies
        milliseconds, megabytes = 1000 * self.found.seconds, self.found.model_bytes / 2**20
        values = (milliseconds, replies / self.found.seconds, megabytes)
        return dict(zip(FIGURES, values, strict=True))


def points(axes: Iterable[Axis], base: Case, seconds: float) -> Iterator[Point]:
    """Axis by axis, as they are measured; a case that two axes share is measured once."""
    known: dict[Case, Measured] = {}
    for axis in axes:
        for size in AXES[axis]:
            case = replace(base, **{axis.value: size})
            if case not in known:
                known[case] = in_fresh_process(case, seconds)
            yield Point(axis, size, case, known[case])


def in_fresh_process(case: Case, seconds: float) -> Measured:
    """Make the checkpoint of a case here, and measure it where nothing was measured before."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "forced"
        save_forced(checkpoint, PlainSizes(words=case.words, hidden=case.hidden))
        sizes = ("--batch", case.batch, "--replies", case.replies, "--seconds", seconds)
        command = map(str, (sys.executable, POINT, checkpoint, *sizes))
        done = subprocess.run(list(command), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{case}: its process ended with {done.returncode}; too large for here?")
    return Measured(**json.loads(done.stdout))


def exponents(found: Sequence[Point]) -> dict[str, float]:
    """Of each figure along one axis: it grows like the size to this power (least squares)."""
    sizes = [math.log(point.size) for point in found]
    return {
        name: statistics.linear_regression(
            sizes, [math.log(max(point.figures[name], 1e-9)) for point in found]
        ).slope
        for name in FIGURES
    }


def by_axis(found: Iterable[Point]) -> dict[Axis, list[Point]]:
    """The points of each axis, in order."""
    axes: dict[Axis, list[Point]] = {}
    for point in found:
        axes.setdefault(point.axis, []).append(point)
    return axes


def table(found: Sequence[Point]) -> Table:
    """One line a point, and below each axis how its figures grow."""
    shown = Table("what grows", "", *FIGURES, "MB, all", box=None)
    for axis, along in by_axis(found).items():
        for point in along:
            figures = (f"{value:.1f}" for value in point.figures.values())
            peak = f"{point.found.peak_bytes / 2**20:.0f}"
            shown.add_row(TITLES[axis], f"{point.size}", *figures, peak)
        powers = (f"x^{power:.2f}" for power in exponents(along).values())
        shown.add_row("", "grows like", *powers, end_section=True, style="bold")
    return shown


def plot(found: Sequence[Point], path: Path) -> None:
    """A panel for each axis: every figure, in times of its first."""
    axes = by_axis(found)
    figure, panels = plt.subplots(-(-len(axes) // 2), 2, figsize=(9, 7), squeeze=False)
    for panel in list(panels.flat)[len(axes) :]:
        panel.set_axis_off()
    for panel, (axis, along) in zip(panels.flat, axes.items(), strict=False):
        sizes = [point.size for point in along]
        for name, power in exponents(along).items():
            first = max(along[0].figures[name], 1e-9)
            times = [point.figures[name] / first for point in along]
            panel.plot(sizes, times, marker="o", label=f"{name}: x^{power:.2f}")
        panel.set_xscale("log")
        panel.set_yscale("log", base=2)
        panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
        panel.minorticks_off()
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set(xlabel=TITLES[axis], ylabel=f"times that of {sizes[0]:,}")
        panel.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def written(found: Sequence[Point], output: Path) -> None:
    """growth.json and growth.png."""
    rows = [
        {"axis": point.axis, "size": point.size, **asdict(point.case), **point.found._asdict()}
        for point in found
    ]
    powers = {axis: exponents(along) for axis, along in by_axis(found).items() if along[1:]}
    save(output, "growth", points=rows, exponents=powers)
    if powers:
        plot([point for point in found if point.axis in powers], output / "growth.png")


def main(
    axis: Annotated[
        list[Axis] | None, typer.Option(help="What grows; several times for several.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="For each point.")] = 2.0,
    batch: Annotated[int, typer.Option(min=1, help="Requests at once on the other axes.")] = 16,
    output: Annotated[Path, typer.Option(help="A folder.")] = Path("build/bench"),
) -> None:
    """How time, throughput and memory of the engine grow with one size at a time.

    Prints a table with the power by which each figure grows; growth.json and growth.png go to the
    folder. A batch takes "ms" until all of its replies are there. Memory is the most that was
    resident while it replied: of the whole process, and less what it held without the model.
    """
    found: list[Point] = []
    with _console.status("growth: the first point") as status:
        try:
            for point in points(axis or AXES, Case(batch=batch), seconds):
                found.append(point)
                status.update(f"growth, measured: {point.size} {TITLES[point.axis]}")
        finally:  # minutes of measurements are not lost with the last one
            written(found, output)
    _console.print(table(found))
    _console.print(f"also in {output}: growth.json, growth.png")


if __name__ == "__main__":
    typer.run(main)
