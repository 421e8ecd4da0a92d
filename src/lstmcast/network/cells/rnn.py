"""Elman's recurrent cell with tanh, as ``torch.nn.RNNCell``.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.RNNCell.html
Notation as in ``lstm.py``.
"""

from __future__ import annotations

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import JointWeights


class RNN(JointWeights):
    """h = tanh(W [x; h'; 1])."""

    torch_name = "RNN"
    gates = 1
    rows = 1
    gate_names: tuple[str, ...] = ()
    states = 1

    def forward(self, a: Array, h_prev: Array, c_prev: Array, h: Array, c: Array, tanh_c: Array) -> None:  # noqa: ARG002
        """Leave h in ``a``."""
        # (1) h = tanh(a)
        np.tanh(a, out=a)
        h[...] = a

    def backward(self, a: Array, h_prev: Array, c_prev: Array, tanh_c: Array, dh: Array, dc: Array) -> None:  # noqa: ARG002
        """Overwrite h in ``a`` by da."""
        # (1') da = dh * (1 - h²)
        a *= a
        np.subtract(1, a, out=a)
        a *= dh
        # h' is reached through a alone
        dh[...] = 0
