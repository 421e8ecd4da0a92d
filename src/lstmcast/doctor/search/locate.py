"""Which statement a wrong gradient comes from: free what it assigns, and see whether the gradients come out.

All that follows a statement is linear in what it assigns, so the values under which a program's gradients come out
are a least-squares problem. If there are none, the mistake is elsewhere, or not there alone; if there are, they are
what the program has in its place, and any formula for it can be compared with them directly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.formulas import Program
from lstmcast.doctor.problem import Model
from lstmcast.doctor.reference import FAILURES, Fault, Gradients, Tape, backward

SUFFICIENT = 1e-7
Space = dict[str, Any]


@dataclass(frozen=True)
class Freed:
    """What a statement must assign at each step, and the names that there are before it.

    Attributes:
        values: by step; None where several would do.
        spaces: all names, by step.
    """

    values: dict[int, Array] | None
    spaces: dict[int, Space]


def freed(
    model: Model,
    right: Program,
    tape: Tape,
    faults: tuple[Fault, ...],
    label: str,
    wanted: Gradients,
    tolerance: float = SUFFICIENT,
) -> Freed | None:
    """Return the values of one statement under which gradients come out; None if there are none.

    Args:
        model: the cell and its output.
        right: its backward pass.
        tape: of a problem.
        faults: mistakes in other statements.
        label: the statement, one that is assigned with ``=``.
        wanted: the gradients that are to come out.
        tolerance: how close they must come.
    """
    T, shape = tape["T"], (tape["B"], tape["O" if label == "dy" else "H"])
    free = {t: np.zeros(shape) for t in range(T)}
    spaces: dict[int, Space] = {}
    own = Tape(tape) | {"free": free, "seen": spaces, "snapshot": _snapshot}
    replaced = (*faults, Fault(label, "", {label: f"{label} = free[t]"}))

    def given(with_spaces: bool = False) -> Array:
        chosen = replaced
        if with_spaces:
            chosen = (*faults, Fault(label, "", {label: f"seen[t] = snapshot(globals()); {label} = free[t]"}))
        found = backward(model, right, own, chosen)
        return np.concatenate([np.broadcast_to(found[role], wanted[role].shape).ravel() for role in wanted])

    try:
        with np.errstate(all="ignore"):
            start = given()
            columns = []
            for t in free:
                for index in np.ndindex(shape):
                    free[t][index] = 1.0
                    columns.append(given() - start)
                    free[t][index] = 0.0
            goal = np.concatenate([wanted[role].ravel() for role in wanted])
            matrix = np.stack(columns, axis=1)
            seen = np.linalg.norm(matrix, axis=0) > 1e-12 * np.linalg.norm(matrix)
            solution = np.zeros(len(columns))
            solution[seen], _, rank, _ = np.linalg.lstsq(matrix[:, seen], goal - start, rcond=1e-10)
            left = float(np.linalg.norm(matrix @ solution + start - goal))
            if not left <= tolerance * float(np.linalg.norm(goal) + np.linalg.norm(start)):
                return None
            for t, value in zip(free, solution.reshape(T, *shape), strict=True):
                free[t][...] = value
            given(with_spaces=True)
    except (*FAILURES, np.linalg.LinAlgError):
        return None
    some = seen.reshape(T, -1).any(axis=1)
    return Freed({t: free[t] for t in free if some[t]} if rank == seen.sum() else None, spaces)


def matching(found: Freed, expressions: Iterable[str], tolerance: float) -> list[str]:
    """Return the expressions that have the values found, at each step."""
    assert found.values is not None
    size = max(float(np.linalg.norm(value)) for value in found.values.values())
    matched = []
    with np.errstate(all="ignore"):
        for expression in expressions:
            code = compiled(expression)
            try:
                close = all(
                    _near(eval(code, found.spaces[t]), value, tolerance * size) for t, value in found.values.items()
                )
            except FAILURES:
                continue
            if close:
                matched.append(expression)
    return matched


def _near(one: Any, other: Array, distance: float) -> bool:
    difference = one - other
    return bool(np.shape(difference) == other.shape and np.linalg.norm(difference) <= distance)


def _snapshot(names: Space) -> Space:
    # the sums are added to in place
    return {name: value.copy() if name.startswith(("dW", "db")) else value for name, value in names.items()}


@cache
def compiled(expression: str) -> CodeType:
    """Compile one of our own expressions."""
    return compile(expression, "<formula>", "eval")


def before(
    model: Model, right: Program, tape: Tape, faults: tuple[Fault, ...], label: str
) -> list[tuple[int, Space]] | None:
    """Return the names that there are before a statement, at each pass through it; None if it fails."""
    seen: list[tuple[int, Space]] = []
    own = Tape(tape) | {"seen": seen, "snapshot": _snapshot}
    try:
        with np.errstate(all="ignore"):
            backward(model, right, own, (*faults, Fault(label, "", {label: "seen.append((t, snapshot(globals())))"})))
    except FAILURES:
        return None
    return seen


def summing(
    spaces: list[tuple[int, Space]], label: str, wanted: Array, statements: Iterable[str], allowed: float
) -> list[str]:
    """Return the statements under which a sum over the steps is the gradient wanted."""
    matched = []
    with np.errstate(all="ignore"):
        for statement in statements:
            code = _statement(statement)
            total: Any = np.zeros_like(wanted)
            try:
                for _, space in spaces:
                    space[label] = total
                    exec(code, space)  # our own formulas
                    total = space[label]
                close = np.shape(total) == wanted.shape and np.linalg.norm(total - wanted) <= allowed
            except FAILURES:
                continue
            if close:
                matched.append(statement)
    return matched


@cache
def _statement(text: str) -> CodeType:
    return compile(text, "<formula>", "exec")
