"""A report as one page: every text escaped, every drawing in it, nothing fetched.

All parts but the heading are optional: a part that the report does not have leaves no gap.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dialog_service.errors import ConfigError
from train.evaluate.page.charts import (
    Chart,
    frontier,
    learning_curves,
    narrow_share,
    scale_histogram,
    standings,
)
from train.evaluate.page.legend import GRADIENTS, HEALTH, LIKELIHOODS
from train.evaluate.page.tables import (
    figure_tables,
    has_several_systems,
    headline_cards,
    margin_of,
)
from train.metrics.health import ModelHealth
from train.metrics.intervals import Estimate
from train.metrics.report import Report

PAGE = "report.html"
_COLLAPSED_KL_NATS = 0.1
_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFigure:
    """One figure of likelihood or latent, and what it means."""

    title: str
    value: str
    margin: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthPart:
    """What the page shows of a model's likelihood and latent."""

    how: str
    figures: tuple[HealthFigure, ...]
    histogram: Chart | None
    narrow_share: str
    is_collapsed: bool


def write_page(report: Report, directory: Path) -> Path:
    """Write ``report.html`` into an existing directory.

    Raises:
        ConfigError: it cannot be written.
    """
    path = directory / PAGE
    try:
        path.write_text(page(report), encoding="utf-8", errors="replace")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return path


def page(report: Report) -> str:
    """The whole page."""
    title, _, on_what = report.subject.partition(": ")
    return _PAGES.get_template("page.html").render(
        report=report,
        title=title,
        on_what=on_what,
        setting=report.rows[0].signature if report.rows else None,
        cards=headline_cards(report),
        standings=standings(report),
        tables=figure_tables(report),
        has_best=has_several_systems(report),
        curves=learning_curves(report.curves),
        health=_health(report.health) if report.health else None,
        frontier=frontier(report, report.probes) if report.probes else (),
    )


def _health(health: ModelHealth) -> HealthPart:
    how = f"{health.contexts:,} test pairs; likelihood {LIKELIHOODS[health.kind]}"
    if health.samples > 1:
        how += f"; {health.samples:,} draws of z per pair"
    scales, kl = health.posterior_scale, health.figures.get("kl")
    return HealthPart(
        how=how,
        figures=(
            *(_health_figure(key, value) for key, value in health.figures.items()),
            *(_gradient_norm(key, value) for key, value in health.gradient_norms.items()),
        ),
        histogram=scale_histogram(scales) if scales else None,
        narrow_share=f"{narrow_share(scales):.0%}" if scales else "",
        is_collapsed=kl is not None and kl.value < _COLLAPSED_KL_NATS,
    )


def _counted(replies: Sequence[str]) -> list[tuple[str, int]]:
    """Different replies in their order, each with how often it is there."""
    return list(Counter(replies).items())


_PAGES.filters["counted"] = _counted


def _gradient_norm(key: str, norm: float) -> HealthFigure:
    title = f"gradient norm, {key.replace('_', ' ')}"
    sentence = GRADIENTS.get(key, "")
    return HealthFigure(title=title, value=f"{norm:.3g}", margin="", sentence=sentence)


def _health_figure(key: str, estimate: Estimate) -> HealthFigure:
    title, decimals, sentence = HEALTH.get(key, (key.replace("_", " "), 3, ""))
    return HealthFigure(
        title=title,
        value=f"{estimate.value:.{decimals}f}",
        margin=margin_of(estimate, decimals),
        sentence=sentence,
    )
