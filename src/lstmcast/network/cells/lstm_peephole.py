"""Long short-term memory whose gates see the cell state through peepholes.

Source: Gers and Schmidhuber 2000, Recurrent nets that time and count, https://doi.org/10.1109/IJCNN.2000.861302;
equations as in Gers, Schraudolph and Schmidhuber 2002, https://www.jmlr.org/papers/v3/gers02a.html, with one cell in
each block. As in later work the cell's candidate and its output go through tanh.

Notation as in ``lstm.py``. The input gate and the forget gate see c', the output gate sees c, each through one weight
a unit: ``weight_ci``, ``weight_cf``, ``weight_co``. The blocks of the memory are those of ``lstm.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import JointWeights, Keep, Views, one_and_half


class LSTMPeephole(JointWeights):
    """h, c = LSTM(x, h', c') with peepholes p_i, p_f, p_o."""

    torch_name: str | None = None
    torch_faster: tuple[int | None, int | None] = (None, None)
    gate_count = 4
    gate_names: tuple[str, ...] = ("i", "f", "g", "o")
    gate_blocks: tuple[int, ...] = (1, 2, 3, 0)
    elementwise: tuple[str, ...] = ("weight_ci", "weight_cf", "weight_co")
    order = (3, 0, 1, 2)
    states = 2
    rows = 4
    sigmoids = 3
    blocks = 6
    carry: int | None = 4
    apart = False
    compiles = False

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Cut the blocks out of m; c goes to the next step's c'."""
        H = len(h)
        blocks = tuple(m[k * H : (k + 1) * H] for k in range(6))
        return *one_and_half(m.dtype), *blocks, m_next[4 * H : 5 * H], h, scratch[:H], e[:H], e[H : 2 * H], e[2 * H :]

    def forward(self, views: Views) -> None:
        """Leave the gates in the place of the pre-activations, of which a_i, a_f and a_o come halved."""
        one, half, o, i, f, g, c_prev, tanh_c, c, h, scratch, p_i, p_f, p_o = views
        # (1) i = σ(a_i + p_i * c'), f = σ(a_f + p_f * c'), g = tanh(a_g);  σ(a) = (1 + tanh(a/2)) / 2
        for gate, p in ((i, p_i), (f, p_f)):
            np.multiply(c_prev, p, scratch)
            np.multiply(scratch, half, scratch)
            np.add(gate, scratch, gate)
            np.tanh(gate, gate)
            np.add(gate, one, gate)
            np.multiply(gate, half, gate)
        np.tanh(g, g)
        # (2) c = i * g + f * c'
        np.multiply(i, g, scratch)
        np.multiply(f, c_prev, c)
        np.add(c, scratch, c)
        # (3) o = σ(a_o + p_o * c), h = o * tanh(c)
        np.multiply(c, p_o, scratch)
        np.multiply(scratch, half, scratch)
        np.add(o, scratch, o)
        np.tanh(o, o)
        np.add(o, one, o)
        np.multiply(o, half, o)
        np.tanh(c, tanh_c)
        np.multiply(o, tanh_c, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """Write ∂h/∂a_o, ∂c/∂a_i, ∂c/∂a_f, ∂c/∂a_g, ∂c/∂c', ∂h/∂c to the blocks of ``out``."""
        H = h.shape[1]
        o, i, f, g, c_prev, tanh_c = (m[:, k * H : (k + 1) * H] for k in range(6))
        to_o, to_i, to_f, to_g, to_c_prev, to_c = (out[:, k * H : (k + 1) * H] for k in range(6))
        p_i, p_f, p_o = e.reshape(3, H, 1)
        # (3') ∂h/∂a_o = h * (1 - o),  ∂h/∂c = o * (1 - tanh²(c)) + ∂h/∂a_o * p_o
        to_o[...] = h * (1 - o)
        to_c[...] = o - h * tanh_c + to_o * p_o
        # (2') ∂c/∂a_i = g * i * (1 - i),  ∂c/∂a_f = c' * f * (1 - f),  ∂c/∂a_g = i * (1 - g²)
        to_i[...] = g * i * (1 - i)
        to_f[...] = c_prev * f * (1 - f)
        to_g[...] = i * (1 - g * g)
        # (1') ∂c/∂c' = f + ∂c/∂a_i * p_i + ∂c/∂a_f * p_f
        to_c_prev[...] = f + to_i * p_i + to_f * p_f

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the blocks out of d."""
        H = len(dh)
        return d[:H], d[H : 5 * H].reshape(4, H, -1), d[5 * H :], d_next[4 * H : 5 * H], dh, dc

    def backward(self, views: Views, t: int) -> None:
        """Leave da and, in the block of c', the gradient that reaches it."""
        o, i_f_g_c_prev, dh_dc, carry, dh, dc = views
        # dc = dh * ∂h/∂c + dc' of the step after
        np.multiply(dh, dh_dc, dc)
        np.add(dc, carry, dc)
        # da_o = dh * ∂h/∂a_o;  da_i, da_f, da_g, dc' = dc * ∂c/∂(a_i, a_f, a_g, c')
        np.multiply(o, dh, o)
        np.multiply(i_f_g_c_prev, dc, i_f_g_c_prev)

    def elementwise_gradient(self, m: Array, d: Array) -> Array:
        """(1') dp_i = Σ da_i * c', dp_f = Σ da_f * c', dp_o = Σ da_o * c, over steps and sequences."""
        H = m.shape[1] // 6
        da_o, da_i, da_f = (d[:, k * H : (k + 1) * H] for k in range(3))
        c = m[:, 4 * H : 5 * H]
        sums = [np.einsum("tkb,tkb->k", *pair) for pair in ((da_i, c[:-1]), (da_f, c[:-1]), (da_o, c[1:]))]
        return np.concatenate(sums)

    def torch_step(self, parameters: Mapping[str, Any], x: Any, state: tuple[Any, ...], keep: Keep) -> tuple[Any, ...]:
        """(1), (2), (3) in torch's operations."""
        import torch

        h, c = state
        a = (
            x @ parameters["weight_ih"].T
            + parameters["bias_ih"]
            + h @ parameters["weight_hh"].T
            + parameters["bias_hh"]
        )
        a_i, a_f, a_g, a_o = a.chunk(4, dim=1)
        i = keep("i", torch.sigmoid(keep("a_i", a_i + parameters["weight_ci"] * c)))
        f = keep("f", torch.sigmoid(keep("a_f", a_f + parameters["weight_cf"] * c)))
        g = keep("g", torch.tanh(keep("a_g", a_g)))
        c = keep("c", f * c + i * g)
        o = keep("o", torch.sigmoid(keep("a_o", a_o + parameters["weight_co"] * c)))
        return keep("h", o * torch.tanh(c)), c
