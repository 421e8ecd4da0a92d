"""The array type and the legend of shapes used throughout.

N sequences (B in a batch), T time, F features, O outputs, H hidden, K steps fed back, P parameters.
Arrays cross module borders as ``(N, T, F)``; inside the NumPy engine they are ``(T, F, B)``.
"""

from __future__ import annotations

from math import prod
from mmap import mmap
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its axes of size 1."""
    return tuple(size for size in shape if size != 1)


def shared_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return zeros in memory that processes forked after this share with this one."""
    memory = mmap(-1, max(1, prod(shape) * np.dtype(dtype).itemsize))
    array: Array = np.frombuffer(memory, dtype, prod(shape)).reshape(shape)
    return array


def finite_or_none(value: float | None) -> float | None:
    """Return a number as JSON has it: None in the place of NaN and infinities."""
    return value if value is not None and np.isfinite(value) else None
