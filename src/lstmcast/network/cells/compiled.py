"""The passes of LSTM and GRU as loops that numba compiles: the bytes of ``lstm.py`` and ``gru.py``, sooner.

NumPy goes through the blocks of a step once for every operation, a loop once for all of them. Each number is rounded
as there, for nothing is reordered (no ``fastmath``); tanh stays NumPy's, which is vectorised. The numbers of equations
are those of the two files, as are the sources.
"""

from __future__ import annotations

from numba import njit
from numba.core.dispatcher import Dispatcher
from numpy import multiply, tanh

from lstmcast.arrays import Array
from lstmcast.network.cells import CellName
from lstmcast.network.cells.base import Cell, Views
from lstmcast.network.cells.gru import GRU
from lstmcast.network.cells.lstm import LSTM

# kept beside this file or, where that cannot be written, in the user's folder for caches
loop = njit(cache=True, error_model="numpy")


@loop
def _lstm_gates(m: Array, c: Array) -> None:
    """(1) o, i, f from tanh(a/2), and (2) c, to ``c`` (H, B), of a step's memory ``m`` (6H, B)."""
    one, half = m.dtype.type(1), m.dtype.type(0.5)
    m, to_c = m.reshape(6, -1), c.reshape(-1)
    for k in range(len(to_c)):
        m[0, k] = (m[0, k] + one) * half
        m[1, k] = (m[1, k] + one) * half
        m[2, k] = (m[2, k] + one) * half
        to_c[k] = m[1, k] * m[3, k] + m[2, k] * m[4, k]


@loop
def _linearize_lstm(m: Array, out: Array) -> None:
    """(3') and (2'): the local derivatives ``out`` of the steps ``m``, both ``(T, 6H, B)``."""
    one = m.dtype.type(1)
    m, out = m.reshape(len(m), 6, -1), out.reshape(len(m), 6, -1)
    for t in range(len(m)):
        for k in range(m.shape[2]):
            o, i, f, g, c_prev, tanh_c = m[t, 0, k], m[t, 1, k], m[t, 2, k], m[t, 3, k], m[t, 4, k], m[t, 5, k]
            h, i_g = o * tanh_c, i * g
            out[t, 0, k] = h * (one - o)
            out[t, 1, k] = i_g * (one - i)
            out[t, 2, k] = f * c_prev * (one - f)
            out[t, 3, k] = i - i_g * g
            out[t, 4, k] = f
            out[t, 5, k] = o - h * tanh_c


@loop
def _lstm_backward(d: Array, carry: Array, dh: Array, dc: Array) -> None:
    """The chain rule of one step's ``d`` (6H, B), with dc' of the step after in ``carry``, all others ``(H, B)``."""
    d, carried, from_h, to_c = d.reshape(6, -1), carry.reshape(-1), dh.reshape(-1), dc.reshape(-1)
    for k in range(len(to_c)):
        dc_k = from_h[k] * d[5, k] + carried[k]
        to_c[k] = dc_k
        d[0, k] *= from_h[k]
        d[1, k] *= dc_k
        d[2, k] *= dc_k
        d[3, k] *= dc_k
        d[4, k] *= dc_k


@loop
def _gru_gates(m: Array) -> None:
    """(1) r, z from tanh(a/2), and (2) n's pre-activation u + r * v, of a step's memory ``m`` (5H, B)."""
    one, half = m.dtype.type(1), m.dtype.type(0.5)
    m = m.reshape(5, -1)
    for k in range(m.shape[1]):
        m[0, k] = (m[0, k] + one) * half
        m[1, k] = (m[1, k] + one) * half
        m[2, k] += m[0, k] * m[3, k]


@loop
def _gru_state(m: Array, h_prev: Array, h: Array) -> None:
    """(3) h = n + z * (h' - n), of ``m`` (5H, B), ``h`` and ``h_prev`` (H, B)."""
    m, before, to_h = m.reshape(5, -1), h_prev.reshape(-1), h.reshape(-1)
    for k in range(m.shape[1]):
        n = m[2, k]
        to_h[k] = (before[k] - n) * m[1, k] + n


@loop
def _linearize_gru(m: Array, h_prev: Array, out: Array) -> None:
    """(3') and (2'): the local derivatives ``out`` of the steps ``m``, both ``(T, 5H, B)``, h' ``(T, H, B)``."""
    one = m.dtype.type(1)
    T, H, B = h_prev.shape
    blocks, to = m.reshape(T, 5, H, B), out.reshape(T, 5, H, B)
    for t in range(T):
        for j in range(H):
            for b in range(B):
                r, z, n, v = blocks[t, 0, j, b], blocks[t, 1, j, b], blocks[t, 2, j, b], blocks[t, 3, j, b]
                to_u = (one - n * n) * (one - z)
                to_v = to_u * r
                to[t, 0, j, b] = (one - r) * v * to_v
                to[t, 1, j, b] = (h_prev[t, j, b] - n) * z * (one - z)
                to[t, 2, j, b] = to_u
                to[t, 3, j, b] = to_v
                to[t, 4, j, b] = z


class CompiledLSTM(LSTM):
    """The LSTM, in float32 or float64."""

    def forward_views(self, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array) -> Views:  # noqa: ARG002
        """Cut the blocks out of m; c goes to the next step's c'."""
        H = len(h)
        return m, m[: 4 * H], m_next[4 * H : 5 * H], m[5 * H :], m[:H], h

    def forward(self, views: Views) -> None:
        """Leave the gates in the place of the pre-activations."""
        m, a, c, tanh_c, o, h = views
        tanh(a, a)
        _lstm_gates(m, c)
        # (3) h = o * tanh(c)
        tanh(c, tanh_c)
        multiply(o, tanh_c, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array) -> None:  # noqa: ARG002
        """Write the local derivatives to the blocks of ``out``."""
        _linearize_lstm(m, out)

    def backward_views(self, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the carry out of d."""
        H = len(dh)
        return d, d_next[4 * H : 5 * H], dh, dc

    def backward(self, views: Views) -> None:
        """Leave da and, in the block of c', the gradient that reaches it."""
        _lstm_backward(*views)


class CompiledGRU(GRU):
    """The GRU, in float32 or float64; its backward pass is one operation anyway."""

    def forward_views(self, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array) -> Views:  # noqa: ARG002
        """Cut the blocks out of m."""
        H = len(h)
        return m, m[: 2 * H], m[2 * H : 3 * H], h_prev, h

    def forward(self, views: Views) -> None:
        """Leave r, z, n, v in the place of the pre-activations."""
        m, r_z, n, h_prev, h = views
        tanh(r_z, r_z)
        _gru_gates(m)
        tanh(n, n)
        _gru_state(m, h_prev, h)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array) -> None:  # noqa: ARG002
        """Write the local derivatives to the blocks of ``out``."""
        _linearize_gru(m, h_prev, out)


# the RNN has nothing between its tanh and its products
COMPILED: dict[CellName, Cell] = {"lstm": CompiledLSTM(), "gru": CompiledGRU()}

if not isinstance(_lstm_gates, Dispatcher):
    raise ImportError("NUMBA_DISABLE_JIT is set: loops that are not compiled would take very long")
