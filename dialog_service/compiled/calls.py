"""Calling what is compiled: structures that C++ reads, filled with the addresses of tensors."""

import ctypes
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dialog_service.compiled.build import Source, library

POINTER, COUNT = ctypes.c_void_p, ctypes.c_int64


def fields(kind: Any, names: str) -> list[tuple[str, Any]]:
    """``_fields_`` of one kind, by their names."""
    return [(name, kind) for name in names.split()]


def pointers(*tensors: Tensor | None) -> list[int | None]:
    """The addresses of tensors, which somebody has to hold until the call returns.

    Raises:
        ValueError: one of them has gaps between its rows.
    """
    if not all(tensor is None or tensor.is_contiguous() for tensor in tensors):
        raise ValueError("the kernels read rows that lie one after the other")
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


def opened(source: Source, calls: Mapping[str, type[ctypes.Structure]]) -> ctypes.CDLL:
    """The library of a source, compiled if need be, and the structure that each function takes.

    Raises:
        BuildError: it cannot be compiled.
        OSError: it cannot be loaded.
    """
    found = ctypes.CDLL(str(library(source)))
    for name, call in calls.items():
        function = getattr(found, name)
        function.argtypes, function.restype = [ctypes.POINTER(call)], None
    return found
