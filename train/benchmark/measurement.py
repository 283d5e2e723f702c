"""Whole training steps: their time and the memory they take."""

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from train.benchmark.clock import MemoryGauge
from train.benchmark.figures import StepFigures
from train.benchmark.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure one thing: some repeats at least, more while there is time."""

    seconds: float
    repeats: int = 3

    def rounds(self) -> Iterator[int]:
        """Numbers of the repeats."""
        started, done = time.monotonic(), 0
        while done < self.repeats or time.monotonic() - started < self.seconds:
            yield done
            done += 1


def measure_steps(bench: Workbench, gauge: MemoryGauge, effort: Effort) -> StepFigures:
    """Steps one after the other, after two that warm up.

    Args:
        bench: what takes them.
        gauge: begun before ``bench`` was built.
        effort: how many.
    """
    batches = bench.rows()
    for rows in islice(batches, 2):
        bench.step(rows)
    seconds: list[float] = []
    pairs = tokens = 0
    for _ in effort.rounds():
        rows = next(batches)
        seconds.append(bench.clock.seconds(lambda rows=rows: bench.step(rows)))  # type: ignore[misc]
        pairs += len(rows)
        tokens += bench.lengths_of(rows).tokens
    median, peak = statistics.median(seconds), gauge.peak_bytes()
    return StepFigures(
        seconds=tuple(seconds),
        median_seconds=median,
        pairs_per_second=pairs / len(seconds) / median,
        tokens_per_second=tokens / len(seconds) / median,
        memory_bytes=peak - gauge.held_bytes,
        peak_bytes=peak,
        parameters=bench.parameters,
    )
