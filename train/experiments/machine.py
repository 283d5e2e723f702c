"""What a row was trained on: the figures beside a row say little without it."""

import os
import platform
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict


class Machine(BaseModel):
    """Processor, graphics processor if it was used, and the library that did the work."""

    model_config = ConfigDict(frozen=True)

    cpu: str
    cores: int
    gpu: str | None
    torch: str

    def __str__(self) -> str:
        """For the table."""
        return f"{self.gpu or f'{self.cpu}, {self.cores} cores'}, torch {self.torch}"


def this_machine(device: str) -> Machine:
    """The machine this process runs on; its GPU where ``device`` (auto, cpu, cuda ...) uses one."""
    return Machine(
        cpu=_cpu_model(),
        cores=usable_cores(),
        gpu=torch.cuda.get_device_name() if uses_cuda(device) else None,
        torch=torch.__version__,
    )


def uses_cuda(device: str) -> bool:
    """Whether a run on ``device`` is on a GPU."""
    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
