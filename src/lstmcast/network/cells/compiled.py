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

# compiled anew in each process: code in a file can be damaged, or another machine's, and nothing would notice
loop = njit(error_model="numpy")


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
def _lstm_backward(t: int, memory: Array, d: Array, carry: Array, dh: Array, dc: Array) -> None:
    """(3') and (2') of step t of the ``memory`` (T + 1, 6H, B), to ``d`` (6H, B), with dc' of the step after (H, B)."""
    one = memory.dtype.type(1)
    m, d = memory[t].reshape(6, -1), d.reshape(6, -1)
    carried, from_h, to_c = carry.reshape(-1), dh.reshape(-1), dc.reshape(-1)
    for k in range(len(to_c)):
        o, i, f, g, c_prev, tanh_c = m[0, k], m[1, k], m[2, k], m[3, k], m[4, k], m[5, k]
        h, i_g, dh_k = o * tanh_c, i * g, from_h[k]
        dc_k = dh_k * (o - h * tanh_c) + carried[k]
        to_c[k] = dc_k
        d[0, k] = h * (one - o) * dh_k
        d[1, k] = i_g * (one - i) * dc_k
        d[2, k] = f * c_prev * (one - f) * dc_k
        d[3, k] = (i - i_g * g) * dc_k
        d[4, k] = f * dc_k


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
    """(3) h = n + z * (h' - n), of ``m`` (5H, B), ``h`` and ``h_prev`` (H, B), which is kept in m's free block."""
    m, before, to_h = m.reshape(5, -1), h_prev.reshape(-1), h.reshape(-1)
    for k in range(m.shape[1]):
        n = m[2, k]
        m[4, k] = before[k]
        to_h[k] = (before[k] - n) * m[1, k] + n


@loop
def _gru_backward(t: int, memory: Array, d: Array, carry: Array, dh: Array) -> None:
    """(3') and (2') of step t of the ``memory`` (T + 1, 5H, B), to ``d`` (5H, B), with dh' of the step after (H, B)."""
    one = memory.dtype.type(1)
    m, d = memory[t].reshape(5, -1), d.reshape(5, -1)
    carried, to_h = carry.reshape(-1), dh.reshape(-1)
    for k in range(len(to_h)):
        r, z, n, v, h_prev = m[0, k], m[1, k], m[2, k], m[3, k], m[4, k]
        to_u = (one - n * n) * (one - z)
        to_v = to_u * r
        dh_k = to_h[k] + carried[k]
        to_h[k] = dh_k
        d[0, k] = (one - r) * v * to_v * dh_k
        d[1, k] = (h_prev - n) * z * (one - z) * dh_k
        d[2, k] = to_u * dh_k
        d[3, k] = to_v * dh_k
        d[4, k] = z * dh_k


class CompiledLSTM(LSTM):
    """The LSTM, in float32 or float64."""

    def forward_views(self, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array) -> Views:
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

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array) -> None:
        """Leave it to `backward`, which reads m anyway."""

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the carry out of d."""
        H = len(dh)
        return m, d, d_next[4 * H : 5 * H], dh, dc

    def backward(self, views: Views, t: int) -> None:
        """Leave da and, in the block of c', the gradient that reaches it."""
        _lstm_backward(t, *views)


class CompiledGRU(GRU):
    """The GRU, in float32 or float64."""

    def forward_views(self, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array) -> Views:
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

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array) -> None:
        """Leave it to `backward`, which reads m anyway."""

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the carry out of d."""
        return m, d, d_next[4 * len(dh) :], dh

    def backward(self, views: Views, t: int) -> None:
        """Leave da and, in the fifth block, what reaches h' other than through a."""
        _gru_backward(t, *views)


COMPILED: dict[CellName, Cell] = {"lstm": CompiledLSTM(), "gru": CompiledGRU()}

if not isinstance(_lstm_gates, Dispatcher):
    raise ImportError("NUMBA_DISABLE_JIT is set: loops that are not compiled would take very long")
