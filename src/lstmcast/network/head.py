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

    It stands on the top state ``h`` (T, H, B) and the inputs ``x`` (T, F, B).
    """

    def __init__(self, network: Network, views: Mapping[str, Array], h: Array, x: Array) -> None:
        T, _, B = h.shape
        # views are made once: making them costs as much as a small product
        layers = range(len(network.head_sizes) + 1)
        self._layers = [(views[f"head.{k}.weight"], views[f"head.{k}.bias"][:, None]) for k in layers]
        self._inputs = [h, *(np.zeros((T, width, B), h.dtype) for width in network.head_sizes)]
        self._gradients = [np.zeros((T, width, B), h.dtype) for width in network.head_sizes]
        self._last_input = x[:, : network.output_size] if network.residual else None

    def forward(self, where: int | slice, y: Array) -> None:
        """Write the predictions at ``where`` to those of y (T, O, B)."""
        last = len(self._inputs) - 1
        for k, (u, (W, b)) in enumerate(zip(self._inputs, self._layers)):  # noqa: B905  (a keyword costs time)
            out = y if k == last else self._inputs[k + 1]
            v = np.matmul(W, u[where], out=out[where])
            v += b
            if k < last:
                v *= v.real > 0
        if self._last_input is not None:
            v += self._last_input[where]

    def backward(self, where: int | slice, dy: Array) -> Array:
        """Return dL/dh at ``where``, given dL/dy there, of dy (T, O, B)."""
        for k in range(len(self._inputs) - 1, -1, -1):
            dv = dy if k == len(self._gradients) else self._gradients[k]
            du: Array = np.matmul(self._layers[k][0].T, dv[where])
            if k:
                np.multiply(du, self._inputs[k][where].real > 0, out=self._gradients[k - 1][where])
        return du

    def add_gradient(self, where: slice, dy: Array, views: Mapping[str, Array]) -> None:
        """Add the parameters' gradients over the steps at ``where``."""
        for k, (u, dv) in enumerate(zip(self._inputs, (*self._gradients, dy), strict=True)):
            views[f"head.{k}.weight"][...] += np.matmul(dv[where], u[where].swapaxes(1, 2)).sum(axis=0)
            views[f"head.{k}.bias"][...] += dv[where].sum(axis=(0, 2))
