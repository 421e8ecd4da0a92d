"""Gated recurrent unit, as ``torch.nn.GRUCell``; gates in the order r, z, n.

Source: Cho et al. 2014, with the reset gate after the product as in
https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html

Notation as in ``lstm.py``. The candidate n needs its two products apart, so W has four blocks of rows:
r, z, u = W_in x + b_in, v = W_hn h' + b_hn. The memory of a step has a fifth, the carry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import CandidateApart, Keep, Views, one_and_half


class GRU(CandidateApart):
    """h = GRU(x, h')."""

    torch_name: str | None = "GRU"
    torch_faster: tuple[int | None, int | None] = (512, None)
    gate_count = 3
    gate_names: tuple[str, ...] = ("r", "z", "n")
    gate_blocks: tuple[int, ...] = (0, 1, 2)
    states = 1
    rows = 4
    sigmoids = 2
    blocks = 5
    carry: int | None = 4
    apart = False
    compiles = True

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Cut the blocks out of m."""
        H = len(h)
        blocks = m[: 2 * H], m[:H], m[H : 2 * H], m[2 * H : 3 * H], m[3 * H : 4 * H]
        return *one_and_half(m.dtype), *blocks, h_prev, h

    def forward(self, views: Views) -> None:
        """Leave r, z, n, v in the place of the pre-activations."""
        one, half, r_z, r, z, n, v, h_prev, h = views
        # (1) r, z = σ(a)
        np.tanh(r_z, r_z)
        np.add(r_z, one, r_z)
        np.multiply(r_z, half, r_z)
        # (2) n = tanh(u + r * v)
        np.multiply(r, v, h)
        np.add(n, h, n)
        np.tanh(n, n)
        # (3) h = (1 - z) * n + z * h' = n + z * (h' - n)
        np.subtract(h_prev, n, h)
        np.multiply(h, z, h)
        np.add(h, n, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """Write ∂h/∂(a_r, a_z, u, v), and ∂h/∂h' other than through a, to the blocks of ``out``."""
        H = h.shape[1]
        r, z, n, v = m[:, :H], m[:, H : 2 * H], m[:, 2 * H : 3 * H], m[:, 3 * H : 4 * H]
        to_r, to_z, to_u, to_v, to_h = (out[:, k * H : (k + 1) * H] for k in range(5))
        # (3') ∂h/∂a_z = (h' - n) * z * (1 - z),  ∂h/∂n = 1 - z,  ∂h/∂h' = z
        np.subtract(h_prev, n, out=to_z)
        to_z *= z
        np.subtract(1, z, out=to_h)
        to_z *= to_h
        # (2') ∂h/∂u = (1 - z) * (1 - n²),  ∂h/∂v = ∂h/∂u * r,  ∂h/∂a_r = ∂h/∂u * v * r * (1 - r)
        np.multiply(n, n, out=to_u)
        np.subtract(1, to_u, out=to_u)
        to_u *= to_h
        np.multiply(to_u, r, out=to_v)
        np.subtract(1, r, out=to_r)
        to_r *= v
        to_r *= to_v
        to_h[...] = z

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the blocks out of d."""
        H = len(dh)
        return d.reshape(5, H, -1), d_next[4 * H :], dh

    def backward(self, views: Views, t: int) -> None:
        """Leave da and, in the fifth block, what reaches h' other than through a."""
        r_z_u_v_carry, carry, dh = views
        np.add(dh, carry, dh)
        # da = dh * ∂h/∂a,  dh' = dh * z
        np.multiply(r_z_u_v_carry, dh, r_z_u_v_carry)

    def torch_step(self, parameters: Mapping[str, Any], x: Any, state: tuple[Any, ...], keep: Keep) -> tuple[Any, ...]:
        """(1), (2), (3) in torch's operations."""
        import torch

        (h,) = state
        u_r, u_z, u_n = (x @ parameters["weight_ih"].T + parameters["bias_ih"]).chunk(3, dim=1)
        v_r, v_z, v_n = (h @ parameters["weight_hh"].T + parameters["bias_hh"]).chunk(3, dim=1)
        r = keep("r", torch.sigmoid(keep("a_r", u_r + v_r)))
        z = keep("z", torch.sigmoid(keep("a_z", u_z + v_z)))
        n = keep("n", torch.tanh(keep("a_n", u_n + r * v_n)))
        return (keep("h", (1 - z) * n + z * h),)
