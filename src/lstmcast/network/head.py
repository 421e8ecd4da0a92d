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

    Attributes:
        y: the predictions, ``(T, O, B)``.
    """

    def __init__(self, network: Network, views: Mapping[str, Array], h: Array, x: Array) -> None:
        T, _, B = h.shape
        widths = (*network.head_sizes, network.output_size)
        self._views = views
        self._inputs = [h, *(np.zeros((T, width, B), h.dtype) for width in network.head_sizes)]
        self._gradients = [np.zeros((T, width, B), h.dtype) for width in widths]
        self._last_input = x[:, : network.output_size] if network.residual else None
        self.y: Array = np.zeros((T, network.output_size, B), h.dtype)

    def forward(self, where: int | slice) -> Array:
        """Write and return the predictions at ``where``."""
        last = len(self._inputs) - 1
        for k, u in enumerate(self._inputs):
            out = self.y if k == last else self._inputs[k + 1]
            v = np.matmul(self._views[f"head.{k}.weight"], u[where], out=out[where])
            v += self._views[f"head.{k}.bias"][:, None]
            if k < last:
                v *= v.real > 0
        y: Array = self.y[where]
        if self._last_input is not None:
            y += self._last_input[where]
        return y

    def backward(self, where: int | slice, dy: Array) -> Array:
        """Return dL/dh at ``where``, given dL/dy ``(T, O, B)`` there."""
        self._gradients[-1][where] = dy[where]
        for k in range(len(self._inputs) - 1, -1, -1):
            du: Array = np.matmul(self._views[f"head.{k}.weight"].T, self._gradients[k][where])
            if k:
                np.multiply(du, self._inputs[k][where].real > 0, out=self._gradients[k - 1][where])
        return du

    def write_gradient(self, start: int, views: Mapping[str, Array]) -> None:
        """Write the parameters' gradients, summed over the steps from ``start`` on."""
        for k, (u, dv) in enumerate(zip(self._inputs, self._gradients, strict=True)):
            product = np.matmul(dv[start:], u[start:].swapaxes(1, 2))
            views[f"head.{k}.weight"][...] = product.sum(axis=0)
            views[f"head.{k}.bias"][...] = dv[start:].sum(axis=(0, 2))
