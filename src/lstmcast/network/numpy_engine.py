"""The NumPy engine: forward and backward by hand.

Time comes first and features before the batch: inputs ``(T, F, B)``, states ``(H, B)``. Each layer's
inputs lie in one array z with z(t) = [x(t); h(t-1); 1], so that one product W z(t) serves input, state and
bias, and its transpose the whole way back. See ``cells/`` for what happens between the products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.network.cells import CELLS
from lstmcast.network.description import Network
from lstmcast.network.engine import same
from lstmcast.network.head import Head
from lstmcast.network.losses import LOSSES
from lstmcast.network.parameters import Parameters

# steps read at once where nothing is differentiated
PIECE = 1024
# a chunk of steps whose copies (in numbers) stay in the processor's cache
CHUNK = 2**17


class LayerTape:
    """All that one layer remembers of T steps on a batch of B."""

    def __init__(self, T: int, D: int, H: int, B: int, rows: int, states: int, dtype: np.dtype[np.generic]) -> None:
        self.z: Array = np.zeros((T + 1, D + H + 1, B), dtype)
        self.z[:, -1] = 1
        self.a: Array = np.empty((T, rows * H, B), dtype)
        self.x, self.h = self.z[:, :D], self.z[:, D:-1]
        memory = (T, H, B) if states == 2 else (T, 0, B)
        self.c: Array = np.zeros((T + 1, *memory[1:]), dtype)
        self.tanh_c: Array = np.empty(memory, dtype)
        # views are made once: making them costs as much as a small product
        self.forward_steps = list(
            zip(self.z, self.a, self.h, self.c, self.h[1:], self.c[1:], self.tanh_c, self.x, strict=False)
        )


class Tape:
    """All that a network remembers of T steps on a batch of B."""

    def __init__(self, network: Network, parameters: Parameters, T: int, B: int) -> None:
        dtype = parameters.values.dtype
        cell = CELLS[network.cell]
        sizes = (network.input_size, *network.hidden_sizes)
        self.layers = [LayerTape(T, D, H, B, cell.rows, cell.states, dtype) for D, H in pairwise(sizes)]
        self.head = Head(network, parameters.views, self.layers[-1].h[1:], self.layers[0].x[:T])

    def states(self, t: int) -> Iterator[Array]:
        """Yield the views ``(H, B)`` of the state before step t: h, then c if there is one, layer by layer."""
        for layer in self.layers:
            yield layer.h[t]
            if layer.c.shape[1]:
                yield layer.c[t]


class NumpyEngine:
    """Runs a network by hand-derived forward and backward passes, in the parameters' dtype."""

    def __init__(self, network: Network, parameters: Parameters) -> None:
        self.network = network
        self.parameters = parameters
        self._cell = CELLS[network.cell]
        self._tapes: dict[tuple[int, int], Tape] = {}

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss, weighted over the steps; overwrite ``parameters.gradient``."""
        # a diverging network overflows; the training loop looks at the loss
        with np.errstate(over="ignore", invalid="ignore"):
            weights = self._packed()
            tape, fed = self._forward(batch, weights)
            loss, dy = self._loss(batch, tape.head.y)
            self._backward(batch, weights, tape, fed, dy)
        return float(loss.real)

    def input_gradients(self, batch: Batch) -> tuple[Array, Array]:
        """Return dL/d inputs ``(N, T, F)`` and dL/d initial state ``(N, S)``; overwrite ``parameters.gradient``."""
        weights = self._packed()
        tape, fed = self._forward(batch, weights)
        dx = np.zeros_like(tape.layers[0].x[:-1])
        dstate = self._backward(batch, weights, tape, fed, self._loss(batch, tape.head.y)[1], dx)
        return dx.transpose(2, 0, 1), dstate.T

    def loss(self, batch: Batch) -> np.generic:
        """Return the loss alone, in the parameters' dtype: complex parameters give a complex loss."""
        tape, _ = self._forward(batch, self._packed())
        return self._loss(batch, tape.head.y)[0]

    def predict(self, inputs: Array) -> Array:
        """Return the outputs ``(N, T, O)`` along true inputs ``(N, T, F)``, from the zero state."""
        return self._read(inputs, self._packed())[0]

    def _read(self, inputs: Array, weights: Sequence[Array]) -> tuple[Array, list[Array]]:
        """Return the outputs ``(N, T, O)`` along true inputs, and the states ``(H, N)`` after them.

        Long inputs are read piece by piece: what is never differentiated need not be remembered.
        """
        N, T, _ = inputs.shape
        outputs = np.empty((N, T, self.network.output_size), self.parameters.values.dtype)
        state = None
        with np.errstate(over="ignore", invalid="ignore"):  # a forecast may leave the finite numbers
            for start in range(0, T, PIECE):
                piece = inputs[:, start : start + PIECE]
                tape, _ = self._forward(Batch(piece, piece, initial_state=state), weights)
                outputs[:, start : start + PIECE] = tape.head.y.transpose(2, 0, 1)
                state = np.concatenate(list(tape.states(piece.shape[1]))).T
        return outputs, [last.copy() for last in tape.states(piece.shape[1])]

    def trace(self, inputs: Array) -> dict[str, Array]:
        """Return gates and states along true inputs ``(N, T, F)``, by name, each ``(N, T, H)``."""
        return self._traced(self._forward(Batch(inputs, inputs), self._packed())[0])

    def trace_gradients(self, batch: Batch) -> dict[str, Array]:
        """Return gates, states and the loss's gradients with respect to them, by name, each ``(N, T, H)``.

        "layer l dh" and "layer l dc" are the whole gradients of h(t) and c(t), through all that comes after;
        "layer l da_i" is that of gate i's pre-activation.
        """
        weights = self._packed()
        tape, fed = self._forward(batch, weights)
        traced = self._traced(tape)
        arriving = [(np.zeros_like(layer.h[1:]), np.zeros_like(layer.c[1:])) for layer in tape.layers]
        self._backward(batch, weights, tape, fed, self._loss(batch, tape.head.y)[1], arriving=arriving)
        for index, (layer, (dh, dc), H) in enumerate(
            zip(tape.layers, arriving, self.network.hidden_sizes, strict=True)
        ):
            gradients = {"dh": dh}
            if self._cell.states == 2:
                # what arrives from the step after, and what comes through h(t) = o tanh(c)
                o = traced[f"layer {index} o"].transpose(1, 2, 0)
                gradients["dc"] = dc + dh * o * (1 - layer.tanh_c**2)
            # the backward pass has left da in the place of the gates
            names = self._cell.gate_names or ("h",)
            gradients |= {f"da_{name}": layer.a[:, k * H : (k + 1) * H] for k, name in enumerate(names)}
            traced |= {f"layer {index} {name}": array.transpose(2, 0, 1).copy() for name, array in gradients.items()}
        return traced

    def _traced(self, tape: Tape) -> dict[str, Array]:
        traced: dict[str, Array] = {}
        for index, (layer, H) in enumerate(zip(tape.layers, self.network.hidden_sizes, strict=True)):
            for block, name in enumerate(self._cell.gate_names):
                traced[f"layer {index} {name}"] = layer.a[:, block * H : (block + 1) * H]
            if self._cell.states == 2:
                traced[f"layer {index} c"] = layer.c[1:]
            traced[f"layer {index} h"] = layer.h[1:]
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
        weights = self._packed()
        outputs, states = self._read(history, weights)
        tape = Tape(self.network, self.parameters, 1, len(history) * paths)
        for now, last in zip(tape.states(0), states, strict=True):
            now[...] = np.repeat(last, paths, axis=1)
        pending = [np.repeat(y.T, paths, axis=1) for y in outputs[:, -delay:].swapaxes(0, 1)]
        x = tape.layers[0].x[0]
        while True:
            y = pending.pop(0)
            forecast = read(y.T)
            x[: forecast.shape[1]] = forecast.T
            if known is not None:
                x[forecast.shape[1] :] = next(known).T
            yield forecast
            with np.errstate(over="ignore", invalid="ignore"):  # a forecast may leave the finite numbers
                self._step(weights, tape, 0)
                pending.append(tape.head.forward(0).copy())
            for before, after in zip(tape.states(0), tape.states(1), strict=True):
                before[...] = after

    def _packed(self) -> list[Array]:
        views, cell = self.parameters.views, self._cell
        return [
            cell.pack(*(views[f"cells.{layer}.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
            for layer in range(len(self.network.hidden_sizes))
        ]

    def _tape(self, T: int, B: int) -> Tape:
        # batches come in one or two shapes: keep their arrays from step to step
        if (T, B) not in self._tapes:
            if len(self._tapes) == 2:
                self._tapes.clear()
            self._tapes[T, B] = Tape(self.network, self.parameters, T, B)
        return self._tapes[T, B]

    def _step(self, weights: Sequence[Array], tape: Tape, t: int) -> None:
        last = len(weights) - 1
        for index, (W, layer) in enumerate(zip(weights, tape.layers, strict=True)):
            z, a, h_prev, c_prev, h, c, tanh_c, _ = layer.forward_steps[t]
            np.matmul(W, z, out=a)
            self._cell.forward(a, h_prev, c_prev, h, c, tanh_c)
            if index < last:
                tape.layers[index + 1].x[t] = h

    def _forward(self, batch: Batch, weights: Sequence[Array]) -> tuple[Tape, int]:
        """Fill a tape; return it and the first step that reads a prediction (T if none does)."""
        B, T, _ = batch.inputs.shape
        tape = self._tape(T, B)
        x, y, O = tape.layers[0].x, tape.head.y, self.network.output_size
        x[:T] = batch.inputs.transpose(1, 2, 0)
        start = 0
        for state in tape.states(0):
            stop = start + len(state)
            state[...] = 0 if batch.initial_state is None else batch.initial_state[:, start:stop].T
            start = stop
        fed = first_fed(batch)
        alone = max(0, fed - batch.delay)
        for t in range(T):
            if batch.feedback is not None and t >= fed:
                np.copyto(x[t, :O], y[t - batch.delay], where=batch.feedback[:, t])
            self._step(weights, tape, t)
            if t >= alone:
                tape.head.forward(t)
        tape.head.forward(slice(min(first_counted(batch), alone), alone))
        return tape, fed

    def _loss(self, batch: Batch, y: Array) -> tuple[np.generic, Array]:
        """Return the loss and dL/dy, ``(T, O, B)``, 0 before the first step that counts."""
        first = first_counted(batch)
        w = np.ones((1, y.shape[2])) if batch.weights is None else batch.weights.T[first:]
        w = np.broadcast_to(w, (len(y) - first, y.shape[2]))[:, None]
        w = (w / w.sum()).astype(y.real.dtype)
        target = batch.targets.transpose(1, 2, 0)[first:].astype(y.real.dtype)
        loss, counted = LOSSES[self.network.output](y[first:], target, w)
        dy = np.zeros_like(y)
        dy[first:] = counted
        return loss, dy

    def _backward(
        self,
        batch: Batch,
        weights: Sequence[Array],
        tape: Tape,
        fed: int,
        dy: Array,
        dx: Array | None = None,
        arriving: Sequence[tuple[Array, Array]] | None = None,
    ) -> Array:
        """Write the parameters' gradient; return the initial state's, ``(S, B)``.

        If given, the inputs' gradient is written to ``dx`` (T, F, B), and to ``arriving`` what arrives at each
        layer's h(t) and, from the step after, at its c(t).
        """
        T, O, B = dy.shape
        H = self.network.hidden_sizes
        first, alone = first_counted(batch), max(0, fed - batch.delay)
        output_from = min(first, alone)
        dhs = [np.zeros((h, B), dy.dtype) for h in H]
        dcs = [np.zeros((layer.c.shape[1], B), dy.dtype) for layer in tape.layers]
        dtop = tape.head.backward(slice(output_from, alone), dy)
        transposed = [np.ascontiguousarray(W[:, :-1].T) for W in weights]
        top = len(H) - 1
        for t in reversed(range(T)):
            if t >= alone:
                dhs[top] += tape.head.backward(t, dy)
            elif t >= output_from:
                dhs[top] += dtop[t - output_from]
            for index in range(top, -1, -1):
                _, a, h_prev, c_prev, _, _, tanh_c, x = tape.layers[index].forward_steps[t]
                dh, D = dhs[index], len(x)
                if arriving is not None:
                    for kept, now in zip(arriving[index], (dh, dcs[index]), strict=True):
                        kept[t] = now
                self._cell.backward(a, h_prev, c_prev, tanh_c, dh, dcs[index])
                if index == 0 and t < fed and dx is None:
                    # nobody asks for the gradient of a true input
                    dh += transposed[0][D:] @ a
                    continue
                dz = transposed[index] @ a
                dh += dz[D:]
                if index > 0:
                    dhs[index - 1] += dz[:D]
                    continue
                if self.network.residual:
                    dz[:O] += dy[t]
                if batch.feedback is not None and t >= fed:
                    # what was read there was a prediction: its gradient goes to the prediction
                    np.add(dy[t - batch.delay], dz[:O], out=dy[t - batch.delay], where=batch.feedback[:, t])
                    np.copyto(dz[:O], 0, where=batch.feedback[:, t])
                if dx is not None:
                    dx[t] = dz[:D]
        self._write_gradient(tape, output_from)
        return np.concatenate([part for pair in zip(dhs, dcs, strict=True) for part in pair])

    def _write_gradient(self, tape: Tape, output_from: int) -> None:
        views = self.parameters.gradient_views
        for index, layer in enumerate(tape.layers):
            dW = sum_of_products(layer.a, layer.z[:-1])
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            self._cell.unpack(dW, *(views[f"cells.{index}.{name}"] for name in names))
        tape.head.write_gradient(output_from, views)


def first_fed(batch: Batch) -> int:
    """Return the first step at which any sequence reads its own prediction; T if none does.

    Raises:
        ValueError: if a prediction is read before one has been made.
    """
    if batch.feedback is None or not batch.feedback.any():
        return int(batch.inputs.shape[1])
    fed = int(batch.feedback.any(axis=0).argmax())
    if fed < batch.delay:
        raise ValueError(f"step {fed} cannot read a prediction made {batch.delay} steps before it")
    return fed


def first_counted(batch: Batch) -> int:
    """Return the first step that has a weight in the loss."""
    return 0 if batch.weights is None else int(batch.weights.any(axis=0).argmax())


def sum_of_products(left: Array, right: Array) -> Array:
    """Return Σ_t left(t) right(t)ᵀ, for ``(T, R, B)`` and ``(T, C, B)``: ``(R, C)``.

    Many steps make one large product, few enough that its operands stay in cache.
    """
    T, R, B = left.shape
    C = right.shape[1]
    chunk = max(1, CHUNK // ((R + C) * B))
    total = np.zeros((R, C), left.dtype)
    for start in range(0, T, chunk):
        part = slice(start, start + chunk)
        total += left[part].swapaxes(0, 1).reshape(R, -1) @ right[part].swapaxes(0, 1).reshape(C, -1).T
    return total
