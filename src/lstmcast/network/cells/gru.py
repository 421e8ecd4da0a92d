"""Gated recurrent unit, as ``torch.nn.GRUCell``; gates in the order r, z, n.

Source: Cho et al. 2014, with the reset gate after the product as in
https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html

Notation as in ``lstm.py``. The candidate n needs its two products apart, so W has four blocks of rows:
r, z, u = W_in x + b_in, v = W_hn h' + b_hn. The memory of a step has a fifth, the carry.
"""

from __future__ import annotations

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import Views, one_and_half


class GRU:
    """h = GRU(x, h')."""

    torch_name = "GRU"
    gates = 3
    gate_names: tuple[str, ...] = ("r", "z", "n")
    gate_blocks: tuple[int, ...] = (0, 1, 2)
    states = 1
    rows = 4
    sigmoids = 2
    blocks = 5
    carry: int | None = 4
    apart = False
    compiles = True

    def pack(self, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
        """(0) a = W [x; 1; h'], the rows of u blind to h', the rows of v blind to x."""
        H, D = w_hh.shape[1], w_ih.shape[1]
        W = np.zeros((4 * H, D + 1 + H), w_ih.dtype)
        W[: 3 * H, :D] = w_ih
        W[: 2 * H, D + 1 :] = w_hh[: 2 * H]
        W[3 * H :, D + 1 :] = w_hh[2 * H :]
        W[: 3 * H, D] = b_ih
        W[: 2 * H, D] += b_hh[: 2 * H]
        W[3 * H :, D] = b_hh[2 * H :]
        return W

    def unpack(self, dW: Array, dw_ih: Array, dw_hh: Array, db_ih: Array, db_hh: Array) -> None:
        """(0') dW = da [x; 1; h']ᵀ; the blind blocks are dropped."""
        D, H = dw_ih.shape[1], dw_hh.shape[1]
        dw_ih[...] = dW[: 3 * H, :D]
        dw_hh[: 2 * H] = dW[: 2 * H, D + 1 :]
        dw_hh[2 * H :] = dW[3 * H :, D + 1 :]
        db_ih[...] = dW[: 3 * H, D]
        db_hh[: 2 * H] = dW[: 2 * H, D]
        db_hh[2 * H :] = dW[3 * H :, D]

    def forward_views(self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array) -> Views:
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

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array) -> None:
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
