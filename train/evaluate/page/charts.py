"""Which of a report's figures are drawn, and what stands beside each drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product

from train.evaluate.page.figures import (
    FOURTH,
    HUMAN,
    NULL,
    SECOND,
    SYSTEM,
    THIRD,
    Bars,
    Line,
    Mark,
    bar_figure,
    line_figure,
    plane_figure,
    standing_figure,
)
from train.evaluate.page.tables import headlines, human_figures, meaning_of
from train.metrics.health import Histogram
from train.metrics.null_rows import Role
from train.metrics.probes import Axis, FrontierPoint, Probes
from train.metrics.report import Curve, Report, Row
from train.metrics.scoring import METRICS, Metric

_COLOURS = {Role.SYSTEM: SYSTEM, Role.HUMAN: HUMAN, Role.NULL: NULL}
_LONGEST_LABEL = 32
_POINT_MASS_BELOW = 0.1

# What a run logs under one name in training and another in validation.
_SAME = {"loss": "objective"}
_CURVES = {
    "objective": "objective: nats per example, all terms (training: as the schedule weighs them)",
    "nll": "reconstruction, nats per response",
    "nll_per_token": "reconstruction, nats per token",
    "kl": "KL of the posterior from the prior, nats",
    "kl_to_own_mean": "KL to a unit Gaussian at the posterior's own mean, nats",
    "mmd": "MMD between codes and prior",
    "posterior_scale": "mean deviation of the posterior",
    "latent_variance": "variance of the posterior's means over the data",
    "active_units": "active dimensions of z",
    "channel_nats": "nats that z can carry at most",
    "gradient_norm": "norm of the gradient before clipping",
}
_ORDER = tuple(_CURVES)
# The first reply selected is the same for any weight but 0: only all of them tell weights apart.
_QUALITIES = ("relevance", "relevance_all", "bleu_2", "lm_nats_all")
_DIVERSITIES = ("inter_dist_2", "dist_2")
_AXES: dict[Axis, str] = {
    "temperature": SYSTEM,
    "top_p": SECOND,
    "latent_scale": THIRD,
    "relevance_weight": FOURTH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing with its heading."""

    title: str
    drawing: str


def standings(report: Report) -> tuple[Chart, ...]:
    """Every row's headline figures, one drawing each where several rows have it."""
    human = human_figures(report.rows)
    charts = []
    for metric in headlines(report):
        marks = [_mark(row, metric) for row in report.rows if metric.key in row.figures]
        if len(marks) < 2:
            continue  # nothing to see it beside
        at_human = human[metric.key].value if metric.key in human else None
        title = f"{metric.title} ({meaning_of(metric).direction})"
        charts.append(Chart(title=title, drawing=standing_figure(marks, at_human)))
    return tuple(charts)


def learning_curves(curves: Sequence[Curve]) -> tuple[Chart, ...]:
    """One drawing per figure, training and validation in it."""
    by_figure = sorted(curves, key=lambda curve: (_place(curve), _figure_of(curve)))
    return tuple(
        Chart(title=_CURVES.get(name, name.replace("_", " ")), drawing=_curve(list(group)))
        for name, group in groupby(by_figure, key=_figure_of)
    )


def scale_histogram(histogram: Histogram) -> Chart:
    """How wide the posteriors are, beside a prior of width one."""
    edges = list(histogram.edges)
    if edges[0] <= 0:
        edges[0] = edges[1] / 10
    bars = Bars(edges=edges, counts=histogram.counts, at=1.0, at_label="1, the prior's")
    drawing = bar_figure(bars, "deviation (logarithmic)", "dimensions and pairs")
    return Chart(title="Deviations of the posterior", drawing=drawing)


def narrow_share(histogram: Histogram) -> float:
    """Share of the posterior's deviations below a tenth of the prior's."""
    narrow = [
        count
        for count, upper in zip(histogram.counts, histogram.edges[1:], strict=True)
        if upper <= _POINT_MASS_BELOW * (1 + 1e-6)
    ]
    return sum(narrow) / max(sum(histogram.counts), 1)


def frontier(report: Report, probes: Probes) -> tuple[Chart, ...]:
    """Quality over diversity as each value moves; one drawing per pair of figures."""
    metrics = {metric.key: metric for metric in METRICS}
    present = set().union(*(point.figures for point in probes.frontier))
    return tuple(
        Chart(
            title=f"{metrics[quality].title} over {metrics[diversity].title}",
            drawing=plane_figure(
                _paths(probes.frontier, diversity, quality),
                _anchors(report, probes, diversity, quality),
                metrics[diversity].title,
                metrics[quality].title,
            ),
        )
        for quality, diversity in product(_QUALITIES, _DIVERSITIES)
        if {quality, diversity} <= present & metrics.keys()
    )


def _mark(row: Row, metric: Metric) -> Mark:
    estimate = row.figures[metric.key]
    return Mark(
        label=_shortened(row.name),
        x=estimate.value,
        low=estimate.low,
        high=estimate.high,
        colour=_COLOURS[row.role],
    )


def _curve(curves: Sequence[Curve]) -> str:
    lines = [
        Line(
            label=curve.name.partition("/")[0],
            x=curve.steps,
            y=curve.values,
            colour=NULL if curve.name.startswith("train/") else SYSTEM,
            is_dashed=curve.name.startswith("train/"),
        )
        for curve in curves
    ]
    return line_figure(lines, "steps", "")


def _figure_of(curve: Curve) -> str:
    name = curve.name.partition("/")[2] or curve.name
    return _SAME.get(name, name)


def _place(curve: Curve) -> int:
    name = _figure_of(curve)
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)


def _paths(points: Sequence[FrontierPoint], x: str, y: str) -> list[Line]:
    """One line per value that was moved."""
    return [
        Line(
            label=axis.replace("_", "-"),
            x=[point.figures[x].value for point in chosen],
            y=[point.figures[y].value for point in chosen],
            colour=colour,
            point_labels=[f"{point.value:g}" for point in chosen],
        )
        for axis, colour in _AXES.items()
        if (chosen := _along(points, axis, {x, y}))
    ]


def _along(points: Sequence[FrontierPoint], axis: str, keys: set[str]) -> list[FrontierPoint]:
    chosen = [point for point in points if point.axis == axis and keys <= point.figures.keys()]
    return sorted(chosen, key=lambda point: point.value)


def _anchors(report: Report, probes: Probes, x: str, y: str) -> list[Mark]:
    """Rows that need no model; those of the table only where the number of contexts is no matter.

    Dist falls as contexts are added, and the frontier was drawn on some of them.
    """
    rows = probes.anchors or [row for row in report.rows if row.role is not Role.SYSTEM]
    if not probes.anchors and x.startswith("dist"):
        return []
    return [
        Mark(
            label=_shortened(row.name),
            x=row.figures[x].value,
            y=row.figures[y].value if y in row.figures else None,
            colour=_COLOURS[row.role],
        )
        for row in rows
        if x in row.figures and (y in row.figures or row.role is Role.HUMAN)
    ]


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else f"{name[: _LONGEST_LABEL - 1]}…"
