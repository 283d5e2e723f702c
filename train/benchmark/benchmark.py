"""A benchmark from beginning to end: what is measured, in what order."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from train.benchmark.ceiling import SQUARE, products_alone
from train.benchmark.clock import MemoryGauge
from train.benchmark.figures import Benchmark, GrowthPoint, Machine
from train.benchmark.growth import grown_cases, measure_growth
from train.benchmark.measurement import Effort, measure_steps
from train.benchmark.plain import measure_plain
from train.benchmark.roofline import measure_roofline
from train.benchmark.workbench import Case, Workbench
from train.data.batches import TokenisedPairs

_CPU_INFO = Path("/proc/cpuinfo")

Enter = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """For how long to measure each thing, on how many batches operators, and what beside them."""

    effort: Effort
    roofline_batches: int
    has_growth: bool
    is_against_plain: bool


def run_benchmark(
    case: Case, plan: Plan, console: Console, pairs: TokenisedPairs | None = None
) -> Benchmark:
    """Measure a case; a bar shows how far it is.

    Args:
        case: what is measured.
        plan: what of it.
        console: where the bar is drawn.
        pairs: real ones; None makes synthetic pairs of the case's lengths.

    Raises:
        ConfigError: the case cannot be built here.
    """
    total = 2 + plan.is_against_plain + plan.has_growth * len(grown_cases(case))
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    is_shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_shown) as bar:
        shown = bar.add_task("setting up", total=total + 1)

        def enter(stage: str) -> None:
            bar.update(shown, description=stage, advance=1)

        found = _in_this_process(case, plan, enter, pairs)
        growth = _grown(case, plan.effort, enter) if plan.has_growth else ()
    return found.model_copy(update={"growth": growth})


def _grown(case: Case, effort: Effort, enter: Enter) -> tuple[GrowthPoint, ...]:
    points = []
    enter("growth")
    for point in measure_growth(case, effort):
        enter(f"growth with {point.axis}")
        points.append(point)
    return tuple(points)


def _in_this_process(
    case: Case, plan: Plan, enter: Enter, pairs: TokenisedPairs | None
) -> Benchmark:
    """Everything but growth."""
    gauge = MemoryGauge(case.target)
    bench = Workbench(case, pairs)
    enter("steps")
    step = measure_steps(bench, gauge, plan.effort)
    enter("operators and their ceilings")
    roofline = measure_roofline(bench, plan.effort, batches=plan.roofline_batches)
    plain = None
    if plan.is_against_plain:
        enter("plain steps")
        plain = measure_plain(bench, plan.effort)
    config = bench.config
    return Benchmark(
        variant=config.variant,
        preset=config.preset,
        pairs_from=config.data.corpus if pairs else f"synthetic, as long as {config.data.corpus}",
        pairs=len(bench.pairs),
        batch_size=config.optimisation.batch_size,
        machine=_machine(bench),
        step=step,
        flops_per_step=roofline.flops,
        flops_per_second=roofline.flops / step.median_seconds,
        share_of_ceiling=roofline.share,
        roofline=roofline,
        plain=plain,
        config=config.model_dump(mode="json"),
    )


def _machine(bench: Workbench) -> Machine:
    device = bench.fabric.device
    square = products_alone([SQUARE], bench.product_dtype, device)
    square()
    return Machine(
        processor=_processor(device),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        precision=bench.learner.numerics,
        square_flops=SQUARE.flops / min(bench.clock.seconds(square) for _ in range(3)),
    )


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
