"""The reference: forward pass, loss, and a backward pass that can be told to make mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import CodeType
from typing import Any, TypeAlias

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.formulas import Program
from lstmcast.doctor.problem import Model, Problem, Sizes, shape_of

Gradients: TypeAlias = dict[str, Array]

Schedule: TypeAlias = Sequence[tuple[int, int | None, bool]]
"""For each step of a backward loop: t, the only step whose loss counts (None: all), and: start afresh before it."""

FAILURES = (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError)
"""What a wrong formula may raise, for shapes and steps that do not go with it."""

SLIPS = {
    "softmax over samples": ("the softmax is normalised over the samples", "p = exp(z) / Σ over the classes"),
    "labels shifted up": ("the labels are shifted along the classes: class k + 1 for k", "y[t], unshifted"),
    "labels shifted down": ("the labels are shifted along the classes: class k - 1 for k", "y[t], unshifted"),
    "log of the residual": ("the loss is the logarithm of the residual 1 - p", "loss = -Σ y ln p"),
}
"""Mistakes in the forward pass of a softmax: what is found, what is expected."""


def sigmoid(a: Array) -> Array:
    """Return 1 / (1 + exp(-a))."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * a)))


class Tape(dict[str, Any]):
    """What the forward pass leaves behind: each quantity's value at each step, ``q[t]``; and the loss."""

    loss: Any


def forward(model: Model, problem: Problem) -> Tape:
    """Run forward; the loss is the sum of (p - y)²/2, or of the cross-entropy, over all that counts.

    Raises:
        KeyError: if a parameter that the cell needs is missing.
    """
    P, s = problem.parameters, problem.sizes
    T = s.T
    zero = np.zeros((s.B, s.H))
    tape = Tape(T=T, B=s.B, D=s.D, H=s.H, O=s.O, np=np, sigmoid=sigmoid, **P)
    names = (*model.gates, "h", "c", "tc", "v", *(f"a{gate}" for gate in model.gates))
    # steps before the first and after the last hold zeros
    for name in names:
        tape[name] = {-2: zero, -1: zero, T: zero}
    tape["h"][-1], tape["c"][-1], tape["tc"][-1] = problem.h0, problem.c0, np.tanh(problem.c0)
    for name, array in (("x", problem.x), ("y", problem.y)):
        tape[name] = {-1: np.zeros_like(array[0]), **dict(enumerate(array)), T: np.zeros_like(array[0])}
    bias = {gate: P.get(f"b_{gate}", 0.0) for gate in model.gates}
    second = {gate: P.get(f"bh_{gate}", 0.0) for gate in model.gates}
    h, c = problem.h0, problem.c0
    for t in range(T):
        x = problem.x[t]
        if model.cell == "gru":
            h = _gru_step(model, tape, t, x, h, bias, second)
        else:
            a = {g: x @ P[f"Wx_{g}"] + h @ P[f"Wh_{g}"] + bias[g] + second[g] for g in model.gates}
            for gate, value in a.items():
                tape[f"a{gate}"][t] = value
            if model.cell == "rnn":
                h = np.tanh(a["h"])
            else:
                i, f, g, o = sigmoid(a["i"]), sigmoid(a["f"]), np.tanh(a["g"]), sigmoid(a["o"])
                c = f * c + i * g
                tc = np.tanh(c)
                h = o * tc
                for name, value in (("i", i), ("f", f), ("g", g), ("o", o), ("c", c), ("tc", tc)):
                    tape[name][t] = value
        tape["h"][t] = h
    out = np.stack([tape["h"][t] for t in range(T)]) @ P["Wy"] + P.get("by", 0.0)
    tape["out"] = out
    first = 0 if model.every else T - 1
    tape["counted"] = {t: float(t >= first) for t in range(-1, T + 1)}
    tape["p"], tape.loss = _output(model, out, problem.y, first)
    for name in ("p", "out"):
        tape[name] = {-1: np.zeros((s.B, s.O)), **dict(enumerate(tape[name])), T: np.zeros((s.B, s.O))}
    tape["k"] = 1.0
    return tape


