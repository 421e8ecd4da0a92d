"""The NumPy engine: forward and backward by hand.

Time comes first and features before the batch: inputs ``(T, F, B)``, states ``(H, B)``. One product
W [x(t); 1; h(t-1)] serves input, bias and state, and its transpose the whole way back. See ``tape.py`` for how
they lie in memory and ``cells/`` for what happens between the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.network.cells import CELLS
from lstmcast.network.cells.base import Cell
from lstmcast.network.description import Network
from lstmcast.network.engine import same
from lstmcast.network.losses import LOSSES
from lstmcast.network.parameters import Parameters
from lstmcast.network.products import NumpyProducts, Products
from lstmcast.network.schedule import Schedule
from lstmcast.network.tape import LayerTape, Tape

# numbers remembered at once where nothing is differentiated, and on the tape of a rollout: they stay in cache
PIECE, STREAM = 2**18, 2**17
# sequences, or bytes of a state, from which on another library's products pay, though its calls take longer
MANY, LARGE = 32, 8192
# machine epsilons by which a gradient of compiled passes may differ, of its largest number
ROUNDING = 1000


@dataclass(frozen=True)
class Weights:
    """A layer's packed weights, ready for the products."""

    forward: Any
    backward: Any
    backward_state: Any


@dataclass(frozen=True)
class Pass:
    """One way through a batch, in segments that fit the tape.

    Attributes:
        x: the inputs ``(T, F, B)``.
        y: the outputs ``(T, O, B)``.
        schedule: which steps read predictions, and when outputs are computed.
        segment: steps of a segment.
        starts: the state before each segment, as far as they are kept; None: zero.
    """

    batch: Batch
    weights: Sequence[Weights]
    tape: Tape
    x: Array
    y: Array
    schedule: Schedule
    segment: int
    starts: list[list[Array] | None] = field(default_factory=list)


@dataclass(frozen=True)
class Gradients:
    """The gradients that a backward pass computes.

    Attributes:
        dy: with respect to the outputs, ``(T, O, B)``; a step that reads a prediction adds to that prediction's.
        weights: with respect to each layer's packed weights, summed over the steps.
        dx: with respect to the inputs, ``(T, F, B)``, if the caller needs them.
        arriving: those that `NumpyEngine.trace_gradients` shows, by name, if the caller needs them.
    """

    dy: Array
    weights: Sequence[Array]
    dx: Array | None
    arriving: Mapping[str, Array] | None


