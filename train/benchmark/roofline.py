"""The operators of a step, each beside the same shapes' matrix products, measured in turns."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from torch import Tensor

from train.benchmark.ceiling import products_alone, update_alone
from train.benchmark.figures import OperatorFigures, Roofline
from train.benchmark.measurement import Effort
from train.benchmark.operators import Operator, operators_of_step
from train.benchmark.products import flops_of
from train.benchmark.work import products_of_step
from train.benchmark.workbench import Workbench


def measure_roofline(bench: Workbench, effort: Effort, *, batches: int) -> Roofline:
    """Every operator of a step beside its ceiling, and the step, on the same few batches.

    A figure is the mean over the batches of the median over rounds, in each of which everything
    is measured once: a machine that slows down slows all of it. ``effort`` is for all batches.
    """
    share = Effort(seconds=effort.seconds / batches, repeats=effort.repeats)
    return _mean([_of_batch(bench, rows, share) for rows in islice(bench.rows(), batches)])


def _of_batch(bench: Workbench, rows: Tensor, effort: Effort) -> Roofline:
    operators = operators_of_step(bench, rows)
    work = products_of_step(bench.config, bench.lengths_of(rows))
    alone: dict[str, Callable[[], None]] = {
        name: products_alone(products, bench.product_dtype, bench.fabric.device)
        for name, products in work.items()
        if products
    }
    alone["optimiser"] = update_alone(bench.parameters, bench.fabric.device)
    timed = [
        Operator("step", lambda: bench.step(rows)),
        *operators,
        *(Operator(f"{name} alone", run) for name, run in alone.items()),
    ]
    seconds = _medians(bench, timed, effort)
    return Roofline(
        step_seconds=seconds["step"],
        operators=tuple(
            OperatorFigures(
                name=operator.name,
                seconds=seconds[operator.name],
                flops=flops_of(work.get(operator.name, ())),
                ideal_seconds=seconds.get(f"{operator.name} alone"),
            )
            for operator in operators
        ),
    )


def _medians(bench: Workbench, timed: Sequence[Operator], effort: Effort) -> Mapping[str, float]:
    """Median seconds of each, after a round that warms up."""
    seconds: dict[str, list[float]] = {one.name: [] for one in timed}
    _round(bench, timed, {one.name: [] for one in timed})
    for _ in effort.rounds():
        _round(bench, timed, seconds)
    return {name: statistics.median(found) for name, found in seconds.items()}


def _round(bench: Workbench, timed: Sequence[Operator], seconds: Mapping[str, list[float]]) -> None:
    for one in timed:
        one.prepare()
        seconds[one.name].append(bench.clock.seconds(one.run))


def _mean(rooflines: Sequence[Roofline]) -> Roofline:
    """The mean of each figure."""
    return Roofline(
        step_seconds=statistics.fmean(one.step_seconds for one in rooflines),
        operators=tuple(
            _mean_operator(same) for same in zip(*(one.operators for one in rooflines), strict=True)
        ),
    )


def _mean_operator(same: Sequence[OperatorFigures]) -> OperatorFigures:
    ideal = [one.ideal_seconds for one in same if one.ideal_seconds is not None]
    return OperatorFigures(
        name=same[0].name,
        seconds=statistics.fmean(one.seconds for one in same),
        flops=round(statistics.fmean(one.flops for one in same)),
        ideal_seconds=statistics.fmean(ideal) if ideal else None,
    )
