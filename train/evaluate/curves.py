"""Learning curves from the log of the run that a checkpoint came from."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dialog_service.checkpoint import BEST
from dialog_service.errors import ConfigError
from train.metrics.report import Curve

LOG = "log.jsonl"
_PLACES = ("kind", "step", "epoch", "elapsed_seconds", "samples")


@dataclass(slots=True)
class _Points:
    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


def read_curves(checkpoint: Path) -> tuple[Curve, ...]:
    """Every figure that a run logged, over its steps, in the order of the log.

    Args:
        checkpoint: a run's folder or the best checkpoint in it.

    Returns:
        one curve per kind of line and figure; none where no run's log lies beside the checkpoint.
        Lines that a kill cut short and values that are not finite are left out.

    Raises:
        ConfigError: there is a log, and it cannot be read.
    """
    log = _log_of(checkpoint)
    if log is None:
        return ()
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            return _curves(lines)
    except OSError as error:
        raise ConfigError(f"{log}: {error.strerror}") from error


def _log_of(checkpoint: Path) -> Path | None:
    """``RUN/log.jsonl``, of a ``RUN`` or a ``RUN/best``."""
    best = checkpoint.resolve()
    run = best.parent if best.name == BEST else best
    log = run / LOG
    return log if log.is_file() and (run / BEST).is_dir() else None


def _curves(lines: Iterable[str]) -> tuple[Curve, ...]:
    found: dict[str, _Points] = {}
    for name, step, value in _values(lines):
        points = found.setdefault(name, _Points())
        points.steps.append(step)
        points.values.append(value)
    return tuple(
        Curve(name=name, steps=tuple(points.steps), values=tuple(points.values))
        for name, points in found.items()
    )


def _values(lines: Iterable[str]) -> Iterator[tuple[str, int, float]]:
    for line in map(_parsed, lines):
        figures = {name: value for name, value in line.items() if name not in _PLACES}
        for name, value in filter(lambda figure: _is_number(figure[1]), figures.items()):
            yield f"{line['kind']}/{name}", int(line["step"]), float(value)


def _parsed(line: str) -> dict[str, Any]:
    """The object on a line, empty unless it says what and when."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    is_told = isinstance(parsed, dict) and "kind" in parsed and _is_number(parsed.get("step"))
    return parsed if is_told else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
