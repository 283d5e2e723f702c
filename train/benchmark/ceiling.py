"""What the machine can do: a step's matrix products and passes over memory, nothing else."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from train.benchmark.products import Product

SQUARE = Product(1024, 1024, 1024)


def products_alone(
    products: Iterable[Product], dtype: torch.dtype, device: torch.device
) -> Callable[[], None]:
    """Does products one after the other, with operands and results laid out before."""
    ordered = tuple(products)
    laid_out = {shape: _laid_out(shape, dtype, device) for shape in map(_shape, ordered)}

    def run() -> None:
        for product in ordered:
            left, right, result = laid_out[_shape(product)]
            for _ in range(product.times):
                torch.mm(left, right, out=result)

    return run


def _shape(product: Product) -> tuple[int, int, int]:
    return product.rows, product.inner, product.columns


def _laid_out(
    shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(M, K), (K, N) laid out as a weight (N, K) is, and the (M, N) result."""
    rows, inner, columns = shape
    left = torch.rand(rows, inner, device=device).to(dtype)
    right = torch.rand(columns, inner, device=device).to(dtype).T
    return left, right, torch.empty(rows, columns, dtype=dtype, device=device)


def update_alone(parameters: int, device: torch.device) -> Callable[[], None]:
    """Moves what the gradients' norm and Adam move, eight numbers a parameter, in place.

    Adam reads the parameter, its gradient and two moments, and writes all but the gradient, which
    the norm reads too.
    """
    state = torch.rand(4, parameters, device=device)

    def run() -> None:
        state.neg_()  # reads and writes four

    return run
