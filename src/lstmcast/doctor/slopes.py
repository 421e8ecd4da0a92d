"""The check without a reference: slopes of the program's own loss, by complex step or central differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.program import worker
from lstmcast.doctor.program.adapter import Adapter
from lstmcast.doctor.program.examination import Examination, Trial
from lstmcast.doctor.program.process import Answers, Call, ask, described
from lstmcast.doctor.program.returned import penalty
from lstmcast.errors import InvalidError
from lstmcast.gradients.report import Finding, ParameterResult, Report

STEP = 2e-3
STEPS = (STEP, -STEP, STEP / 2, -STEP / 2)
ENTRIES = 100
CHOSEN = (1, 2)
"""Which problems of the battery are looked at, besides the first of all."""
TOLERANCE = 1e-6
# a usual error of slopes, relative to all of them, that curvature alone does not make
ROUGH = 1e-6


def check(file: Path, adapter: Adapter, asked: Examination, time_limit: float) -> Report:
    """Compare a program's gradients with differences of its loss, at two step sizes, on problems of several sizes.

    Args:
        file: the program.
        adapter: what it says of itself.
        asked: the problems that it can take.
        time_limit: seconds for its process.

    Raises:
        InvalidError: if it fails, or takes too long.
    """
    start = len(asked.fitting) + len(asked.equal)
    numbers = [0, *(start + index for index in CHOSEN)]
    calls: list[Call] = []
    for number in numbers:
        calls += _calls(number, asked.trials[number].arrays)
    answers = ask(file, asked.posed, calls, adapter.gradients, time_limit)
    found: dict[str, list[Slopes]] = {}
    exact = True
    failures: list[dict[str, Any]] = []
    for number in numbers:
        mine = [index for index, call in enumerate(calls) if call["problem"] == number]
        # not all programs calculate with complex numbers
        real = [answers.errors[index] for index in mine if not calls[index].get("complex")]
        failures += [failure for failure in real if failure]
        if any(real):
            # said by `code.exceptions`
            continue
        slopes, complex_ = _slopes(asked.trials[number], answers, mine)
        exact = exact and complex_
        for name, slope in slopes.items():
            found.setdefault(name, []).append(slope)
    if not found:
        raise InvalidError(described(file, failures[0]))
    results = {name: _result(slopes) for name, slopes in found.items()}
    errors = [result.relative_error for result in results.values()]
    wrong = [name for name, result in results.items() if not result.passed]
    count = len(next(iter(found.values())))
    return Report(
        not wrong,
        "the complex step through the program's loss" if exact else "central differences of the program's loss",
        float(np.max(errors)),
        results,
        _findings(found, wrong),
        (
            f"the loss is none that the reference knows; only its slopes could be compared, on {count} problems",
            *_roughness(found),
        ),
    )


def _roughness(found: Mapping[str, Sequence[Slopes]]) -> tuple[str, ...]:
    """Say how exactly the slopes are known, if the loss is rough."""
    every = [slope for some in found.values() for slope in some if slope.scale]
    usual = [np.median(slope.uncertain) / slope.scale for slope in every]
    known = [3 * np.linalg.norm(slope.uncertain) / slope.scale for slope in every]
    if max(usual, default=0.0) <= ROUGH:
        return ()
    return (f"the loss is rough, as one that computes in float32 is: gradients are compared to {max(known):.0e}",)


def _calls(number: int, arrays: Mapping[str, Array]) -> list[Call]:
    entries = [(name, index) for name, array in arrays.items() for index in _some(array)]
    calls: list[Call] = [{"kind": "grads", "problem": number}]
    for step in STEPS:
        calls += [{"kind": "loss", "problem": number, "array": n, "index": i, "step": step} for n, i in entries]
    return [
        *calls,
        *({"kind": "loss", "problem": number, "array": n, "index": i, "complex": True} for n, i in entries),
    ]


@dataclass(frozen=True)
class Slopes:
    """What a program's loss says of one parameter's gradient, on one problem.

    Attributes:
        values: the slopes, of those entries that were looked at.
        uncertain: how far they may be off.
        own: what the program gives for the same entries; None if that is no gradient of this shape.
        parameter: the values of the parameter there.
        indices: where these entries are.
        shape: the parameter's.
        scale: the norm of all slopes of the problem.
    """

    values: Array
    uncertain: Array
    own: Array | None
    parameter: Array
    indices: list[int]
    shape: tuple[int, ...]
    scale: float


def _slopes(trial: Trial, answers: Answers, mine: Sequence[int]) -> tuple[dict[str, Slopes], bool]:
    """Return the slopes of one problem, and whether they are from the complex step."""
    given = answers.gradients[mine[0]] or {}
    losses: list[Any] = [answers.losses[index] for index in mine[1:]]
    count = len(losses) // (len(STEPS) + 1)
    there = np.array([float(np.real(value)) for value in losses[: len(STEPS) * count]]).reshape(len(STEPS), count)
    wide, narrow = (there[0] - there[1]) / (2 * STEP), (there[2] - there[3]) / STEP
    slopes = (4 * narrow - wide) / 3
    # the rounding of a loss moves the better estimate by up to four times as much as it moves the two apart, and moves
    # some entries less by chance: a loss in float32 is that rough
    uncertain = 4 * np.abs(slopes - narrow)
    uncertain = np.maximum(uncertain, np.median(uncertain))
    exact = _complex_slopes(losses[len(STEPS) * count :])
    complex_ = exact is not None and bool(
        (np.abs(exact - slopes) <= 3 * uncertain + TOLERANCE * np.abs(slopes).max()).all()
    )
    if complex_ and exact is not None:
        slopes, uncertain = exact, np.zeros_like(exact)
    scale = float(np.linalg.norm(slopes))
    found = {}
    place = 0
    for name, array in trial.arrays.items():
        indices = _some(array)
        chosen = slice(place, place + len(indices))
        place += len(indices)
        own = given[name].reshape(-1)[indices] if name in given and given[name].size == array.size else None
        parameter = array.reshape(-1)[indices]
        found[name] = Slopes(slopes[chosen], uncertain[chosen], own, parameter, indices, array.shape, scale)
    return found, complex_


def _result(slopes: Sequence[Slopes]) -> ParameterResult:
    """Return the worst of one parameter's comparisons."""
    worst = ParameterResult(0.0, True)
    for slope in slopes:
        if slope.own is None:
            return ParameterResult(float("nan"), False, None, "missing, or of another shape")
        difference = slope.own - slope.values
        distance = float(np.linalg.norm(difference))
        size = max(float(np.linalg.norm(slope.values)), 1e-3 * slope.scale)
        error = distance / size if size else (float("inf") if distance else 0.0)
        passed = error <= TOLERANCE + (3 * float(np.linalg.norm(slope.uncertain)) / size if size else 0.0)
        where = np.unravel_index(slope.indices[int(np.abs(difference).argmax())], slope.shape)
        if not error <= worst.relative_error:
            worst = ParameterResult(error, passed and worst.passed, None if passed else tuple(map(int, where)))
        elif not passed:
            worst = replace(worst, passed=False)
    return worst


