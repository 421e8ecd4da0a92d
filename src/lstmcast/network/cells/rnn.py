"""Elman's recurrent cell with tanh, as ``torch.nn.RNNCell``.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
Notation as in ``lstm.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import JointWeights, Keep, Views


class RNN(JointWeights):
    """h = tanh(W [x; 1; h'])."""

    torch_name: str | None = "RNN"
    torch_faster: tuple[int | None, int | None] = (None, None)
    gate_count = 1
    gate_names: tuple[str, ...] = ()
    gate_blocks: tuple[int, ...] = ()
    order = (0,)
    states = 1
    rows = 1
    sigmoids = 0
    blocks = 1
    carry: int | None = None
    apart = False
    compiles = False  # there is little between its products, and tanh alone is no faster

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Return a and h."""
        return m, h

    def forward(self, views: Views) -> None:
        """(1) h = tanh(a)."""
        a, h = views
        np.tanh(a, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """(1') ∂h/∂a = 1 - h²."""
        np.multiply(h, h, out=out)
        np.subtract(1, out, out=out)

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Return ∂h/∂a and dh."""
        return d, dh

    def backward(self, views: Views, t: int) -> None:
        """Da = dh * ∂h/∂a."""
        a, dh = views
        np.multiply(a, dh, a)

    def torch_step(self, parameters: Mapping[str, Any], x: Any, state: tuple[Any, ...], keep: Keep) -> tuple[Any, ...]:
        """(1) in torch's operations."""
        import torch

        (h,) = state
        u, v = (
            x @ parameters["weight_ih"].T + parameters["bias_ih"],
            h @ parameters["weight_hh"].T + parameters["bias_hh"],
        )
        return (keep("h", torch.tanh(keep("a_h", u + v))),)
