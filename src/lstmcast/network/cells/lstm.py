"""Long short-term memory, as ``torch.nn.LSTMCell``.

Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000;
https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html

Notation: x input, h state, c cell state, h' and c' those of the step before, a pre-activations, gates i, f, g, o,
dz the gradient of the loss with respect to z, * the product element by element.

The memory m of a step has six blocks: o, i, f, g, c', tanh(c). Gates that are treated alike lie side by side, so
that one operation serves them all; i, f and g, c' face each other for the products i * g and f * c'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import add, multiply, tanh  # every step forward calls them: finding them in np takes time

from lstmcast.arrays import Array
from lstmcast.network.cells.base import JointWeights, Keep, Views, one_and_half


class LSTM(JointWeights):
    """h, c = LSTM(x, h', c')."""

    torch_name: str | None = "LSTM"
    torch_faster: tuple[int | None, int | None] = (512, 48)
    gate_count = 4
    gate_names: tuple[str, ...] = ("i", "f", "g", "o")
    gate_blocks: tuple[int, ...] = (1, 2, 3, 0)
    order = (3, 0, 1, 2)
    states = 2
    rows = 4
    sigmoids = 3
    blocks = 6
    carry: int | None = 4
    apart = False
    compiles = True

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Cut the blocks out of m; c goes to the next step's c'."""
        H = len(h)
        gates = m[: 4 * H], m[: 3 * H], m[H : 3 * H], m[3 * H : 5 * H]
        products = scratch[: 2 * H], scratch[:H], scratch[H : 2 * H]
        return *one_and_half(m.dtype), *gates, *products, m_next[4 * H : 5 * H], m[5 * H :], m[:H], h

    def forward(self, views: Views) -> None:
        """Leave the gates in the place of the pre-activations."""
        one, half, a, o_i_f, i_f, g_c_prev, ig_fc, ig, fc, c, tanh_c, o, h = views
        # (1) o, i, f = σ(a), g = tanh(a);  σ(a) = (1 + tanh(a/2)) / 2 never overflows
        tanh(a, a)
        add(o_i_f, one, o_i_f)
        multiply(o_i_f, half, o_i_f)
        # (2) c = i * g + f * c'
        multiply(i_f, g_c_prev, ig_fc)
        add(ig, fc, c)
        # (3) h = o * tanh(c)
        tanh(c, tanh_c)
        multiply(o, tanh_c, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """Write ∂h/∂a_o, ∂c/∂a_i, ∂c/∂a_f, ∂c/∂a_g, ∂c/∂c', ∂h/∂c to the blocks of ``out``."""
        H = h.shape[1]
        o, i, f, g, _, tanh_c = (m[:, k * H : (k + 1) * H] for k in range(6))
        to_o, to_i, _, to_g, to_c_prev, to_tanh = (out[:, k * H : (k + 1) * H] for k in range(6))
        # (3') ∂h/∂a_o = tanh(c) * o * (1 - o) = h * (1 - o),  ∂h/∂c = o * (1 - tanh²(c)) = o - h * tanh(c)
        rest = np.subtract(1, m[:, : 3 * H], out=scratch)
        np.multiply(h, rest[:, :H], out=to_o)
        np.multiply(h, tanh_c, out=to_tanh)
        np.subtract(o, to_tanh, out=to_tanh)
        # (2') ∂c/∂a_i = i * g * (1 - i),  ∂c/∂a_f = f * c' * (1 - f),  ∂c/∂a_g = i * (1 - g²),  ∂c/∂c' = f
        to_i_f = np.multiply(m[:, H : 3 * H], m[:, 3 * H : 5 * H], out=out[:, H : 3 * H])
        np.multiply(to_i, g, out=to_g)
        np.subtract(i, to_g, out=to_g)
        to_i_f *= rest[:, H:]
        to_c_prev[...] = f

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
        a_i, a_f, a_g, a_o = (keep(f"a_{gate}", part) for gate, part in zip("ifgo", a.chunk(4, dim=1), strict=True))
        i, f = keep("i", torch.sigmoid(a_i)), keep("f", torch.sigmoid(a_f))
        g, o = keep("g", torch.tanh(a_g)), keep("o", torch.sigmoid(a_o))
        c = keep("c", f * c + i * g)
        return keep("h", o * torch.tanh(c)), c