class NumpyEngine:
    """Runs a network by hand-derived forward and backward passes, in the parameters' dtype.

    Args:
        network: the network.
        parameters: its parameters.
        products: who multiplies matrices where the batch is large; None: NumPy.
        recompute: remember only every √T-th state of T steps, and compute what lies between once more on the way
            back (Chen et al. 2016, https://arxiv.org/abs/1604.06174): memory in √T for a third more time.
        cell: whose passes to run; None: the network's, in NumPy.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        products: Products | None = None,
        *,
        recompute: bool = False,
        cell: Cell | None = None,
    ) -> None:
        self.network = network
        self.parameters = parameters
        self._small, self._large = NumpyProducts(), products or NumpyProducts()
        self._recompute = recompute
        self._cell = cell or CELLS[network.cell]
        self._views, self._gradient_views = (
            _by_layer(views, len(network.hidden_sizes)) for views in (parameters.views, parameters.gradient_views)
        )
        self._tapes: dict[int, Tape] = {}

    def compile(self) -> bool:
        """Use the cell's compiled passes from now on, if they give the same gradient on a test batch, up to rounding.

        Returns:
            Whether it uses them.
        """
        dtype, network = self.parameters.values.dtype, Network(self.network.cell, 1, (5, 5), (), 1)
        if dtype.kind != "f" or not self._cell.compiles:
            return False
        parameters, random = Parameters(network, dtype), np.random.default_rng(0)
        parameters.initialize(network, random)
        try:
            from lstmcast.network.cells.compiled import COMPILED

            compiled = COMPILED[network.cell]
            plain, faster = NumpyEngine(network, parameters), NumpyEngine(network, parameters, cell=compiled)
            batch, gradients = Batch(*random.standard_normal((2, 7, 4, 1))), []
            for engine in (plain, faster):
                engine.loss_and_gradient(batch)
                gradients.append(parameters.gradient.copy())
        except Exception:  # numba is not there, or not made for this NumPy: it is only for speed
            return False
        expected, found = gradients
        if not np.abs(found - expected).max() <= ROUNDING * np.finfo(dtype).eps * np.abs(expected).max():
            return False
        self._cell = compiled
        self._tapes.clear()
        return True

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss, weighted over the steps; overwrite ``parameters.gradient``."""
        # a diverging network overflows; the training loop looks at the loss
        with np.errstate(over="ignore", invalid="ignore"):
            run = self.forward(batch)
            loss, dy = self.loss_of(batch, run.y)
            self.backward(run, dy)
        return float(loss.real)

    def input_gradients(self, batch: Batch) -> tuple[Array, Array]:
        """Return dL/d inputs ``(N, T, F)`` and dL/d initial state ``(N, S)``; overwrite ``parameters.gradient``."""
        run = self.forward(batch)
        dx = np.zeros(run.x.shape, run.y.dtype)
        dstate = self.backward(run, self.loss_of(batch, run.y)[1], dx)
        return dx.transpose(2, 0, 1), dstate.T

    def loss(self, batch: Batch) -> np.generic:
        """Return the loss alone, in the parameters' dtype: complex parameters give a complex loss."""
        return self.loss_of(batch, self.forward(batch).y)[0]

    def predict(self, inputs: Array) -> Array:
        """Return the outputs ``(N, T, O)`` along true inputs ``(N, T, F)``, from the zero state."""
        return self._read(inputs)[0]

    def _read(self, inputs: Array) -> tuple[Array, list[Array]]:
        """Return the outputs ``(N, T, O)`` along true inputs, and the states ``(H, N)`` after them.

        Long inputs are read piece by piece: what is never differentiated need not be remembered.
        """
        N, T, _ = inputs.shape
        piece = max(1, PIECE // (self._cell.blocks * sum(self.network.hidden_sizes) * N))
        with np.errstate(over="ignore", invalid="ignore"):  # a forecast may overflow
            run = self.forward(Batch(inputs, inputs), min(piece, T))
        last = T % run.segment or run.segment
        return run.y.transpose(2, 0, 1), [state.copy() for state in run.tape.states(last)]

    def trace(self, inputs: Array) -> dict[str, Array]:
        """Return gates and states along true inputs ``(N, T, F)``, by name, each ``(N, T, H)``."""
        run = self.forward(Batch(inputs, inputs), inputs.shape[1])
        return self._traced(run)

    def trace_gradients(self, batch: Batch) -> dict[str, Array]:
        """Return gates, states and the loss's gradients with respect to them, by name, each ``(N, T, H)``.

        "layer l dh" and "layer l dc" are the whole gradients of h(t) and c(t), through all that comes after;
        "layer l da_i" is that of gate i's pre-activation.
        """
        T = batch.inputs.shape[1]
        run = self.forward(batch, T)
        traced = self._traced(run)
        gradients: dict[str, Array] = {}
        for index, H in enumerate(self.network.hidden_sizes):
            names = ["dh", "dc", *(f"da_{name}" for name in self._cell.gate_names or "h")]
            gradients |= {f"layer {index} {name}": np.zeros((T, H, len(batch.inputs)), run.y.dtype) for name in names}
        self.backward(run, self.loss_of(batch, run.y)[1], arriving=gradients)
        return traced | {
            name: array.transpose(2, 0, 1)
            for name, array in gradients.items()
            if self._cell.states == 2 or not name.endswith("dc")
        }

    def _traced(self, run: Pass) -> dict[str, Array]:
        traced: dict[str, Array] = {}
        T = len(run.x)
        for index, layer in enumerate(run.tape.layers):
            for name, k in zip(self._cell.gate_names, self._cell.gate_blocks, strict=True):
                traced[f"layer {index} {name}"] = layer.m[:T, k * layer.H : (k + 1) * layer.H]
            if layer.c is not None:
                traced[f"layer {index} c"] = layer.c[1 : T + 1]
            traced[f"layer {index} h"] = layer.h[1 : T + 1]
        return {name: array.transpose(2, 0, 1).copy() for name, array in traced.items()}

    def stream(
        self,
        history: Array,
        delay: int = 1,
        read: Callable[[Array], Array] = same,
        paths: int = 1,
        known: Iterator[Array] | None = None,
    ) -> Iterator[Array]:
        """Read ``history`` (N, T, F), then yield one forecast ``(N paths, O)`` after another, without end."""
        outputs, states = self._read(history)
        # a tape of its own: there may be other streams, and batches in between
        N = len(history) * paths
        steps = max(1, min(16, STREAM // (self._cell.blocks * sum(self.network.hidden_sizes) * N)))
        tape = self._new_tape(steps, N)
        weights = self._load(tape)
        tape.set_states([np.repeat(state, paths, axis=1) for state in states])
        pending = [np.repeat(y.T, paths, axis=1) for y in outputs[:, -delay:].swapaxes(0, 1)]
        # a forecast may overflow; a context of its own keeps the caller's handling of floating-point errors
        quiet = copy_context()
        quiet.run(np.seterr, over="ignore", invalid="ignore")
        while True:
            for t in range(steps):
                forecast = read(pending.pop(0).T)
                tape.x[t, : forecast.shape[1]] = forecast.T
                if known is not None:
                    tape.x[t, forecast.shape[1] :] = next(known).T
                yield forecast
                pending.append(quiet.run(self._forecast, weights, tape, t))
            tape.set_states(list(tape.states(steps)))

    def _forecast(self, weights: Sequence[Weights], tape: Tape, t: int) -> Array:
        self._step(weights, tape, t)
        return tape.head.forward(t)

    def _load(self, tape: Tape) -> list[Weights]:
        """Pack the weights as the tape's products take them; put the elementwise parameters on the tape."""
        cell, products, wrap = self._cell, tape.products, tape.products.wrap
        weights = []
        for views, layer in zip(self._views, tape.layers, strict=True):
            H = layer.H
            if cell.elementwise:
                layer.e[:, 0] = np.concatenate([views[name] for name in cell.elementwise])
            W = cell.pack(views)
            D = W.shape[1] - H - 1
            back = np.ascontiguousarray(np.delete(W, D, axis=1).T)
            W[: cell.sigmoids * H] *= 0.5
            weights.append(Weights(products.wrap_weight(W), wrap(back), wrap(back[D:])))
        return weights

    def _tape(self, T: int, B: int) -> Tape:
        # batches come in one or two sizes: keep their arrays from step to step
        tape = self._tapes.get(B)
        if tape is None or tape.T < T:
            if len(self._tapes) == 2:
                self._tapes.clear()
            self._tapes[B] = tape = self._new_tape(T, B)
        return tape

    def _new_tape(self, T: int, B: int) -> Tape:
        state = max(self.network.hidden_sizes) * B * self.parameters.values.itemsize
        products = self._large if B >= MANY or state >= LARGE else self._small
        return Tape(self._cell, self.network, self.parameters, products, T, B)

    def _step(self, weights: Sequence[Weights], tape: Tape, t: int) -> None:
        multiply, forward = tape.products.multiply, tape.cell.forward
        for W, (z, a, views) in zip(weights, tape.forward[t]):  # noqa: B905  (a keyword costs time)
            multiply(W.forward, z, a)
            forward(views)

    def forward(self, batch: Batch, segment: int | None = None) -> Pass:
        """Run forward in segments of at most so many steps; None: all at once, or √T if the rest is recomputed."""
        B, T, _ = batch.inputs.shape
        if segment is None:
            segment = isqrt(T - 1) + 1 if self._recompute else T
        y = np.zeros((T, self.network.output_size, B), self.parameters.values.dtype)
        tape, x = self._tape(segment, B), batch.inputs.transpose(1, 2, 0)
        tape.head.load()
        run = Pass(batch, self._load(tape), tape, x, y, Schedule.of(batch), segment)
        state: list[Array] | None = None
        if batch.initial_state is not None:
            sizes = np.cumsum([len(part) for part in tape.states(0)])
            state = np.split(batch.initial_state.T, sizes[:-1])
        for start in range(0, T, segment):
            run.starts.append(state)
            stop = self._run_segment(run, start)
            if stop < T:
                state = [part.copy() for part in tape.states(stop - start)]
        return run

    def _run_segment(self, run: Pass, start: int) -> int:
        """Fill the tape with the steps from ``start`` on, and ``run.y``; return the first step after them."""
        tape, batch, schedule, O = run.tape, run.batch, run.schedule, self.network.output_size
        stop = min(start + run.segment, len(run.x))
        tape.set_states(run.starts[start // run.segment])
        tape.x[: stop - start] = run.x[start:stop]
        y = run.y[start:stop]
        for first in range(0, stop - start, tape.chunk):
            last = min(first + tape.chunk, stop - start)
            for t in range(first, last):
                if start + t >= schedule.first_free:
                    assert batch.feedback is not None
                    read = batch.feedback[:, start + t]
                    np.copyto(tape.x[t, :O], run.y[start + t - batch.delay], where=read)
                self._step(run.weights, tape, t)
                if start + t >= schedule.first_single:
                    tape.head.forward(t, y[t])
            # the other outputs of these steps at once, while their states are in cache
            together = schedule.together(start, first, last)
            if together.start < together.stop:
                tape.head.forward(together, y[together])
        return stop

    def loss_of(self, batch: Batch, y: Array) -> tuple[np.generic, Array]:
        """Return the loss and dL/dy, ``(T, O, B)``, 0 before the first step that counts."""
        first = batch.first_counted
        w = np.ones((1, y.shape[2])) if batch.weights is None else batch.weights.T[first:]
        w = np.broadcast_to(w, (len(y) - first, y.shape[2]))[:, None]
        w = (w / w.sum()).astype(y.real.dtype)
        target = batch.targets.transpose(1, 2, 0)[first:].astype(y.real.dtype)
        loss, counted = LOSSES[self.network.output](y[first:], target, w)
        dy = np.zeros_like(y)
        dy[first:] = counted
        return loss, dy

    def backward(
        self, run: Pass, dy: Array, dx: Array | None = None, arriving: Mapping[str, Array] | None = None
    ) -> Array:
        """Write the parameters' gradient; return the initial state's, ``(S, B)``.

        If given, the inputs' gradient is written to ``dx`` (T, F, B), and to ``arriving`` the gradients by name that
        `trace_gradients` shows, of a pass in one segment.
        """
        layers, T = run.tape.layers, len(run.x)
        dW = [np.zeros((self._cell.rows * layer.H, layer.z.shape[1]), dy.dtype) for layer in layers]
        found = Gradients(dy, dW, dx, arriving)
        self.parameters.gradient[:] = 0
        for layer in layers:
            layer.begin_backward()
        for start in range((T - 1) // run.segment * run.segment, -1, -run.segment):
            stop = min(start + run.segment, T)
            if stop < T:
                self._run_segment(run, start)
            # a chunk at a time: few enough steps that they stay in cache
            for last in range(stop - start, 0, -run.tape.chunk):
                steps = slice(max(0, last - run.tape.chunk), last)
                for layer in layers:
                    layer.linearize(steps)
                self._back_through(run, start, steps, found)
                self._add_gradients(run, start, steps, found)
        for total, gradients in zip(dW, self._gradient_views, strict=True):
            self._cell.unpack(total, gradients)
        return np.concatenate([part for layer in layers for part in layer.state_gradient()])

    def _back_through(self, run: Pass, start: int, steps: slice, found: Gradients) -> None:
        """Go back through a chunk of the steps on the tape, whose first is the batch's step ``start``."""
        tape, schedule, local = run.tape, run.schedule, found.dy[start:]
        backward, multiply, arriving = tape.cell.backward, tape.products.multiply, found.arriving
        top, together = tape.layers[-1], schedule.together(start, steps.start, steps.stop)
        dtop = tape.head.backward(together, local) if together.start < together.stop else None
        # from the top layer down, each with the one below it
        below = [None, *tape.layers[:-1]]
        layers = list(enumerate(zip(run.weights, tape.layers, below, strict=True)))[::-1]
        for t in reversed(range(steps.start, steps.stop)):
            if start + t >= schedule.first_single:
                top.dh += tape.head.backward(t, local)
            elif dtop is not None and t >= together.start:
                top.dh += dtop[t - together.start]
            to_input = found.dx is not None or start + t >= schedule.first_free
            for index, (W, layer, next_layer) in layers:
                da, views = layer.backward[t - steps.start]
                backward(views, t)
                if arriving is not None:
                    self._record(arriving, index, layer, t, t - steps.start)
                if next_layer is not None:
                    multiply(W.backward, da, layer.dz_wrapped)
                    np.add(next_layer.dh, layer.dx, next_layer.dh)
                elif to_input:
                    multiply(W.backward, da, layer.dz_wrapped)
                else:
                    # no caller needs the gradient of a true input
                    multiply(W.backward_state, da, layer.dh_wrapped)
            if to_input:
                self._back_to_input(run, start + t, found.dy, found.dx)

    def _add_gradients(self, run: Pass, start: int, steps: slice, found: Gradients) -> None:
        """Add what a chunk of steps gives to the parameters' gradients."""
        tape, cell, count = run.tape, run.tape.cell, steps.stop - steps.start
        for total, layer in zip(found.weights, tape.layers, strict=True):
            tape.products.add_sum(total, layer.da[:count], layer.z[steps])
        for layer, gradients in zip(tape.layers, self._gradient_views, strict=True) if cell.elementwise else ():
            sums = cell.elementwise_gradient(layer.m[steps.start : steps.stop + 1], layer.d[:count])
            for name, part in zip(cell.elementwise, np.split(sums, len(cell.elementwise)), strict=True):
                gradients[name] += part
        counted = slice(max(steps.start, run.schedule.first_output - start), steps.stop)
        if counted.start < counted.stop:
            tape.head.add_gradient(counted, found.dy[start:], self.parameters.gradient_views)

    def _record(self, arriving: Mapping[str, Array], index: int, layer: LayerTape, t: int, k: int) -> None:
        arriving[f"layer {index} dh"][t], arriving[f"layer {index} dc"][t] = layer.dh, layer.dc
        for name, block in zip(self._cell.gate_names or "h", self._cell.gate_blocks or (0,), strict=True):
            arriving[f"layer {index} da_{name}"][t] = layer.d[k, block * layer.H : (block + 1) * layer.H]

    def _back_to_input(self, run: Pass, t: int, dy: Array, dx: Array | None) -> None:
        """Hand the gradient of step t's input on: to the prediction that was read there, or to ``dx``."""
        dz, O, batch = run.tape.layers[0].dx, self.network.output_size, run.batch
        if self.network.residual:
            dz[:O] += dy[t]
        if batch.feedback is not None and t >= run.schedule.first_free:
            before, read = dy[t - batch.delay], batch.feedback[:, t]
            np.add(before, dz[:O], out=before, where=read)
            np.copyto(dz[:O], 0, where=read)
        if dx is not None:
            dx[t] = dz


def _by_layer(views: Mapping[str, Array], layers: int) -> list[dict[str, Array]]:
    """Return each layer's parameters by their names in the cell."""
    found: list[dict[str, Array]] = [{} for _ in range(layers)]
    for full_name, view in views.items():
        part, index, name = full_name.split(".")
        if part == "cells":
            found[int(index)][name] = view
    return found
