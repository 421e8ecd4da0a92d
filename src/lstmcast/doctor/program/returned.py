"""Whole arrays that are handed back in the wrong place, or changed as a whole after they were computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lstmcast.arrays import Array, squeezed
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
    """Return a finding for each wrong gradient, by name, that is recognised as a whole; several may share one.

    It is another parameter's gradient, a parameter, what is left of the last step, the right one repeated, clipped, or
    with a weight penalty.
    """
    there = [exchange for exchange in exchanges if exchange.given]
    found: dict[str, Finding] = {}
    others: dict[str, str] = {}
    weights: dict[str, str] = {}
    for name in wrong:
        cases = [case for case in there if name in case.given]
        if not cases:
            continue
        proof = f"on {len(cases)} problems, to {CLOSE:.0e}"
        for other in cases[0].right:
            if other != name and all(_same(case.given[name], case.right[other]) for case in cases):
                others[name] = other
            elif all(_same(case.given[name], case.parameters[other]) for case in cases):
                weights[name] = other
        if name in others or name in weights:
            continue
        slot = f"gradient of {name}"
        if other := next((o for o in cases[0].others if all(_same(c.given[name], c.others[o]) for c in cases)), ""):
            what = f"what is returned for {name} is {other}, as it is after the last pass through the loop"
            found[name] = Finding(slot, what, f"the gradient of {name}", proof)
        elif all(_repeats(case.given[name], case.right[name]) for case in cases):
            what = f"the right gradient, repeated to shape {cases[-1].given[name].shape}"
            expected = f"an array of shape {cases[-1].right[name].shape}"
            found[name] = Finding(slot, what, expected, f"{proof}; it starts as zeros of another shape")
    if weights:
        what = "; ".join(f"what is returned for {name} is the parameter {other}" for name, other in weights.items())
        found |= dict.fromkeys(weights, Finding("what is returned", what, "gradients", f"on {len(there)} problems"))
    if others:
        what = "; ".join(f"what is returned for {name} is the gradient of {other}" for name, other in others.items())
        evidence = f"on {len(there)} problems, to {CLOSE:.0e}"
        if set(others) == set(others.values()):
            order = [others.get(name, name) for name in there[0].right]
            evidence += f"; if they come as a list, 'gradients': {order} in LSTMCAST says so"
        found |= dict.fromkeys(others, Finding("what is returned", what, "each gradient in its own place", evidence))
    left = [name for name in wrong if name not in found]
    return found | _clipped(there, left) | _penalised(there, left)


def _same(one: Array, other: Array) -> bool:
    for right in (other, other.T):
        if one.size == right.size and squeezed(one.shape) == squeezed(right.shape):
            distance = np.linalg.norm(one.reshape(right.shape) - right)
            if distance <= CLOSE * np.linalg.norm(right) and (right.any() or one.ndim == 0):
                return True
    return False


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
        clip = f"clip(d{names[0]}, -{limit:.6g}, {limit:.6g})"
        return dict.fromkeys(names, Finding("clipping", clip + _likewise(names), f"d{names[0]}", evidence))
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
    clip = f"d{names[0]} * {limit:.6g} / norm"
    return dict.fromkeys(names, Finding("clipping", clip + _likewise(names), f"d{names[0]}", evidence))


def _likewise(names: Sequence[str]) -> str:
    return f"  (likewise {', '.join(names[1:])})" if len(names) > 1 else ""


def _penalised(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    """Recognise gradients with a multiple of the parameter added, the same on all problems."""
    found: dict[float, list[str]] = {}
    for name in names:
        if not all(_comparable(case, [name]) for case in cases):
            continue
        factors = [penalty(case.given[name] - case.right[name], case.parameters[name]) for case in cases]
        first = factors[0]
        if first and all(factor and abs(factor - first) <= 1e-5 * abs(first) for factor in factors):
            found.setdefault(float(f"{first:.6g}"), []).append(name)
    evidence = "a weight penalty is in the gradient, but not in the loss: it belongs in both, or in neither"
    return {
        name: Finding(
            "weight penalty", f"d{some[0]} + {factor:g} * {some[0]}{_likewise(some)}", f"d{some[0]}", evidence
        )
        for factor, some in found.items()
        for name in some
    }


def penalty(difference: Array, parameter: Array) -> float | None:
    """Return the number by which a parameter must be multiplied to be the difference; None if there is none."""
    factor = float(np.sum(difference * parameter) / np.sum(parameter**2))
    left = float(np.linalg.norm(difference - factor * parameter))
    return factor if left <= 1e-5 * float(np.linalg.norm(difference)) else None
