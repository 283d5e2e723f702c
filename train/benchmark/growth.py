"""How time and memory of a step grow with one size at a time, each point in a fresh process.

A process that has measured one case holds memory of it, so the next one would look smaller than
it is.
"""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace

from dialog_service.errors import ConfigError
from train.benchmark.clock import MemoryGauge
from train.benchmark.figures import Axis, GrowthPoint, StepFigures
from train.benchmark.measurement import Effort, measure_steps
from train.benchmark.workbench import Case, Workbench
from train.overrides import overridden

FACTORS = (2, 4)


@dataclass(frozen=True, slots=True)
class Grown:
    """A case with one size multiplied; ``size`` is what it became."""

    axis: Axis
    factor: int
    size: int
    case: Case


def grown_cases(case: Case) -> list[Grown]:
    """Axis by axis: the case itself, then with that axis's size at each factor."""
    by_factor = [list(_grown(case, factor)) for factor in (1, *FACTORS)]
    return [grown for axis in zip(*by_factor, strict=True) for grown in axis]


def _grown(case: Case, factor: int) -> Iterator[Grown]:
    config = case.config
    batch = config.optimisation.batch_size * factor
    words = config.data.vocabulary_size * factor
    encoder = config.model.encoder.hidden_size * factor
    decoder = config.model.decoder.hidden_size * factor
    sizes = [f"model.encoder.hidden_size={encoder}", f"model.decoder.hidden_size={decoder}"]
    changed: tuple[tuple[Axis, int, list[str]], ...] = (
        ("batch size", batch, [f"optimisation.batch_size={batch}"]),
        ("vocabulary", words, [f"data.vocabulary_size={words}"]),
        ("hidden size", decoder, sizes),
    )
    for axis, size, values in changed:
        pairs = max(case.pairs, batch)
        yield Grown(
            axis, factor, size, replace(case, config=overridden(config, values), pairs=pairs)
        )
    pairs = case.pairs * factor
    yield Grown("corpus", factor, pairs, replace(case, pairs=pairs))


def measure_growth(case: Case, effort: Effort) -> Iterator[GrowthPoint]:
    """Each point of each axis, in order, as it is measured; the case itself is measured once.

    Raises:
        ConfigError: a point's process died, as one that outgrows the memory does.
    """
    itself = in_fresh_process(case, effort)
    for grown in grown_cases(case):
        step = itself if grown.factor == 1 else in_fresh_process(grown.case, effort)
        yield GrowthPoint(axis=grown.axis, factor=grown.factor, size=grown.size, step=step)


def in_fresh_process(case: Case, effort: Effort) -> StepFigures:
    """A case measured where nothing was measured before.

    Raises:
        ConfigError: the process died.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure_case, case, effort).result()
        except BrokenProcessPool as error:
            raise ConfigError(
                "growth: the process that measured a larger case was killed, perhaps for its "
                "memory; --no-growth leaves the table out"
            ) from error


def measure_case(case: Case, effort: Effort) -> StepFigures:
    """A case on synthetic pairs, built and stepped in this process."""
    gauge = MemoryGauge(case.target)
    return measure_steps(Workbench(case), gauge, effort)
