"""Long short-term memory, as ``torch.nn.LSTMCell``; gates in the order i, f, g, o.

Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000;
https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html

Notation: x input, h state, c cell state, h' and c' those of the step before, a pre-activations,
dz the gradient of the loss with respect to z, * the product element by element.
"""

from __future__ import annotations

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import JointWeights


class LSTM(JointWeights):
    """h, c = LSTM(x, h', c')."""

    torch_name = "LSTM"
    gates = 4
    rows = 4
    gate_names: tuple[str, ...] = ("i", "f", "g", "o")
    states = 2

    def forward(self, a: Array, h_prev: Array, c_prev: Array, h: Array, c: Array, tanh_c: Array) -> None:  # noqa: ARG002
        """Leave the gates in ``a``."""
        H = len(h)
        i_f, g, o = a[: 2 * H], a[2 * H : 3 * H], a[3 * H :]
        # (1) i, f, o = σ(a), g = tanh(a);  σ(a) = (1 + tanh(a/2)) / 2 never overflows
        i_f *= 0.5
        o *= 0.5
        np.tanh(a, out=a)
        i_f += 1
        o += 1
        i_f *= 0.5
        o *= 0.5
        # (2) c = f * c' + i * g
        np.multiply(a[H : 2 * H], c_prev, out=c)
        np.multiply(a[:H], g, out=tanh_c)
        c += tanh_c
        # (3) h = o * tanh(c)
        np.tanh(c, out=tanh_c)
        np.multiply(o, tanh_c, out=h)

    def backward(self, a: Array, h_prev: Array, c_prev: Array, tanh_c: Array, dh: Array, dc: Array) -> None:  # noqa: ARG002
        """Overwrite the gates in ``a`` by da."""
        H = len(dh)
        i, f, g, o = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        # (3') do = dh * tanh(c),  dc = dc + dh * o * (1 - tanh²(c))
        do = dh * tanh_c
        dh *= o
        dc += dh
        dh *= tanh_c
        dh *= tanh_c
        dc -= dh
        # (2') di = dc * g,  dg = dc * i,  df = dc * c',  dc' = dc * f
        di, dg, df = dc * g, dc * i, dc * c_prev
        dc *= f
        # (1') da = ds * s * (1 - s) for a sigmoid s, da = dg * (1 - g²) for tanh
        di *= i
        df *= f
        do *= o
        g *= g
        np.subtract(1, a, out=a)
        i *= di
        f *= df
        g *= dg
        o *= do
        # h' is reached through a alone
        dh[...] = 0
