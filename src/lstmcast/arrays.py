"""The array type and the legend of shapes used throughout.

N sequences (B in a batch), T time, F features, O outputs, H hidden, K steps fed back, P parameters.
Arrays cross module borders as ``(N, T, F)``; inside the NumPy engine they are ``(T, F, B)``.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
