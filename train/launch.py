"""Device, precision and processes of a run: a Fabric, launched."""

import ctypes
import logging
import os
import sys

import torch
from lightning_fabric import Fabric

from dialog_service.errors import ConfigError
from dialog_service.generation import resolve_device, resolve_float_precision

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_KEPT_BYTES = 2**30
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def launched(device_name: str, precision_name: str) -> Fabric:
    """Device and precision as asked; data parallel where torchrun started us.

    Raises:
        ConfigError: no such device or precision here, or fewer devices than processes.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what it is told
    keep_freed_memory()
    device = resolve_device(device_name)
    precision = _PRECISIONS[resolve_float_precision(precision_name, device)]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    _check_count(device, local)
    is_one_gpu = ranks == 1 and device.type == "cuda"
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if is_one_gpu else local,
        num_nodes=max(1, ranks // local),
        strategy="ddp" if ranks > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def keep_freed_memory() -> bool:
    """Keep what a step frees for the next one; whether the C library can be told so.

    Large tensors go back to the system otherwise, which zeroes their pages each time: a twentieth
    of a small model's step on a CPU.
    """
    library = _c_library("mallopt")
    settings = (_MMAP_THRESHOLD, _TRIM_THRESHOLD)
    if library is None:
        return False
    return all(library.mallopt(setting, _KEPT_BYTES) for setting in settings)


def give_back_freed_memory() -> None:
    """Give the system now what is kept, so that what is held is what is used."""
    if library := _c_library("malloc_trim"):
        library.malloc_trim(0)


def _c_library(function: str) -> ctypes.CDLL | None:
    """This program's, where it has a function, as not every one does."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, function) else None


def _check_count(device: torch.device, processes: int) -> None:
    """Raise ConfigError where there are fewer GPUs than processes."""
    if device.type == "cuda" and torch.cuda.device_count() < processes:
        raise ConfigError(
            f"{processes} processes need as many GPUs, there are {torch.cuda.device_count()}; "
            "start fewer, or use --device cpu"
        )
