"""Matrix products whose weights are laid out once and used many times.

Knows neither words nor recurrences.
"""

import contextlib
import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from dialog_service.engine.kernels import Kernels, pack

_LEVELS = 127
# Seven bits: without VNNI the CPU adds two products in 16 bits, which 127 x 127 x 2 just fits.
_NARROW_LEVELS = 63
_PACKED_FOR = 32  # rows; the layout serves any number of them
_FLOATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


Ready = tuple[Tensor, ...]
"""N rows in the numbers that are multiplied: parts with N rows each."""


class Product(ABC):
    """(N, I) float32 -> (N, O) float32, X W^T + b."""

    inputs: int

    @abstractmethod
    def ready(self, x: Tensor, /) -> Ready:
        """The rows as they are multiplied, which may be done in parts."""

    @abstractmethod
    def of(self, ready: Ready, /) -> Tensor:
        """Multiply what is ready."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Multiply N rows."""
        return self.of(self.ready(x))


def packed(
    weight: Tensor, bias: Tensor | None, precision: str, kernels: Kernels | None = None
) -> Product:
    """The product with a weight.

    Args:
        weight: (O, I) float32.
        bias: (O,) float32, or None.
        precision: "fp32", "bf16" or "int8", which only ``can_multiply_int8`` allows.
        kernels: what multiplies in int8, if it is compiled.
    """
    weight = weight.detach()
    bias = torch.zeros(len(weight), device=weight.device) if bias is None else bias.detach()
    if precision == "int8" and kernels is not None:
        return _KernelProduct(weight, bias, kernels)
    if precision == "int8":
        return _Int8Product(weight, bias) if can_pack_int8() else _NarrowInt8Product(weight, bias)
    number = _FLOATS[precision]
    is_empty = not weight.numel()  # an encoder's signal
    if weight.device.type == "cpu" and not is_empty and can_pack(number):
        return _PackedProduct(weight.to(number), bias)
    return _PlainProduct(weight.to(number), bias)


class _PlainProduct(Product):
    """Multiplied in the weight's numbers, summed in float32; bfloat16 sums are rounded once."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.inputs = weight.shape[1]
        self._weight, self._bias = weight, bias

    def ready(self, x: Tensor, /) -> Ready:
        return (x.to(self._weight.dtype),)

    def of(self, ready: Ready, /) -> Tensor:
        y = functional.linear(ready[0], self._weight)
        return y.float().add_(self._bias)


class _PackedProduct(Product):
    """The same with a weight that oneDNN has laid out, where the plain one is, at every call."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.inputs = weight.shape[1]
        self._number = weight.dtype
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_FOR)
        self._bias = bias

    def ready(self, x: Tensor, /) -> Ready:
        return (x.to(self._number),)

    def of(self, ready: Ready, /) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(*ready, self._weight, None, "none", [], "")
        return y.float().add_(self._bias)


class _KernelProduct(Product):
    """Multiplied in 8-bit integers, compiled."""

    def __init__(self, weight: Tensor, bias: Tensor, kernels: Kernels) -> None:
        self.inputs = weight.shape[1]
        self._outputs = len(weight)
        self._weights = pack(weight, bias)
        self._kernels = kernels

    def ready(self, x: Tensor, /) -> Ready:
        return (x,)

    def of(self, ready: Ready, /) -> Tensor:
        return self._kernels.multiply(self._weights, ready[0], self._outputs)


class _Int8Product(Product):
    """Multiplied in 8-bit integers; every row of W and every row of X has a scale of its own.

    Sums of integers are exact in any order, so a row's bits depend on that row alone.
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.inputs = weight.shape[1]
        self._scales = _largest(weight).squeeze(1) / _LEVELS
        self._zeros = torch.zeros(len(weight), dtype=torch.int64)
        levels = (weight / self._scales[:, None]).round().to(torch.int8)
        self._half = torch.tensor(_LEVELS + 0.5)
        self._weight = torch.ops.onednn.qlinear_prepack(levels, [_PACKED_FOR, self.inputs])
        self._bias = bias

    def ready(self, x: Tensor, /) -> Ready:
        largest = _largest(x)  # (N, 1)
        # A half more, as the conversion cuts off what follows the point.
        return torch.addcdiv(self._half, x, largest, value=_LEVELS).to(torch.uint8), largest

    def of(self, ready: Ready, /) -> Tensor:
        levels, largest = ready
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            levels, 1 / _LEVELS, _LEVELS, self._weight, self._scales, self._zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return torch.addcmul(self._bias, y, largest, out=y)


class _NarrowInt8Product(Product):
    """The same with seven bits of X, for processors that cannot add 8-bit products in 32 bits."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.inputs = weight.shape[1]
        scales = _largest(weight).squeeze(1).double() / _LEVELS
        zeros = torch.zeros(len(weight), dtype=torch.int64)
        with _quietly():
            levels = torch.quantize_per_channel(weight.float(), scales, zeros, 0, torch.qint8)
            self._weight = torch.ops.quantized.linear_prepack(levels, None)
        self._bias = bias

    def ready(self, x: Tensor, /) -> Ready:
        largest = _largest(x)  # (N, 1)
        return x / largest, largest

    def of(self, ready: Ready, /) -> Tensor:
        x, largest = ready
        y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x, 1 / _NARROW_LEVELS, _NARROW_LEVELS + 1, self._weight
        )
        return y.mul_(largest).add_(self._bias)


def _largest(rows: Tensor) -> Tensor:
    """(N, I) -> (N, 1) the greatest magnitude of each row, above zero."""
    return rows.abs().amax(dim=1, keepdim=True).clamp_min_(1e-30)


@functools.cache
def can_multiply_int8() -> bool:
    """Whether this build of torch multiplies 8-bit integers here, and rightly."""
    if can_pack_int8():
        return True
    has_kernel = "x86" in torch.backends.quantized.supported_engines
    return has_kernel and _multiplies(_NarrowInt8Product)


@functools.cache
def can_pack_int8() -> bool:
    """Whether oneDNN multiplies 8-bit integers here, with instructions made for them."""
    return bool(torch.cpu._is_vnni_supported()) and _multiplies(_Int8Product)


@functools.cache
def can_pack(number: torch.dtype) -> bool:
    """Whether oneDNN lays out weights of such numbers here, and multiplies rightly with them."""
    return _multiplies(lambda weight, bias: _PackedProduct(weight.to(number), bias))


def _multiplies(made: Callable[[Tensor, Tensor], Product]) -> bool:
    """Whether a product can be made and used here, and comes out about right."""
    weight, x = torch.linspace(-1, 1, 8 * 32).view(8, 32), torch.linspace(1, -1, 2 * 32).view(2, 32)
    try:
        found = made(weight, torch.ones(8))(x)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(found, functional.linear(x, weight, torch.ones(8)), atol=0.1)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Torch means to move quantised tensors to another library, and says so each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantize", category=UserWarning)
        yield
