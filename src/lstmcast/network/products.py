"""The matrix products of the NumPy engine: by NumPy's BLAS, or by torch's where torch is at hand.

Most of a training step's time goes into these products. NumPy comes with OpenBLAS, torch for x86 processors with
MKL, whose products of these shapes are a third faster, and which adds to a sum in place. Both work on the same
memory; `wrap` makes what the others take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from lstmcast.arrays import Array

# numbers copied at once, so that they stay in the processor's cache
CHUNK = 2**17


class Products(Protocol):
    """The operations on matrices that the engine is made of.

    Attributes:
        multiply: writes the product of two matrices to the third.
    """

    multiply: Callable[[Any, Any, Any], object]

    def wrap(self, array: Array) -> Any:
        """Return what `multiply` takes in the place of an array; it shares its memory."""
        ...

    def wrap_weight(self, W: Array) -> Any:
        """Return what `multiply` takes first, step after step, in the place of a matrix: perhaps a copy."""
        ...

    def add_sum(self, total: Array, left: Array, right: Array) -> None:
        """Add Σ_t left(t) right(t)ᵀ to ``total`` (R, C), of ``(T, R, B)`` and ``(T, C, B)``."""
        ...


class NumpyProducts:
    """Products by NumPy."""

    multiply: Callable[[Any, Any, Any], object] = staticmethod(np.matmul)

    def wrap(self, array: Array) -> Array:
        """Return the array."""
        return array

    def wrap_weight(self, W: Array) -> Array:
        """Return a copy with its columns together: products of few sequences are up to a third faster.

        It begins with a cache line, which gives them another sixth.
        """
        line = 64
        memory = np.empty(W.nbytes + line, np.uint8)
        start = -memory.__array_interface__["data"][0] % line
        copy = memory[start : start + W.nbytes].view(W.dtype).reshape(W.shape, order="F")
        copy[...] = W
        return copy

    def add_sum(self, total: Array, left: Array, right: Array) -> None:
        """Add Σ_t left(t) right(t)ᵀ: many steps make one large product, few enough that they stay in cache."""
        (T, R, B), C = left.shape, right.shape[1]
        chunk = max(1, CHUNK // ((R + C) * B))
        for start in range(0, T, chunk):
            part = slice(start, start + chunk)
            total += left[part].swapaxes(0, 1).reshape(R, -1) @ right[part].swapaxes(0, 1).reshape(C, -1).T


class TorchProducts:
    """Products by torch, on the arrays' own memory."""

    def __init__(self) -> None:
        import torch

        mm = torch.mm
        self.multiply: Callable[[Any, Any, Any], object] = lambda left, right, out: mm(left, right, out=out)
        self.wrap: Callable[[Array], Any] = torch.from_numpy
        self.wrap_weight = self.wrap

    def add_sum(self, total: Array, left: Array, right: Array) -> None:
        """Add Σ_t left(t) right(t)ᵀ, one product after another, in place."""
        self.wrap(total).addbmm_(self.wrap(left), self.wrap(right).transpose(1, 2))
