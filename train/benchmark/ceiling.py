"""What the machine can do: the matrix products and copies of a step, and nothing else."""

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


def copies(words: int, times: int, device: torch.device) -> Callable[[], None]:
    """Copies ``words`` float32 ``times`` times: reads and writes as many."""
    source = torch.rand(words, device=device)
    target = torch.empty_like(source)

    def run() -> None:
        for _ in range(times):
            target.copy_(source)

    return run
