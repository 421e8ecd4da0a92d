"""The head: linear layers with ReLU between them, from the top state to the prediction, by hand.

    u_0 = h,   u_k = relu(W_k u_(k-1) + b_k),   y = W_n u_(n-1) + b_n  [+ x]

It reads and writes one step, or many at once, of arrays ``(T, features, B)``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.description import Network


class Head:
    """A head with parameters ``views`` (by name), and its memory of T steps.

    It stands on the top state, [1; h] of each step, ``z`` (T, 1 + H, B), and the inputs ``x`` (T, F, B).
    """

    def __init__(self, network: Network, views: Mapping[str, Array], z: Array, x: Array) -> None:
        (T, _, B), widths = z.shape, network.head_sizes
        self._layers = [(views[f"head.{k}.weight"], views[f"head.{k}.bias"]) for k in range(len(widths) + 1)]
        # [1; u] of each layer: one product [b W] [1; u] serves bias and weight
        self._inputs = [z, *(np.ones((T, 1 + width, B), z.dtype) for width in widths)]
        self._hidden = [inputs[:, 1:] for inputs in self._inputs]
        self._gradients = [np.zeros((T, width, B), z.dtype) for width in widths]
        self._last_input = x[:, : network.output_size] if network.residual else None
        self._packed = [np.empty((len(W), 1 + W.shape[1]), W.dtype) for W, _ in self._layers]
        self.load()

    def load(self) -> None:
        """Take the parameters as they are now."""
        for packed, (W, b) in zip(self._packed, self._layers, strict=True):
            packed[:, 0] = b
            packed[:, 1:] = W

    def forward(self, where: int | slice, out: Array | None = None) -> Array:
        """Return the predictions at ``where``, written to ``out`` if given."""
        for k, hidden in enumerate(self._hidden[1:]):
            u = np.matmul(self._packed[k], self._inputs[k][where], out=hidden[where])
            u *= u.real > 0
        y: Array = np.matmul(self._packed[-1], self._inputs[-1][where], out)
        if self._last_input is not None:
            y += self._last_input[where]
        return y

    def backward(self, where: int | slice, dy: Array) -> Array:
        """Return dL/dh at ``where``, given dL/dy there, of dy (T, O, B)."""
        for k in range(len(self._inputs) - 1, -1, -1):
            dv = dy if k == len(self._gradients) else self._gradients[k]
            du: Array = np.matmul(self._layers[k][0].T, dv[where])
            if k:
                np.multiply(du, self._hidden[k][where].real > 0, out=self._gradients[k - 1][where])
        return du

    def add_gradient(self, where: slice, dy: Array, views: Mapping[str, Array]) -> None:
        """Add the parameters' gradients over the steps at ``where``."""
        for k, (inputs, dv) in enumerate(zip(self._inputs, (*self._gradients, dy), strict=True)):
            dW = np.matmul(dv[where], inputs[where].swapaxes(1, 2)).sum(axis=0)
            views[f"head.{k}.bias"][...] += dW[:, 0]
            views[f"head.{k}.weight"][...] += dW[:, 1:]
