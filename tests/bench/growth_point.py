"""One point of ``growth.py`` in a process of its own, whose memory nothing else has touched.

    python tests/bench/growth_point.py CHECKPOINT --batch 16 --replies 10 --seconds 2

prints what it found as JSON.
"""

import functools
import json
from pathlib import Path
from typing import NamedTuple

import torch
import typer
from in_process import requests, seconds_each

from dialog_service.generation import Generator
from train.benchmark.clock import MemoryGauge


class Measured(NamedTuple):
    """``seconds`` until all requests of a batch have their replies.

    ``peak_bytes`` is the most that was resident meanwhile, ``model_bytes`` that less what the
    process held before it loaded the model.
    """

    seconds: float
    peak_bytes: int
    model_bytes: int
    precision: str


def measured(checkpoint: Path, *, batch: int, replies: int, seconds: float) -> Measured:
    """Reply over and over for so many seconds, three times at least; the fastest counts."""
    cpu = torch.device("cpu")
    before = MemoryGauge(cpu).held_bytes
    generator = Generator.load(checkpoint, device="cpu")
    gauge = MemoryGauge(cpu)  # anew: to load takes more for a while than to reply
    asked = requests(generator, batch, replies)
    taken = seconds_each(functools.partial(generator.generate, asked), seconds)
    peak = gauge.peak_bytes()
    return Measured(taken, peak, peak - before, generator.precision)


def main(checkpoint: Path, batch: int = 1, replies: int = 10, seconds: float = 2.0) -> None:
    """Measure one point and print it as JSON."""
    found = measured(checkpoint, batch=batch, replies=replies, seconds=seconds)
    print(json.dumps(found._asdict()))


if __name__ == "__main__":
    typer.run(main)
