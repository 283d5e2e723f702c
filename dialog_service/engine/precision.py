"""In which numbers a machine multiplies fastest."""

import torch

from dialog_service.engine.products import can_multiply_int8
from dialog_service.errors import ConfigError

FLOATS = ("auto", "fp32", "bf16")
PRECISIONS = (*FLOATS, "int8")


def resolve_precision(name: str, device: torch.device) -> str:
    """The precision that replies are computed in: "fp32", "bf16" or "int8".

    "auto" is int8 where the hardware can, else bf16 where it multiplies it natively, else fp32.

    Raises:
        ConfigError: an unknown name, or int8 where there is none.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision {name!r}: allowed are {', '.join(PRECISIONS)}")
    has_int8 = device.type == "cpu" and can_multiply_int8()
    if name == "int8" and not has_int8:
        raise ConfigError("precision 'int8': only on an x86 CPU; allowed here are fp32, bf16")
    if name != "auto":
        return name
    if has_int8:
        return "int8"
    return "bf16" if multiplies_bf16(device) else "fp32"


def resolve_float_precision(name: str, device: torch.device) -> str:
    """As ``resolve_precision``, of the floating ones alone, "fp32" and "bf16".

    Raises:
        ConfigError: another name.
    """
    if name not in FLOATS:
        raise ConfigError(f"precision {name!r}: allowed are {', '.join(FLOATS)}")
    if name != "auto":
        return name
    return "bf16" if multiplies_bf16(device) else "fp32"


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
