"""A benchmark as tables a person reads."""

from rich.console import Console
from rich.table import Table

from train.benchmark.figures import Benchmark, GrowthPoint, Roofline, StepFigures

_MIB = 1 << 20


def show(found: Benchmark, console: Console) -> None:
    """Summary, operators and growth."""
    for line in _summary(found):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_operators(found.roofline))
    if found.growth:
        console.print(_growth(found.growth))


def _summary(found: Benchmark) -> list[str]:
    machine, step = found.machine, found.step
    lines = [
        f"{found.variant} {found.preset}, batch {found.batch_size}, "
        f"{step.parameters / 1e6:.1f} million parameters; "
        f"{found.pairs:,} pairs ({found.pairs_from})",
        f"{machine.processor}, {machine.precision}, torch {machine.torch}; a large square "
        f"product reaches {_rate(machine.square_flops)}",
        f"{step.pairs_per_second:,.0f} pairs/s, {step.tokens_per_second:,.0f} tokens/s, "
        f"{1e3 * step.median_seconds:,.1f} ms a step (median of {len(step.seconds)}), "
        f"{step.memory_bytes / _MIB:,.0f} MiB beside {_held(step)} held before",
        f"{found.flops_per_step / 1e9:,.2f} GFLOP a step, {_rate(found.flops_per_second)}: "
        f"{found.share_of_ceiling:.0%} of the same matrix products alone",
    ]
    if found.plain:
        lines.append(
            f"plain library step: {1e3 * found.plain.median_seconds:,.1f} ms, "
            f"{found.plain.times_longer:.1f} times longer"
        )
    return lines


def _held(step: StepFigures) -> str:
    return f"{(step.peak_bytes - step.memory_bytes) / _MIB:,.0f} MiB"


def _rate(flops_per_second: float) -> str:
    return f"{flops_per_second / 1e9:,.1f} GFLOP/s"


def _operators(roofline: Roofline) -> Table:
    table = Table("operator", title="Operators of a step, each alone", title_justify="left")
    for column in ("ms", "of the step", "GFLOP", "GFLOP/s", "ceiling ms", "of its ceiling"):
        table.add_column(column, justify="right")
    for one in roofline.operators:
        table.add_row(
            one.name,
            f"{1e3 * one.seconds:,.2f}",
            f"{one.seconds / roofline.step_seconds:.0%}",
            f"{one.flops / 1e9:,.2f}" if one.flops else "",
            f"{one.flops_per_second / 1e9:,.1f}" if one.flops else "",
            "" if one.ideal_seconds is None else f"{1e3 * one.ideal_seconds:,.2f}",
            "" if one.share is None else f"{one.share:.0%}",
        )
    ideal = sum(one.ideal_seconds or 0.0 for one in roofline.operators if one.flops)
    table.add_section()
    table.add_row(
        "whole step",
        f"{1e3 * roofline.step_seconds:,.2f}",
        "100%",
        f"{roofline.flops / 1e9:,.2f}",
        f"{roofline.flops / roofline.step_seconds / 1e9:,.1f}",
        f"{1e3 * ideal:,.2f}",
        f"{roofline.share:.0%}",
    )
    table.caption = (
        "Ceiling: the operator's matrix products over real tokens, alone, in the same rounds; "
        "of the optimiser, moving as many bytes. The whole step's counts the products."
    )
    table.caption_justify = "left"
    return table


def _growth(points: tuple[GrowthPoint, ...]) -> Table:
    table = Table("size", title="Growth, one size at a time", title_justify="left")
    for column in ("", "pairs/s", "us a pair", "times", "MiB", "times"):
        table.add_column(column, justify="right")
    first = {point.axis: point.step for point in points if point.factor == 1}
    for point in points:
        step, base = point.step, first[point.axis]
        if point.factor == 1:
            table.add_section()
        table.add_row(
            point.axis,
            f"{point.size:,}",
            f"{step.pairs_per_second:,.0f}",
            f"{1e6 / step.pairs_per_second:,.0f}",
            f"{base.pairs_per_second / step.pairs_per_second:.2f}",
            f"{step.memory_bytes / _MIB:,.0f}",
            f"{step.memory_bytes / max(1, base.memory_bytes):.2f}",
        )
    return table
