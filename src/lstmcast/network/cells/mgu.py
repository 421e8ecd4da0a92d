"""Minimal gated unit: a GRU with one gate.

Source: Zhou, Wu, Zhang and Zhou 2016, Minimal gated unit for recurrent neural networks,
https://arxiv.org/abs/1603.09420, equations (6a) to (6c), with one difference: the gate multiplies W_hn h' + b_hn, not
h' itself, as the reset gate of ``torch.nn.GRUCell`` does, so that one product serves the whole step.

Notation as in ``gru.py``: f is the forget gate, n the candidate with u = W_in x + b_in and v = W_hn h' + b_hn apart.
The memory of a step has the blocks f, n, v and the carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import CandidateApart, Keep, Views, one_and_half


class MGU(CandidateApart):
    """h = MGU(x, h')."""

    torch_name: str | None = None
    torch_faster: tuple[int | None, int | None] = (None, None)
    gate_count = 2
    gate_names: tuple[str, ...] = ("f", "n")
    gate_blocks: tuple[int, ...] = (0, 1)
    states = 1
    rows = 3
    sigmoids = 1
    blocks = 4
    carry: int | None = 3
    apart = False
    compiles = False

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Cut the blocks out of m."""
        H = len(h)
        return *one_and_half(m.dtype), m[:H], m[H : 2 * H], m[2 * H : 3 * H], h_prev, h

    def forward(self, views: Views) -> None:
        """Leave f, n, v in the place of the pre-activations."""
        one, half, f, n, v, h_prev, h = views
        # (1) f = σ(a_f) = (1 + tanh(a_f/2)) / 2
        np.tanh(f, f)
        np.add(f, one, f)
        np.multiply(f, half, f)
        # (2) n = tanh(u + f * v)
        np.multiply(f, v, h)
        np.add(n, h, n)
        np.tanh(n, n)
        # (3) h = (1 - f) * h' + f * n = h' + f * (n - h')
        np.subtract(n, h_prev, h)
        np.multiply(h, f, h)
        np.add(h, h_prev, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """Write ∂h/∂(a_f, u, v), and ∂h/∂h' other than through a, to the blocks of ``out``."""
        H = h.shape[1]
        f, n, v = (m[:, k * H : (k + 1) * H] for k in range(3))
        to_f, to_u, to_v, to_h_prev = (out[:, k * H : (k + 1) * H] for k in range(4))
        # (2') ∂h/∂u = f * (1 - n²),  ∂h/∂v = ∂h/∂u * f
        to_u[...] = f * (1 - n * n)
        to_v[...] = to_u * f
        # (3') ∂h/∂a_f = (n - h' + ∂h/∂u * v) * f * (1 - f),  ∂h/∂h' = 1 - f
        to_f[...] = (n - h_prev + to_u * v) * f * (1 - f)
        to_h_prev[...] = 1 - f

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the blocks out of d."""
        H = len(dh)
        return d.reshape(4, H, -1), d_next[3 * H :], dh

    def backward(self, views: Views, t: int) -> None:
        """Leave da and, in the fourth block, what reaches h' other than through a."""
        f_u_v_carry, carry, dh = views
        np.add(dh, carry, dh)
        # da = dh * ∂h/∂a,  dh' = dh * (1 - f)
        np.multiply(f_u_v_carry, dh, f_u_v_carry)

    def torch_step(self, parameters: Mapping[str, Any], x: Any, state: tuple[Any, ...], keep: Keep) -> tuple[Any, ...]:
        """(1), (2), (3) in torch's operations."""
        import torch

        (h,) = state
        u_f, u_n = (x @ parameters["weight_ih"].T + parameters["bias_ih"]).chunk(2, dim=1)
        v_f, v_n = (h @ parameters["weight_hh"].T + parameters["bias_hh"]).chunk(2, dim=1)
        f = keep("f", torch.sigmoid(keep("a_f", u_f + v_f)))
        n = keep("n", torch.tanh(keep("a_n", u_n + f * v_n)))
        return (keep("h", (1 - f) * h + f * n),)
