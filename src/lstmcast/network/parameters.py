"""Parameters as named views into one flat vector, and their gradients likewise."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from lstmcast.arrays import Array, shared_zeros
from lstmcast.errors import InvalidError
from lstmcast.network.description import Network


def named_views(flat: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Cut a flat vector (P,), an array or a tensor, into named views of the given shapes, one after another."""
    views: dict[str, Any] = {}
    start = 0
    for name, shape in shapes.items():
        stop = start + prod(shape)
        views[name] = flat[start:stop].reshape(shape)
        start = stop
    return views


class Parameters:
    """A network's parameters and gradient, each one vector and the views into it.

    Optimizers see `values` and `gradient`; engines see the views. Both are only ever written in place.

    Attributes:
        values: ``(P,)``.
        gradient: ``(P,)``.
        views: name to view of `values`.
        gradient_views: name to view of `gradient`.
    """

    def __init__(self, network: Network, dtype: DTypeLike = np.float64, *, shared: bool = False) -> None:
        """Make parameters of value 0; ``shared``: processes forked after this see what becomes of them."""
        self.values: Array = (shared_zeros if shared else np.zeros)((network.size,), dtype)
        self.gradient: Array = np.zeros(network.size, dtype)
        self.views = named_views(self.values, network.shapes)
        self.gradient_views = named_views(self.gradient, network.shapes)

    def initialize(self, network: Network, random: np.random.Generator) -> None:
        """Draw every parameter from U(-1/√k, 1/√k).

        k is the hidden size in a cell and the number of inputs in a linear layer, as in
        https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html and ``torch.nn.Linear``.
        """
        for name, view in self.views.items():
            part, layer, _ = name.split(".")
            fan = network.hidden_sizes[int(layer)] if part == "cells" else self.views[f"head.{layer}.weight"].shape[1]
            view[...] = random.uniform(-1, 1, view.shape) / np.sqrt(fan)

    def load(self, arrays: Mapping[str, Array]) -> None:
        """Copy named arrays in; names, shapes and types must be this network's, values finite.

        Raises:
            InvalidError: if a name is missing or unknown, a shape or type differs, or a value is not finite.
        """
        if arrays.keys() != self.views.keys():
            odd = sorted(arrays.keys() ^ self.views.keys())
            raise InvalidError(f"checkpoint: parameters missing or unknown: {', '.join(odd[:5])}")
        for name, view in self.views.items():
            array = arrays[name]
            if array.shape != view.shape:
                raise InvalidError(f"checkpoint: {name} has shape {array.shape}, the network's is {view.shape}")
            if array.dtype != view.dtype:
                raise InvalidError(f"checkpoint: {name} is of {array.dtype}, the network's of {view.dtype}")
            if not np.isfinite(array).all():
                raise InvalidError(f"checkpoint: {name} holds values that are not finite")
        for name, view in self.views.items():
            view[...] = arrays[name]
