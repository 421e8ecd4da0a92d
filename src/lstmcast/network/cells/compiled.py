"""The passes of LSTM and GRU as loops that numba compiles: the mathematics of ``lstm.py`` and ``gru.py``, sooner.

NumPy goes through the blocks of a step once for every operation, a loop once or twice for all of them. And where
NumPy's tanh looks up a table, a loop computes an exponential without tables or branches, for as many numbers at once as
the processor's registers hold. Results differ from NumPy's in their last bits. The numbers of equations are those of
the two files, as are the sources.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, log
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.core.codegen import get_host_cpu_features
from numba.core.dispatcher import Dispatcher
from numba.extending import overload

from lstmcast.arrays import Array
from lstmcast.network.cells import CellName
from lstmcast.network.cells.base import Cell, Views
from lstmcast.network.cells.gru import GRU
from lstmcast.network.cells.lstm import LSTM

# by default LLVM leaves half of the widest registers idle, lest the processor slow down: the products use them anyway.
# It is so for all that numba compiles in this process, unless the user has said how it is to be.
if config.CPU_FEATURES is None and "+avx512f" in (features := get_host_cpu_features()):  # type: ignore
    config.CPU_FEATURES = f"{features},-prefer-256-bit"  # type: ignore[attr-defined]

# a product and a sum may be rounded once; nothing is reordered
FASTMATH = {"contract"}
# compiled anew in each process: code in a file can be damaged, or another machine's, and nothing would notice
loop = njit(error_model="numpy", fastmath=FASTMATH)


def expm1(x: Any) -> Any:
    """exp(x) - 1; in a loop that is compiled, `_expm1` takes its place."""
    return np.expm1(x)


@overload(expm1, jit_options={"fastmath": FASTMATH})
def _expm1(x: Any) -> Callable[[Any], Any]:
    """Write exp(x) - 1 = 2^n (exp(r) - 1) + 2^n - 1 for one type, with x = n ln 2 + r and |r| <= ln 2 / 2.

    It is off by two units in the last place at most, also where x is small. Beyond ±``limit`` it stays as there.

    Source: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980, chapter 6; ln 2 in two parts,
    of which n times the first is exact, as in https://www.netlib.org/fdlibm/s_expm1.c and in the Cephes library.
    """
    double = x == types.float64
    real: Any = np.float64 if double else np.float32
    integer: Any = np.int64 if double else np.int32
    ln2 = [6.93147180369123816490e-01, 1.90821492927058770002e-10] if double else [0.693359375, -2.12194440e-4]
    ln2_high, ln2_low = map(real, ln2)
    limit, per_ln2, one, info = real(700 if double else 87), real(1 / log(2)), real(1), np.finfo(real)
    # a sum with this number is rounded to an integer, which stands in its last bits
    shifter, mantissa = real(1.5 * 2**info.nmant), info.nmant
    exponent_of_one = integer(one.view(integer))
    # Taylor's series: the first term left out is below half a unit in the last place
    c = tuple(real(1 / factorial(k)) for k in range(14))

    def compute(x: Any) -> Any:
        x = max(min(x, limit), -limit)
        shifted = x * per_ln2 + shifter
        n = shifted - shifter
        r = (x - n * ln2_high) - n * ln2_low
        r2 = r * r
        r4 = r2 * r2
        # in parts that do not wait for each other
        series = c[6] + c[7] * r
        if double:
            series += r2 * (c[8] + c[9] * r) + r4 * ((c[10] + c[11] * r) + r2 * (c[12] + c[13] * r))
        series = (c[2] + c[3] * r) + r2 * (c[4] + c[5] * r) + r4 * series
        power = integer((real(shifted).view(integer) << mantissa) + exponent_of_one).view(real)
        return power * (r + r2 * series) + (power - one)

    return compute


@loop
def _sigmoid(half: Any) -> Any:
    """σ(a) = 1 / (1 + exp(-a)) of a/2."""
    two = type(half)(2)
    return type(half)(1) / (two + expm1(-two * half))


@loop
def _tanh(x: Any) -> Any:
    """tanh(x) = (exp(2x) - 1) / (exp(2x) + 1)."""
    two = type(x)(2)
    e = expm1(two * x)
    return e / (e + two)


@loop
def _lstm_forward(a: Array, m: Array, c: Array, h: Array) -> None:
    """(1), (2), (3) of a step's memory ``m`` (6H, B), to ``c`` and ``h`` (H, B)."""
    a, m, to_c, to_h = a.reshape(4, -1), m.reshape(6, -1), c.reshape(-1), h.reshape(-1)
    for k in range(len(to_c)):
        i, f, g = _sigmoid(a[1, k]), _sigmoid(a[2, k]), _tanh(a[3, k])
        m[1, k], m[2, k], m[3, k] = i, f, g
        to_c[k] = i * g + f * m[4, k]
    # apart, for one number's exponential would wait for another's
    for k in range(len(to_c)):
        o, tanh_c = _sigmoid(a[0, k]), _tanh(to_c[k])
        m[0, k], m[5, k] = o, tanh_c
        to_h[k] = o * tanh_c


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
def _gru_forward(a: Array, m: Array, h_prev: Array, h: Array) -> None:
    """(1), (2), (3) of a step's memory ``m`` (5H, B), to ``h`` (H, B); ``h_prev`` is kept in m's free block."""
    a, m, before, to_h = a.reshape(4, -1), m.reshape(5, -1), h_prev.reshape(-1), h.reshape(-1)
    for k in range(len(to_h)):
        r, z, v = _sigmoid(a[0, k]), _sigmoid(a[1, k]), a[3, k]
        m[0, k], m[1, k], m[3, k] = r, z, v
        m[2, k] = a[2, k] + r * v
    # apart, for one number's exponential would wait for another's
    for k in range(len(to_h)):
        n = _tanh(m[2, k])
        m[2, k], m[4, k] = n, before[k]
        to_h[k] = n + m[1, k] * (before[k] - n)


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

    apart = True

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Cut the blocks out of m; c goes to the next step's c'."""
        H = len(h)
        return a, m, m_next[4 * H : 5 * H], h

    def forward(self, views: Views) -> None:
        """Leave the gates in the place of the pre-activations."""
        _lstm_forward(*views)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
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

    apart = True

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Return the arrays themselves."""
        return a, m, h_prev, h

    def forward(self, views: Views) -> None:
        """Leave r, z, n, v in the place of the pre-activations."""
        _gru_forward(*views)

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """Leave it to `backward`, which reads m anyway."""

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Cut the carry out of d."""
        return m, d, d_next[4 * len(dh) :], dh

    def backward(self, views: Views, t: int) -> None:
        """Leave da and, in the fifth block, what reaches h' other than through a."""
        _gru_backward(t, *views)


COMPILED: dict[CellName, Cell] = {"lstm": CompiledLSTM(), "gru": CompiledGRU()}

if not isinstance(_lstm_forward, Dispatcher):
    raise ImportError("NUMBA_DISABLE_JIT is set: loops that are not compiled would take very long")
