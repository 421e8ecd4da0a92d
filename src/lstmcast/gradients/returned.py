"""Whole arrays that are handed back in the wrong place, or changed as a whole after they were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lstmcast.arrays import Array
from lstmcast.gradients.report import Finding

CLOSE = 1e-7


@dataclass(frozen=True)
class Exchange:
    """What a program gives for one problem, beside what is right.

    Attributes:
        given: its gradients, as it returned them; empty if it raised an exception.
        right: the right ones.
        parameters: what it was called with.
        others: what else a right backward pass has at hand at its end, by name.
    """

    given: Mapping[str, Array]
    right: Mapping[str, Array]
    parameters: Mapping[str, Array]
    others: Mapping[str, Array]


def recognised(exchanges: Sequence[Exchange], wrong: Sequence[str]) -> dict[str, Finding]:
    """Return a finding for each wrong gradient, by name, that is recognised as a whole.

    It is another parameter's gradient, the parameter itself, the right one clipped, or with a weight penalty.
    """
    there = [exchange for exchange in exchanges if exchange.given]
    found: dict[str, Finding] = {}
    for name in wrong:
        cases = [case for case in there if name in case.given]
        if not cases:
            continue
        proof = f"on {len(cases)} problems, to {CLOSE:.0e}"
        expected = f"the gradient of {name}"
        for other in cases[0].right:
            if other != name and all(_same(case.given[name], case.right[other]) for case in cases):
                order = "in LSTMCAST, 'gradients' says in which order they are returned"
                found[name] = Finding(
                    f"gradient of {name}",
                    f"what is returned for {name} is the right gradient of {other}",
                    expected,
                    f"{proof}; {order}",
                )
            elif all(_same(case.given[name], case.parameters[other]) for case in cases):
                what = f"what is returned for {name} is the parameter {other}, not a gradient"
                found[name] = Finding(f"gradient of {name}", what, expected, proof)
        if name in found:
            continue
        if other := next((o for o in cases[0].others if all(_same(c.given[name], c.others[o]) for c in cases)), ""):
            what = f"what is returned for {name} is {other}, as it is after the last pass through the loop"
            found[name] = Finding(f"gradient of {name}", what, expected, proof)
        elif all(_repeats(case.given[name], case.right[name]) for case in cases):
            shape = f"the right gradient, repeated to shape {cases[-1].given[name].shape}"
            found[name] = Finding(
                f"gradient of {name}",
                shape,
                f"an array of shape {cases[-1].right[name].shape}",
                f"{proof}; it starts as zeros of another shape",
            )
    left = [name for name in wrong if name not in found]
    return found | _clipped(there, left) | _penalised(there, left)


def _same(one: Array, other: Array) -> bool:
    for right in (other, other.T):
        if one.size == right.size and _squeezed(one) == _squeezed(right):
            distance = np.linalg.norm(one.reshape(right.shape) - right)
            if distance <= CLOSE * np.linalg.norm(right) and (right.any() or one.ndim == 0):
                return True
    return False


def _squeezed(array: Array) -> list[int]:
    return [size for size in array.shape if size > 1]


def _repeats(given: Array, right: Array) -> bool:
    if given.size <= right.size or not right.any():
        return False
    try:
        wide = np.broadcast_to(right, given.shape)
    except ValueError:
        return False
    return bool(np.linalg.norm(given - wide) <= CLOSE * np.linalg.norm(wide))


def _comparable(case: Exchange, names: Sequence[str]) -> bool:
    return all(
        name in case.given and case.given[name].shape == case.right[name].shape and np.isfinite(case.given[name]).all()
        for name in names
    )


def _clipped(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    """Recognise gradients that are limited, entry by entry or together in their norm."""
    if not names or not all(_comparable(case, names) for case in cases):
        return {}
    limit = max(float(np.abs(case.given[name]).max()) for case in cases for name in names)
    largest = max(float(np.abs(case.right[name]).max()) for case in cases for name in names)
    advice = "a clip belongs into training, after grads: inside, it makes every gradient check fail where it is reached"
    if 0 < limit < largest and all(
        np.linalg.norm(case.given[name] - np.clip(case.right[name], -limit, limit))
        <= CLOSE * np.linalg.norm(case.right[name])
        for case in cases
        for name in names
    ):
        evidence = f"the right gradient with every entry clipped to ±{limit:.6g} is yours; {advice}"
        return {
            name: Finding("clipping", f"clip(d{name}, -{limit:.6g}, {limit:.6g})", f"d{name}", evidence)
            for name in names
        }
    shrunk = {}
    for number, case in enumerate(cases):
        norm = float(np.sqrt(sum(np.sum(value**2) for value in case.given.values())))
        full = float(np.sqrt(sum(np.sum(value**2) for value in case.right.values())))
        if abs(norm - full) > CLOSE * full:
            if not norm:
                return {}
            shrunk[number] = norm
            if not all(
                _comparable(case, [name]) and np.linalg.norm(given * full / norm - case.right[name]) <= CLOSE * full
                for name, given in case.given.items()
            ):
                return {}
    if len(shrunk) < 2 or np.ptp(list(shrunk.values())) > CLOSE * max(shrunk.values()):
        return {}
    limit = max(shrunk.values())
    evidence = f"where the norm of all gradients together is larger, yours have the norm {limit:.6g}; {advice}"
    return {name: Finding("clipping", f"d{name} * {limit:.6g} / norm", f"d{name}", evidence) for name in names}


def _penalised(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    """Recognise gradients with a multiple of the parameter added, the same on all problems."""
    found = {}
    for name in names:
        if not all(_comparable(case, [name]) for case in cases):
            continue
        factors = [penalty(case.given[name] - case.right[name], case.parameters[name]) for case in cases]
        first = factors[0]
        if first and all(factor and abs(factor - first) <= 1e-5 * abs(first) for factor in factors):
            evidence = (
                "a weight penalty is in the gradient, but not in the loss; leave it out of both, or add it to both"
            )
            found[name] = Finding("weight penalty", f"d{name} + {first:.6g} * {name}", f"d{name}", evidence)
    return found


def penalty(difference: Array, parameter: Array) -> float | None:
    """Return the number by which a parameter must be multiplied to be the difference; None if there is none."""
    factor = float(np.sum(difference * parameter) / np.sum(parameter**2))
    left = float(np.linalg.norm(difference - factor * parameter))
    return factor if left <= 1e-5 * float(np.linalg.norm(difference)) else None
