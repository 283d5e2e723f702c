"""Wall-clock time of work on a device, and the memory it took."""

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from train.launch import give_back_freed_memory

_STATUS = Path("/proc/self/status")
_LOWER_MARK = Path("/proc/self/clear_refs")


class Clock:
    """Times work on one device, whose queue is empty before and after."""

    def __init__(self, device: torch.device) -> None:
        """Of a device."""
        self._device = device

    def seconds(self, work: Callable[[], object]) -> float:
        """How long ``work`` takes until the device has done it."""
        self._wait()
        started = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


class MemoryGauge:
    """The most memory a device, or this process where that is the CPU, takes from now on."""

    def __init__(self, device: torch.device) -> None:
        """Start from what is held now, where the system lets its high-water mark be lowered."""
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            give_back_freed_memory()
            if _LOWER_MARK.exists():
                with contextlib.suppress(OSError):
                    _LOWER_MARK.write_text("5")
        self.held_bytes = self.peak_bytes()

    def peak_bytes(self) -> int:
        """The high-water mark: of the device's allocations, or of the resident set."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        # getrusage() starts a process at the peak of the one that started it; the kernel's own
        # mark does not.
        if _STATUS.exists():
            lines = _STATUS.read_text().splitlines()
            (mark,) = (line for line in lines if line.startswith("VmHWM:"))
            return int(mark.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