def _findings(found: Mapping[str, Sequence[Slopes]], wrong: Sequence[str]) -> tuple[Finding, ...]:
    """Say that a weight penalty is missing, or that nothing can be named."""
    penalties: dict[float, list[str]] = {}
    for name in wrong:
        factors = [
            None if slope.own is None else penalty(slope.values - slope.own, slope.parameter) for slope in found[name]
        ]
        if factors[0] and all(factor and abs(factor - factors[0]) <= 1e-4 * abs(factors[0]) for factor in factors):
            penalties.setdefault(float(f"{factors[0]:.4g}"), []).append(name)
    findings = [
        Finding(
            "weight penalty",
            f"the loss has a penalty of {factor / 2:g} times the squares of {', '.join(names)}; the gradient has not",
            "\n".join(f"d{name} + {factor:g} * {name}" for name in names),
            "the slopes of the loss, less your gradient, are a multiple of the parameter, the same on all problems",
        )
        for factor, names in penalties.items()
    ]
    if rest := [name for name in wrong if not any(name in names for names in penalties.values())]:
        findings.append(
            Finding(
                "the forward pass",
                f"gradients of {', '.join(rest)} differ from the slopes of the loss",
                "a loss that is one of: LSTM, GRU or RNN, linear output, squared error or softmax cross-entropy",
                "no layout of your arrays makes your loss equal to one of these, so no mistake can be named:"
                " look at the forward pass and the loss, and at LSTMCAST (output, loss, axes), first",
            )
        )
    return tuple(findings)


def _complex_slopes(losses: Sequence[Any]) -> Array | None:
    """Return Im f(x + ih) / h, if the program calculates with complex numbers."""
    if any(value is None or not np.iscomplexobj(value) for value in losses):
        return None
    slopes = np.array([float(np.imag(value)) / worker.COMPLEX_STEP for value in losses])
    return slopes if np.isfinite(slopes).all() else None


def _some(array: Array) -> list[int]:
    """Return up to 100 entries, evenly spread."""
    return sorted({int(k) for k in np.linspace(0, array.size - 1, min(array.size, ENTRIES))})
