"""Figures of the page as SVG that takes its colours and its type from the page around it.

matplotlib draws with stand-in colours; each becomes a CSS variable, so that one drawing serves a
light page, a dark one and paper. Knows how to draw, not what a report holds.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Drawn in these, shown in the page's own colours.
INK, FAINT, SYSTEM, HUMAN, NULL, SECOND, THIRD, FOURTH = (f"#00000{n}" for n in range(1, 9))
_VARIABLES = {
    INK: "--ink",
    FAINT: "--line",
    SYSTEM: "--system",
    HUMAN: "--human",
    NULL: "--null",
    SECOND: "--second",
    THIRD: "--third",
    FOURTH: "--fourth",
}
_STYLE: dict[Any, Any] = {  # matplotlib's stubs spell every key out
    "svg.fonttype": "none",
    "font.size": 9.0,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.6,
}
_WIDTH_INCHES = 4.4
_MOST_COLUMNS = 3  # of names above a plot
_DASHED = (0, (3, 3))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point: a figure with its interval, or a place in a plane, ``y`` None for any height."""

    label: str
    x: float
    y: float | None = None
    low: float | None = None
    high: float | None = None
    colour: str = SYSTEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line through points in order, each with its own words or none."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = SYSTEM
    is_dashed: bool = False
    point_labels: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Counts between edges, on a logarithmic axis; ``at`` is a value to compare with."""

    edges: Sequence[float]
    counts: Sequence[int]
    at: float
    at_label: str


def standing_figure(marks: Sequence[Mark], at_human: float | None) -> str:
    """Rows under one another, each a figure with its interval; a line where the human row is."""
    with _drawn(0.75 + 0.27 * len(marks)) as (figure, axes):
        for place, mark in enumerate(reversed(marks)):
            low = mark.x if mark.low is None else mark.low
            high = mark.x if mark.high is None else mark.high
            axes.plot((low, high), (place, place), color=mark.colour, linewidth=2.4, alpha=0.45)
            axes.plot(mark.x, place, "o", color=mark.colour, markersize=5.5)
        if at_human is not None:
            axes.axvline(at_human, color=HUMAN, linewidth=0.9, linestyle=_DASHED)
        axes.set_yticks(range(len(marks)), [mark.label for mark in reversed(marks)])
        axes.set_ylim(-0.6, len(marks) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
    return _svg(figure)


def line_figure(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Lines over a common axis, with their names."""
    with _drawn(2.7) as (figure, axes):
        for line in lines:
            _plot(axes, line, marker="." if len(line.x) < 30 else "")
        _label(axes, x_label, y_label)
        axes.grid(axis="y")
        _name(axes, len(lines))
    return _svg(figure)


def plane_figure(lines: Sequence[Line], marks: Sequence[Mark], x_label: str, y_label: str) -> str:
    """Lines through a plane with single points beside them."""
    with _drawn(3.4) as (figure, axes):
        for line in lines:
            _plot(axes, line, marker="o")
            for words, x, y in zip(line.point_labels, line.x, line.y, strict=True):
                _annotate(axes, words, (x, y), line.colour)
        for mark in marks:
            _place(axes, mark)
        axes.margins(0.16)
        _label(axes, x_label, y_label)
        axes.grid()
        _name(axes, len(lines))
    return _svg(figure)


def bar_figure(bars: Bars, x_label: str, y_label: str) -> str:
    """A histogram on a logarithmic axis."""
    with _drawn(2.7) as (figure, axes):
        axes.stairs(bars.counts, bars.edges, fill=True, color=SYSTEM)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")  # matplotlib's own would need its mathtext
        axes.axvline(bars.at, color=HUMAN, linewidth=0.9, linestyle=_DASHED, label=bars.at_label)
        _label(axes, x_label, y_label)
        _name(axes, 2)
    return _svg(figure)


def _plot(axes: Axes, line: Line, *, marker: str) -> None:
    axes.plot(
        line.x,
        line.y,
        label=line.label,
        color=line.colour,
        linestyle="--" if line.is_dashed else "-",
        marker=marker,
        markersize=4,
    )


def _place(axes: Axes, mark: Mark) -> None:
    if mark.y is None:
        axes.axvline(mark.x, color=mark.colour, linewidth=0.9, linestyle=_DASHED)
        top = axes.get_xaxis_transform()
        axes.annotate(
            mark.label, (mark.x, 1), (3, -8), top, "offset points", color=mark.colour, fontsize=7.5
        )
    else:
        axes.plot(mark.x, mark.y, "D", color=mark.colour, markersize=5)
        _annotate(axes, mark.label, (mark.x, mark.y), mark.colour)


def _annotate(axes: Axes, words: str, at: tuple[float, float], colour: str) -> None:
    axes.annotate(words, at, (4, 4), textcoords="offset points", color=colour, fontsize=7.5)


def _label(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def _name(axes: Axes, lines: int) -> None:
    """Names of the lines above the plot, where there is something to tell apart."""
    columns = lines if lines <= _MOST_COLUMNS else 2  # a wide legend would make the plot narrow
    if lines > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2)


@contextmanager
def _drawn(height_inches: float) -> Iterator[tuple[Figure, Axes]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: Figure) -> str:
    """The drawing as an element, its texts escaped, without prologue, metadata and style sheet."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "report"}), warnings.catch_warnings():
        # The page's own type shows the letters that the type measured here does not have.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r"(<svg[^>]*?) width=\"[^\"]*\" height=\"[^\"]*\"", r"\1", drawing, count=1)
    drawing = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--type)", drawing)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable})")
    return drawing
