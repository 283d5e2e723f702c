"""Matrix products whose weights are laid out once and used many times.

Knows neither words nor recurrences.
"""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

Product = Callable[[Tensor], Tensor]
"""(N, I) float32 -> (N, O) float32, X W^T + b."""

_WEIGHT_LEVELS = 127
# Seven bits: without VNNI the CPU adds two products in 16 bits, which 127 x 127 x 2 just fits.
_INPUT_LEVELS = 63
_INPUT_ZERO = 64


def packed(weight: Tensor, bias: Tensor | None, precision: str) -> Product:
    """The product with a weight.

    Args:
        weight: (O, I) float32.
        bias: (O,) float32, or None.
        precision: "fp32", "bf16" or "int8", which only ``can_multiply_int8`` allows.
    """
    bias = torch.zeros(len(weight), device=weight.device) if bias is None else bias.detach()
    match precision:
        case "fp32":
            return _Float32Product(weight.detach(), bias)
        case "bf16":
            return _BfloatProduct(weight.detach(), bias)
        case "int8":
            return _Int8Product(weight.detach(), bias)
    raise ValueError(f"precision {precision!r}")


class _Float32Product:
    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.float(), bias

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)


class _BfloatProduct:
    """Multiplied in bfloat16, summed in float32, the sum rounded once before the bias."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight.bfloat16(), bias

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x.bfloat16(), self._weight).float().add_(self._bias)


class _Int8Product:
    """Multiplied in 8-bit integers; every row of W and every row of X has a scale of its own.

    Sums of integers are exact in any order, so a row's bits depend on that row alone.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        scales = weight.abs().amax(dim=1).double().clamp_min_(1e-30) / _WEIGHT_LEVELS
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        with _quietly():
            levels = torch.quantize_per_channel(weight.float(), scales, zeros, 0, torch.qint8)
            self._weight = torch.ops.quantized.linear_prepack(levels, None)
        self._bias = bias

    def __call__(self, x: Tensor) -> Tensor:
        largest = x.abs().amax(dim=1, keepdim=True).clamp_min_(1e-30)  # (N, 1)
        y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / largest, 1 / _INPUT_LEVELS, _INPUT_ZERO, self._weight
        )
        return y.mul_(largest).add_(self._bias)


@functools.cache
def can_multiply_int8() -> bool:
    """Whether this build of torch multiplies 8-bit integers here, and rightly."""
    if "x86" not in torch.backends.quantized.supported_engines:
        return False
    weight = torch.linspace(-1, 1, 8 * 32).view(8, 32)
    x = torch.linspace(1, -1, 2 * 32).view(2, 32)
    try:
        found = _Int8Product(weight, torch.ones(8))(x)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, functional.linear(x, weight, torch.ones(8)), atol=0.1)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Torch means to move quantised tensors to another library, and says so each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantize", category=UserWarning)
        yield
