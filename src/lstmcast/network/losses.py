"""The losses: each returns L and dL/dy in one go, generic in dtype, complex included.

Shapes: outputs y and targets ``(T, O, B)``; weights w ``(T, 1, B)``, which sum to 1 over all steps and sequences.
To add an output, write its function and name it here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from lstmcast.arrays import Array

OutputName = Literal["value", "categorical"]


def squared_error(y: Array, target: Array, w: Array) -> tuple[np.generic, Array]:
    """L = Σ w (y - target)² / O,  dL/dy = 2 w (y - target) / O."""
    difference = y - target
    dy = difference * (w / y.shape[1])
    loss = (difference * dy).sum()
    dy *= 2
    return loss, dy


def cross_entropy(y: Array, target: Array, w: Array) -> tuple[np.generic, Array]:
    """L = -Σ w target · log p with p = softmax(y) over classes,  dL/dy = w (p - target).

    ``target`` is one-hot. The largest logit of each step is subtracted first, so nothing overflows.
    """
    # a real shift, the same for numerator and denominator, changes nothing: not even along the imaginary axis
    shifted = y - y.real.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=1, keepdims=True)
    loss = (w * (np.log(total) - (target * shifted).sum(axis=1, keepdims=True))).sum()
    p /= total
    p -= target
    p *= w
    return loss, p


LOSSES = {"value": squared_error, "categorical": cross_entropy}
