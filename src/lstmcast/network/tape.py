"""What the NumPy engine remembers of a pass, laid out so that nothing is copied between products.

Time comes first and features before the batch. All signals of a step lie in one column of rows

    x, 1, h_0, 1, h_1, …

and layer l reads rows that lie together: its input, a one for the bias, its own last state. It does so one row of
time later than layer l - 1, so that its input of step t is there beside its state of step t - 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.network.cells.base import Cell, Views
from lstmcast.network.description import Network
from lstmcast.network.head import Head
from lstmcast.network.parameters import Parameters
from lstmcast.network.products import Products

# numbers of a chunk of steps: they stay in the processor's cache while the backward pass works on them
CHUNK = 2**18


class LayerTape:
    """All that one layer remembers of T steps on a batch of B, and works with on a chunk of K of them.

    Attributes:
        z: ``(T, D + 1 + H, B)``, [x; 1; h'] of each step.
        h: ``(T + 1, H, B)``, h[t] is the state before step t.
        m: ``(T + 1, blocks H, B)``, the cell's memory.
        c: the block of m with c', if the cell has one.
        d: ``(K + 1, blocks H, B)``, the local derivatives of a chunk of steps.
        da: their blocks with dL/da.
        carry: their block with what is carried on.
        scratch: ``(K, 3H, B)``.
        dz: ``(D + H, B)``, the gradient of a step's input and last state.
        dc: ``(H, B)``, that of the step's c.
        e: the cell's elementwise parameters, one below the other, ``(… H, 1)``.
        forward: for each step, z and a as the products take them, and the cell's views.
    """

    def __init__(self, cell: Cell, z: Array, h: Array, K: int, products: Products, apart: Array) -> None:
        (steps, H, B), D = h.shape, z.shape[1] - h.shape[1] - 1
        rows = cell.rows * H
        self.H, self.z, self.h = H, z, h
        self.m: Array = np.zeros((steps, cell.blocks * H, B), h.dtype)
        self.d: Array = np.zeros((K + 1, cell.blocks * H, B), h.dtype)
        self.da = self.d[:, :rows]
        block = None if cell.carry is None else slice(cell.carry * H, (cell.carry + 1) * H)
        self.carry = None if block is None else self.d[:, block]
        self.c = None if block is None or cell.states == 1 else self.m[:, block]
        self.dz: Array = np.zeros((D + H, B), h.dtype)
        self.dx, self.dh = self.dz[:D], self.dz[D:]
        self.dc: Array = np.zeros((H, B), h.dtype)
        self.scratch: Array = np.zeros((K, 3 * H, B), h.dtype)
        self.e: Array = np.zeros((len(cell.elementwise) * H, 1), h.dtype)
        # views are made once: making them costs as much as a small product
        wrap = products.wrap
        self.dz_wrapped, self.dh_wrapped = wrap(self.dz), wrap(self.dh)
        products_of_steps = repeat(apart[:rows]) if cell.apart else self.m[:, :rows]
        self.forward: list[tuple[Any, Any, Views]] = [
            (wrap(z_t), wrap(a), cell.forward_views(a, m, m_next, h_prev, h_t, self.scratch[0], self.e))
            for z_t, a, m, m_next, h_prev, h_t in zip(z, products_of_steps, self.m, self.m[1:], h, h[1:], strict=False)
        ]
        self._cell, self._wrap = cell, wrap

    @cached_property
    def backward(self) -> list[tuple[Any, Views]]:
        """For each step of a chunk, da as the products take it, and the cell's views: a forecast needs none."""
        return [
            (self._wrap(da), self._cell.backward_views(self.m, d, d_next, self.dh, self.dc))
            for d, d_next, da in zip(self.d, self.d[1:], self.da, strict=False)
        ]

    def begin_backward(self) -> None:
        """Set the gradients that arrive from after the last step to zero."""
        self.dz[...] = 0
        if self.carry is not None:
            self.carry[0] = 0

    def linearize(self, steps: slice) -> None:
        """Compute the local derivatives of a chunk of steps; keep what the following chunk carries back."""
        after, count = slice(steps.start + 1, steps.stop + 1), steps.stop - steps.start
        if self.carry is not None:
            self.carry[count] = self.carry[0]
        d, scratch = self.d[:count], self.scratch[:count]
        self._cell.linearize(self.m[steps], self.h[steps], self.h[after], d, scratch, self.e)

    def state_gradient(self) -> list[Array]:
        """Return the gradient of the state before the first step: of h, then of c if there is one, each ``(H, B)``."""
        if self.carry is None:
            return [self.dh]
        return [self.dh + self.carry[0]] if self.c is None else [self.dh, self.carry[0]]


class Tape:
    """All that a network remembers of up to T steps on a batch of B.

    Attributes:
        x: ``(T, F, B)``, the inputs.
        cell: whose passes made the views, and take them.
        products: who multiplies what is on it.
        layers: one tape a layer.
        forward: for each step, what `forward` has of each layer.
        chunk: K, the steps that the backward pass takes at once.
    """

    def __init__(
        self, cell: Cell, network: Network, parameters: Parameters, products: Products, T: int, B: int
    ) -> None:
        dtype, F = parameters.values.dtype, network.input_size
        sizes = network.hidden_sizes
        ends = np.cumsum([F, *(1 + H for H in sizes)])
        signals = np.zeros((T + len(sizes), ends[-1], B), dtype)
        signals[:, ends[:-1]] = 1
        self.T, self.x, self.cell, self.products = T, signals[:T, :F], cell, products
        self.chunk = min(T, max(1, CHUNK // (cell.blocks * sum(sizes) * B)))
        self.layers: list[LayerTape] = []
        # shared by all layers and steps, so that it stays in cache
        apart: Array = np.zeros((cell.rows * max(sizes), B), dtype)
        start = 0
        for layer, (H, end) in enumerate(zip(sizes, ends[1:], strict=True)):
            z, h = signals[layer : layer + T, start:end], signals[layer : layer + T + 1, end - H : end]
            self.layers.append(LayerTape(cell, z, h, self.chunk, products, apart))
            start = end - H
        self.forward = list(zip(*(layer.forward for layer in self.layers), strict=True))
        self.head = Head(network, parameters.views, signals[len(sizes) :, ends[-2] :], self.x)

    def states(self, t: int) -> Iterator[Array]:
        """Yield the views ``(H, B)`` of the state before step t: h, then c if there is one, layer by layer."""
        for layer in self.layers:
            yield layer.h[t]
            if layer.c is not None:
                yield layer.c[t]

    def set_states(self, states: Sequence[Array] | None) -> None:
        """Set the state before the first step; None: zero."""
        for index, state in enumerate(self.states(0)):
            state[...] = 0 if states is None else states[index]
