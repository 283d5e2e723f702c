"""Device, precision and processes of a run: a Fabric, launched."""

import logging
import os

import torch
from lightning_fabric import Fabric

from dialog_service.errors import ConfigError
from dialog_service.generation import resolve_device, resolve_precision

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def launched(device_name: str, precision_name: str) -> Fabric:
    """Device and precision as asked; data parallel where torchrun started us.

    Raises:
        ConfigError: no such device or precision here, or fewer devices than processes.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what it is told
    device = resolve_device(device_name)
    precision = _PRECISIONS[resolve_precision(precision_name, device)]
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks))
    fabric = Fabric(
        accelerator=_accelerator(device, local),
        devices=[device.index] if ranks == 1 and device.index is not None else local,
        num_nodes=max(1, ranks // local),
        strategy="ddp" if ranks > 1 else "auto",
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric


def _accelerator(device: torch.device, processes: int) -> str:
    """The accelerator of a device.

    Raises:
        ConfigError: not one that is trained on, or too few for the processes here.
    """
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: training knows auto, cpu, cuda and cuda:N")
    if device.type == "cuda" and torch.cuda.device_count() < processes:
        raise ConfigError(
            f"{processes} processes need as many GPUs, there are {torch.cuda.device_count()}; "
            "start fewer, or use --device cpu"
        )
    return device.type
