"""Whole arrays that are handed back in the wrong place, or changed as a whole after they were computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    for recognise in (_left_over, _repeated, _parameters, _exchanged, _clipped, _penalised):
        found |= recognise(there, [name for name in wrong if name not in found])
    return found


def _identical(
    cases: Sequence[Exchange], names: Sequence[str], arrays: Callable[[Exchange], Mapping[str, Array]]
) -> dict[str, list[str]]:
    """Return for each gradient given the names of those arrays that it equals on all problems."""
    found = {}
    for name in names:
        some = [case for case in cases if name in case.given]
        others = arrays(some[0]) if some else {}
        found[name] = [o for o in others if all(_same(case.given[name], arrays(case)[o]) for case in some)]
    return found


def _proof(cases: Sequence[Exchange], name: str) -> str:
    return f"on {sum(name in case.given for case in cases)} problems, to {CLOSE:.0e}"


def _left_over(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    return {
        name: Finding(
            f"gradient of {name}",
            f"what is returned for {name} is {others[0]}, as it is after the last pass through the loop",
            f"the gradient of {name}",
            _proof(cases, name),
        )
        for name, others in _identical(cases, names, lambda case: case.others).items()
        if others
    }


def _repeated(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    found = {}
    for name in names:
        some = [case for case in cases if name in case.given]
        if some and all(_repeats(case.given[name], case.right[name]) for case in some):
            what = f"the right gradient, repeated to shape {some[-1].given[name].shape}"
            expected = f"an array of shape {some[-1].right[name].shape}"
            evidence = f"{_proof(cases, name)}; it starts as zeros of another shape"
            found[name] = Finding(f"gradient of {name}", what, expected, evidence)
    return found


def _parameters(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    identical = _identical(cases, names, lambda case: case.parameters)
    found = {name: others[-1] for name, others in identical.items() if others}
    what = "; ".join(f"what is returned for {name} is the parameter {other}" for name, other in found.items())
    return dict.fromkeys(found, Finding("what is returned", what, "gradients", f"on {len(cases)} problems"))


def _exchanged(cases: Sequence[Exchange], names: Sequence[str]) -> dict[str, Finding]:
    identical = _identical(cases, names, lambda case: case.right).items()
    # its own, transposed, is no other parameter's
    found = {name: other for name, others in identical for other in others if other != name}
    what = "; ".join(f"what is returned for {name} is the gradient of {other}" for name, other in found.items())
    evidence = f"on {len(cases)} problems, to {CLOSE:.0e}"
    if found and set(found) == set(found.values()):
        order = [found.get(name, name) for name in cases[0].right]
        evidence += f"; if they come as a list, 'gradients': {order} in LSTMCAST says so"
    return dict.fromkeys(found, Finding("what is returned", what, "each gradient in its own place", evidence))


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
    advice = "a clip belongs into training, after grads: inside, it makes every gradient check fail where it is reached"
    if limit := _entry_limit(cases, names):
        evidence = f"the right gradient with every entry clipped to ±{limit:.6g} is yours; {advice}"
        clip = f"clip(d{names[0]}, -{limit:.6g}, {limit:.6g})"
    elif limit := _norm_limit(cases):
        evidence = f"where the norm of all gradients together is larger, yours have the norm {limit:.6g}; {advice}"
        clip = f"d{names[0]} * {limit:.6g} / norm"
    else:
        return {}
    return dict.fromkeys(names, Finding("clipping", clip + _likewise(names), f"d{names[0]}", evidence))


def _entry_limit(cases: Sequence[Exchange], names: Sequence[str]) -> float:
    """Return the limit to which every entry is clipped; 0: there is none."""
    pairs = [(case.given[name], case.right[name]) for case in cases for name in names]
    limit = max((float(np.abs(given).max()) for given, _ in pairs), default=0.0)
    clipped = limit < max((float(np.abs(right).max()) for _, right in pairs), default=0.0) and all(
        np.linalg.norm(given - np.clip(right, -limit, limit)) <= CLOSE * np.linalg.norm(right) for given, right in pairs
    )
    return limit if clipped else 0.0


def _norm_limit(cases: Sequence[Exchange]) -> float:
    """Return the norm to which all gradients together are scaled where theirs is larger; 0: there is none."""
    limits = []
    for case in cases:
        norm, full = _norm(case.given), _norm(case.right)
        if abs(norm - full) <= CLOSE * full:
            continue
        if not norm or not all(
            _comparable(case, [name]) and np.linalg.norm(given * full / norm - case.right[name]) <= CLOSE * full
            for name, given in case.given.items()
        ):
            return 0.0
        limits.append(norm)
    return max(limits) if len(limits) > 1 and np.ptp(limits) <= CLOSE * max(limits) else 0.0


def _norm(arrays: Mapping[str, Array]) -> float:
    return float(np.sqrt(sum(np.sum(value**2) for value in arrays.values())))


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
