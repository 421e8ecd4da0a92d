"""The trace beside a user's own program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lstmcast.arrays import Array, squeezed
from lstmcast.data.batches import Batch, loss_weights
from lstmcast.doctor.problem import Model, Problem, Sizes
from lstmcast.doctor.program import adapter as adapters
from lstmcast.doctor.program.examination import LAYOUT_SIZES, draw, fitted
from lstmcast.doctor.program.process import Call, Posed, ask, described, read_source
from lstmcast.errors import InvalidError
from lstmcast.gradients.trace import Row, rows_of
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters


def trace_code(file: Path, steps: int, units: int, time_limit: float = 60.0) -> list[Row]:
    """Trace one random sequence by our hand-derived passes, beside what a program shows of its own.

    The program needs, besides what the gradient check needs, a function ``trace(params, x, y, …)`` that takes the
    same arguments and returns a dict of arrays, each of a row for each step: any of the gates (i, f, g, o; r, z, n),
    c, h, and the gradients dh, dc, da_i, … of h(t), c(t) and the gates' pre-activations, with these names.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if its adapter makes no sense, its code fails, or its loss is that of no cell we know.
    """
    adapter = adapters.read(read_source(file), str(file))
    rng = np.random.default_rng(3)
    fitting = [draw(adapter, rng, LAYOUT_SIZES) for _ in range(3)]
    hidden = 4 if steps != 4 else 5
    shown = draw(adapter, rng, Sizes(1, steps, 3, hidden, 2))
    trials = [*fitting, shown]
    calls: list[Call] = [{"kind": "loss", "problem": index} for index in range(4)] + [{"kind": "trace", "problem": 3}]
    posed = [Posed(trial.arrays, adapter.arguments(trial.problem)) for trial in trials]
    answers = ask(file, posed, calls, adapter.gradients, time_limit)
    for error in answers.errors:
        if error is not None:
            raise InvalidError(described(file, error))
    found = fitted(adapter, fitting, answers.losses[:3])
    if found is None:
        raise InvalidError(f"{file}: its loss is that of no cell known here, so its steps cannot be compared")
    problem = replace(shown.problem, parameters=found.canonical(shown.arrays, shown.problem.sizes))
    ours = _ours(file, found.model, problem, float(np.real(answers.losses[3])))
    theirs = answers.gradients[4]
    if not theirs:
        raise InvalidError(f"{file}: trace returns an empty dict; give it at least one of the gates, c and h")
    unknown = sorted(theirs.keys() - {name.removeprefix("layer 0 ") for name in ours})
    if unknown:
        known = ", ".join(name.removeprefix("layer 0 ") for name in ours)
        raise InvalidError(f"{file}: trace returns {', '.join(unknown)}; the names are {known}")
    s = shown.problem.sizes
    other = {f"layer 0 {name}": _rows(file, name, value, s.T, s.H) for name, value in theirs.items()}
    return list(rows_of(ours, other, units))


def _ours(file: Path, model: Model, problem: Problem, loss: float) -> Mapping[str, Array]:
    """Trace the same problem by the NumPy engine, its gradients in the scale of the program's loss."""
    if model.cell == "gru" and not (model.reset_after and model.z_keeps):
        raise InvalidError(f"{file}: this variant of the GRU (reset before the product, or h = z n + …) is not traced")
    s, P = problem.sizes, problem.parameters
    network = Network(model.cell, s.D, (s.H,), (), s.O, output="categorical" if model.output == "softmax" else "value")
    parameters = Parameters(network)

    def stacked(kind: str) -> Array:
        return np.concatenate([np.transpose(P[f"{kind}_{gate}"]) for gate in model.gates])

    for name, kind in (("weight_ih", "Wx"), ("weight_hh", "Wh"), ("bias_ih", "b"), ("bias_hh", "bh")):
        if f"{kind}_{model.gates[0]}" in P:
            parameters.views[f"cells.0.{name}"][...] = stacked(kind)
    parameters.views["head.0.weight"][...] = P["Wy"].T
    parameters.views["head.0.bias"][...] = P.get("by", 0.0)
    states = (problem.h0, problem.c0) if model.cell == "lstm" else (problem.h0,)
    batch = Batch(
        problem.x.swapaxes(0, 1),
        problem.y.swapaxes(0, 1),
        loss_weights(np.array([s.T]), s.T, last_step=not model.every, warmup=0),
        initial_state=np.concatenate(states, axis=1),
    )
    engine = NumpyEngine(network, parameters)
    scale = loss / engine.loss_and_gradient(batch)
    traced = engine.trace_gradients(batch)
    return {name: value * scale if " d" in name else value for name, value in traced.items()}


def _rows(file: Path, name: str, value: Array, steps: int, hidden: int) -> Array:
    """Bring what a program shows to ``(1, steps, hidden)``."""
    long = value.reshape(squeezed(value.shape))
    if long.shape == squeezed((steps, hidden)):
        return long.reshape(1, steps, hidden)
    if long.shape == (hidden, steps):
        return long.T[None]
    raise InvalidError(f"{file}: trace's {name} has shape {value.shape}; it needs {hidden} units at {steps} steps")