def _output(model: Model, out: Array, y: Array, first: int) -> tuple[Array, Any]:
    """Return predictions and loss of outputs ``(T, B, O)``."""
    if model.output == "squared":
        return out, 0.5 * ((out - y)[first:] ** 2).sum()
    axis = 1 if model.slip == "softmax over samples" else -1
    shifted = out - out.max(axis=axis, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(axis=axis, keepdims=True)
    p /= total
    if model.slip == "log of the residual":
        return p, -(np.log(1 - p) * y)[first:].sum()
    shift = {"labels shifted up": 1, "labels shifted down": -1}.get(model.slip, 0)
    return p, -((shifted - np.log(total)) * np.roll(y, shift, -1))[first:].sum()


def _gru_step(
    model: Model, tape: Tape, t: int, x: Array, h: Array, b: Mapping[str, Any], bh: Mapping[str, Any]
) -> Array:
    r, z = (sigmoid(x @ tape[f"Wx_{g}"] + h @ tape[f"Wh_{g}"] + b[g] + bh[g]) for g in "rz")
    if model.reset_after:
        tape["v"][t] = h @ tape["Wh_n"] + bh["n"]
        a = x @ tape["Wx_n"] + b["n"] + r * tape["v"][t]
    else:
        a = x @ tape["Wx_n"] + (r * h) @ tape["Wh_n"] + b["n"] + bh["n"]
    n = np.tanh(a)
    tape["r"][t], tape["z"][t], tape["n"][t], tape["an"][t] = r, z, n, a
    for gate, value in (("r", r), ("z", z)):
        tape[f"a{gate}"][t] = np.log(value / (1 - value))
    return np.asarray((1 - z) * n + z * h if model.z_keeps else z * n + (1 - z) * h)


def one_pass(T: int) -> Schedule:
    """From the last step to the first, once."""
    return [(t, None, False) for t in reversed(range(T))]


@dataclass(frozen=True, eq=False)
class Fault:
    """A mistake: other statements in the place of the right ones.

    Attributes:
        slot: where it is; mistakes of one slot exclude each other.
        words: what it is, in words.
        changes: statements by label.
        schedule: another order of steps.
        start: values other than zero before the first statement, by name.
        known: it is in the catalogue (else it was derived from the right formula).
    """

    slot: str
    words: str
    changes: Mapping[str, str] = field(default_factory=dict)
    schedule: Callable[[int], Schedule] | None = None
    start: Mapping[str, float] = field(default_factory=dict)
    known: bool = True


@cache
def _compiled(statement: str) -> CodeType:
    return compile(statement, "<formula>", "exec")


def backward(model: Model, program: Program, tape: Mapping[str, Any], faults: tuple[Fault, ...] = ()) -> Gradients:
    """Run the backward pass, with mistakes if any are given; return the gradients by role.

    Raises:
        ValueError: or another of `FAILURES`, if a wrong formula does not go with the shapes.
    """
    lines = dict(program)
    schedule: Callable[[int], Schedule] = one_pass
    sizes = Sizes(tape["B"], tape["T"], tape["D"], tape["H"], tape["O"])
    space = dict(tape)
    B, H = sizes.B, sizes.H
    space["dh_next"] = space["dc_next"] = np.zeros((B, H))
    for role in model.roles:
        space[f"d{role}"] = np.zeros(shape_of(role, sizes))
    for fault in faults:
        lines.update(fault.changes)
        schedule = fault.schedule or schedule
        for name, value in fault.start.items():
            if name in space:
                space[name] = np.full_like(space[name], value)
    codes = [_compiled(line) for line in lines.values()]
    counted = space["counted"]
    for t, source, afresh in schedule(sizes.T):
        space["t"] = t
        if source is not None:
            space["counted"] = {s: value if s == source else 0.0 for s, value in counted.items()}
        if afresh:
            space["dh_next"] = space["dc_next"] = np.zeros((B, H))
        for code in codes:
            exec(code, space)  # our own formulas
    return {role: space[f"d{role}"] for role in model.roles}
