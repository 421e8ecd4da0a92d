"""Classes in the place of values: bins of amplitude, symbols of a text."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch


@dataclass(frozen=True)
class Bins:
    """Equal bins of amplitude; the outermost take in what lies beyond."""

    low: float
    high: float
    classes: int

    def encode(self, values: Array) -> Array:
        """Return the bin of each value, in the same shape."""
        share = (values - self.low) / (self.high - self.low)
        codes: Array = np.clip(share * self.classes, 0, self.classes - 1).astype(np.int64)
        return codes

    @property
    def width(self) -> float:
        """The width of a bin."""
        return (self.high - self.low) / self.classes

    @property
    def centres(self) -> Array:
        """The middle of each bin, ``(classes,)``."""
        return self.low + (np.arange(self.classes) + 0.5) * self.width

    def decode(self, codes: Array) -> Array:
        """Return the middle of each code's bin, in the same shape."""
        centres: Array = self.centres[codes]
        return centres


def one_hot(codes: Array, classes: int) -> Array:
    """Return ``codes`` (..., 1) of 0 to ``classes`` - 1 as ``(..., classes)``."""
    hot = np.zeros((*codes.shape[:-1], classes))
    np.put_along_axis(hot, codes, 1.0, axis=-1)
    return hot


def one_hot_batch(batch: Batch, classes: int) -> Batch:
    """Turn a batch's codes ``(N, T, 1)`` into one-hot rows ``(N, T, classes)``."""
    return replace(batch, inputs=one_hot(batch.inputs, classes), targets=one_hot(batch.targets, classes))


def draw(logits: Array, temperature: float, random: np.random.Generator) -> Array:
    """Draw a class from softmax(logits / temperature) for each row of ``(N, classes)``: ``(N,)``.

    By the Gumbel-max trick: argmax of logits / temperature + Gumbel noise is such a draw; temperature 0 takes
    the likeliest class. Source: https://arxiv.org/abs/1411.0030
    """
    if temperature == 0:
        chosen: Array = logits.argmax(axis=1)
    else:
        chosen = (logits / temperature + random.gumbel(size=logits.shape)).argmax(axis=1)
    return chosen
