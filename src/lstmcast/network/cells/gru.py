"""Gated recurrent unit, as ``torch.nn.GRUCell``; gates in the order r, z, n.

Source: Cho et al. 2014, with the reset gate after the product as in
https://docs.pytorch.org/docs/stable/generated/torch.nn.GRUCell.html

Notation as in ``lstm.py``. The candidate n needs its two products apart, so W has four blocks of rows:
r, z, u = W_in x + b_in, v = W_hn h' + b_hn.
"""

from __future__ import annotations

import numpy as np

from lstmcast.arrays import Array


class GRU:
    """h = GRU(x, h')."""

    torch_name = "GRU"
    gates = 3
    rows = 4
    gate_names: tuple[str, ...] = ("r", "z", "n")
    states = 1

    def pack(self, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
        """(0) a = W [x; h'; 1], the rows of u blind to h', the rows of v blind to x."""
        H, D = w_hh.shape[1], w_ih.shape[1]
        W = np.zeros((4 * H, D + H + 1), w_ih.dtype)
        W[: 3 * H, :D] = w_ih
        W[: 2 * H, D:-1] = w_hh[: 2 * H]
        W[3 * H :, D:-1] = w_hh[2 * H :]
        W[: 3 * H, -1] = b_ih
        W[: 2 * H, -1] += b_hh[: 2 * H]
        W[3 * H :, -1] = b_hh[2 * H :]
        return W

    def unpack(self, dW: Array, dw_ih: Array, dw_hh: Array, db_ih: Array, db_hh: Array) -> None:
        """(0') dW = da [x; h'; 1]ᵀ; the blind blocks are dropped."""
        D, H = dw_ih.shape[1], dw_hh.shape[1]
        dw_ih[...] = dW[: 3 * H, :D]
        dw_hh[: 2 * H] = dW[: 2 * H, D:-1]
        dw_hh[2 * H :] = dW[3 * H :, D:-1]
        db_ih[...] = dW[: 3 * H, -1]
        db_hh[: 2 * H] = dW[: 2 * H, -1]
        db_hh[2 * H :] = dW[3 * H :, -1]

    def forward(self, a: Array, h_prev: Array, c_prev: Array, h: Array, c: Array, tanh_c: Array) -> None:  # noqa: ARG002
        """Leave r, z, n, v in ``a``."""
        H = len(h)
        r_z, z, n, v = a[: 2 * H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        # (1) r, z = σ(a)
        r_z *= 0.5
        np.tanh(r_z, out=r_z)
        r_z += 1
        r_z *= 0.5
        # (2) n = tanh(u + r * v)
        np.multiply(a[:H], v, out=h)
        n += h
        np.tanh(n, out=n)
        # (3) h = (1 - z) * n + z * h' = n + z * (h' - n)
        np.subtract(h_prev, n, out=h)
        h *= z
        h += n

    def backward(self, a: Array, h_prev: Array, c_prev: Array, tanh_c: Array, dh: Array, dc: Array) -> None:  # noqa: ARG002
        """Overwrite r, z, n, v in ``a`` by da; leave z * dh in dh."""
        H = len(dh)
        r, z, n, v = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        # (3') dn = dh * (1 - z),  dz = dh * (h' - n),  dh' = dh * z
        dz = dh * (h_prev - n)
        dn = dh * (1 - z)
        dh *= z
        # (2') du = dn * (1 - n²),  dr = du * v,  dv = du * r
        n *= n
        np.subtract(1, n, out=n)
        n *= dn
        dr = n * v
        np.multiply(n, r, out=v)
        # (1') da = ds * s * (1 - s)
        dr *= r
        dz *= z
        np.subtract(1, r, out=r)
        np.subtract(1, z, out=z)
        r *= dr
        z *= dz
