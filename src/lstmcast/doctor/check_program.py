"""Check a user's program, and say which mistake makes its gradient wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from lstmcast.arrays import Array, squeezed
from lstmcast.doctor import slopes as numeric
from lstmcast.doctor import wording
from lstmcast.doctor.problem import GATES, Sizes
from lstmcast.doctor.program import adapter as adapters
from lstmcast.doctor.program import behaviour as conduct
from lstmcast.doctor.program import layout
from lstmcast.doctor.program.adapter import Adapter
from lstmcast.doctor.program.examination import SINGLE, Examination, Trial, examination, fitted, is_single
from lstmcast.doctor.program.layout import Layout
from lstmcast.doctor.program.process import Answers, ask, described, read_source
from lstmcast.doctor.program.returned import Exchange, recognised
from lstmcast.doctor.reference import SLIPS, Gradients
from lstmcast.doctor.search.diagnose import Case, Doctor
from lstmcast.errors import InvalidError
from lstmcast.gradients.report import Finding, ParameterResult, Report

PASSED = 1e-7
FLOOR = 1e-3


def check_code(file: Path, time_limit: float = 60.0, diagnose: bool = True) -> Report:
    """Check a program's gradients, and diagnose them if they are wrong.

    Args:
        file: a Python file with ``LSTMCAST``, ``loss`` and ``grads``; see `adapter`.
        time_limit: seconds that its processes may take.
        diagnose: name the mistakes.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if its adapter makes no sense, or its code fails.
    """
    adapter = adapters.read(read_source(file), str(file))
    asked = examination(adapter)
    begun = time.monotonic()
    answers = ask(file, asked.posed, asked.calls, adapter.gradients, time_limit)
    left = max(0.1, time_limit - (time.monotonic() - begun))
    report = judge(file, adapter, asked, answers, diagnose)
    if report is not None:
        return report
    said = _misdeclared(adapter, asked, answers)
    # the forward pass is unknown: its slopes are all there is
    report = numeric.check(file, adapter, asked, left)
    findings = [
        *conduct.findings(answers),
        *exceptions(file, asked, answers),
        *_complaints(*_compared(asked, answers)).values(),
        *slips(adapter, asked, answers),
    ]
    return replace(
        report,
        passed=report.passed and not findings,
        diagnosis=(*findings, *report.diagnosis),
        notes=(*conduct.notes(answers), *report.notes, *said),
    )


def slips(adapter: Adapter, asked: Examination, answers: Answers) -> list[Finding]:
    """Name the mistake of a forward pass whose loss is that of none of the cells."""
    if adapter.output == "softmax":
        for slip, (found, expected) in SLIPS.items():
            if fitted(adapter, *_fitting(asked, answers), slip) is not None:
                evidence = "with this mistake, the reference's loss is yours on three problems"
                return [Finding("the forward pass", found, expected, evidence)]
    return []


def _misdeclared(adapter: Adapter, asked: Examination, answers: Answers) -> list[str]:
    """Say which key of the adapter, if it were another, would make the loss one that the reference knows."""
    others: dict[str, Adapter] = {
        "cell": replace(adapter, cells=tuple(cell for cell in GATES if cell not in adapter.cells)),
        "output": replace(adapter, output="squared" if adapter.output == "softmax" else "softmax"),
    }
    if adapter.every is not None and "T" in adapter.y:
        others["loss"] = replace(adapter, every=not adapter.every)
    for key, other in others.items():
        if found := fitted(other, *_fitting(asked, answers)):
            value = {"cell": found.model.cell, "output": other.output, "loss": "every" if other.every else "last"}[key]
            return [f"with '{key}': '{value}' in {adapters.NAME} the loss would be known, and mistakes could be named"]
    return []


def judge(file: Path, adapter: Adapter, asked: Examination, answers: Answers, diagnose: bool = True) -> Report | None:
    """Judge a program by its answers; None if its loss is none that the reference knows.

    Raises:
        InvalidError: if its code failed.
    """
    _refuse_failures(file, asked, answers)
    found = fitted(adapter, *_fitting(asked, answers))
    if found is None:
        return None
    trials, given = _compared(asked, answers)
    cases = _cases(found, asked, answers, trials, given)
    right = [
        found.arrays(case.reference, trial.arrays, trial.problem.sizes)
        for case, trial in zip(cases, trials, strict=True)
    ]
    parameters = compare(found, cases, given, right)
    wrong = [name for name, result in parameters.items() if not result.passed]
    complaints = _complaints(trials, given)
    exchanges = [
        Exchange(own, expected, trial.arrays, case.left_over())
        for own, expected, trial, case in zip(given, right, trials, cases, strict=True)
    ]
    findings = [*conduct.findings(answers), *exceptions(file, asked, answers, not wrong)]
    known = recognised(exchanges, wrong) if diagnose else {}
    findings += dict.fromkeys((complaints | known).values())
    if diagnose:
        explained = {role for name in known for role in found.roles_of(name)}
        rest = [
            replace(case, gradients={role: own for role, own in case.gradients.items() if role not in explained})
            for case in cases
        ]
        if any(case.wrong(()) for case in rest):
            doctor = Doctor(found.model, rest)
            findings += wording.explained(found, doctor, doctor.diagnose())
    # nan if there is a parameter of which nothing could be compared
    worst = float(np.max([result.relative_error for result in parameters.values()]))
    if wrong and diagnose and not findings:
        findings.append(wording.imprecise(worst))
    return Report(
        not wrong and not findings,
        "the reference's backward pass, whose loss is the program's",
        worst,
        parameters,
        tuple(findings),
        (*conduct.notes(answers), *wording.inferred(found, cases)),
    )


def _fitting(asked: Examination, answers: Answers) -> tuple[list[Trial], list[Any]]:
    """Return the trials to find the layout with, and their losses: those of equal sizes if others raise."""
    count = len(asked.fitting)
    if None in answers.losses[:count]:
        return asked.equal, answers.losses[count:][: len(asked.equal)]
    return asked.fitting, answers.losses[:count]


def _compared(asked: Examination, answers: Answers) -> tuple[list[Trial], list[Mapping[str, Array]]]:
    """Return the trials to judge by, and the gradients given: the battery, and others if a part of it raised."""
    given = answers.gradients[asked.gradients]
    calls = asked.calls[asked.gradients]
    there = [answers.losses[call["problem"]] is not None for call in calls]
    count = len(asked.battery)
    some = range(len(given) if None in given[:count] else count)
    kept = [k for k in some if there[k] and (k < count or given[k] is not None)]
    return [asked.trials[calls[k]["problem"]] for k in kept], [given[k] or {} for k in kept]


def _cases(
    found: Layout,
    asked: Examination,
    answers: Answers,
    trials: Sequence[Trial],
    given: Sequence[Mapping[str, Array]],
) -> list[Case]:
    """Return the trials with the program's gradients by role."""
    losses = {
        id(trial): float(np.real(loss))
        for trial, loss in zip(asked.trials, answers.losses[asked.losses], strict=True)
        if loss is not None
    }
    single = any(is_single(loss) for loss in answers.losses[asked.losses] if loss is not None)
    _refuse_other_functions(found, asked, losses, single)
    ks = [layout.ratio(found, trial.problem, trial.arrays, losses[id(trial)]) for trial in trials]
    problems = [
        replace(trial.problem, parameters=found.canonical(trial.arrays, trial.problem.sizes)) for trial in trials
    ]
    if known := wording.scale(
        [(problem.sizes, k) for problem, k in zip(problems, ks, strict=True)], found.model, single
    ):
        # exact, where the loss is rounded
        ks = [known.factor(problem.sizes) for problem in problems]
        single = False
    cases = []
    for problem, trial, k, own in zip(problems, trials, ks, given, strict=True):
        good = {name: own[name].reshape(array.shape) for name, array in trial.arrays.items() if _fits(own, name, array)}
        gradients: Gradients = {}
        precision: dict[str, float] = {}
        for role, piece in found.pieces.items():
            if piece.array in good:
                gradients[role] = piece.take(good[piece.array].astype(float), problem.sizes)
                if single or is_single(good[piece.array]):
                    precision[role] = SINGLE
        cases.append(Case(problem, k, gradients, found.model, precision))
    return cases


def _refuse_failures(file: Path, asked: Examination, answers: Answers) -> None:
    """Refuse a program whose loss, or every gradient, raises an exception.

    Raises:
        InvalidError: with the line of the program.
    """
    lines = ", ".join(map(str, answers.skipped))
    failed = answers.errors[asked.gradients]
    hopeless = None in _fitting(asked, answers)[1] or all(failed)
    for index in range(len(asked.calls)):
        error, number = answers.errors[index], asked.calls[index]["problem"]
        if error is not None and hopeless:
            hints = {
                "KeyError": f"params has the names in {adapters.NAME}['shapes'], and no others",
                "NameError": f"only definitions are executed; lines {lines} were skipped" if lines else None,
                "ValueError": "B, T, D, H and O vary: is one of them fixed in the code ('sizes'), or are axes others?",
            }
            if not error["line"]:
                hints["TypeError"] = f"the arguments are params, x, y, and a state for each in {adapters.NAME}['state']"
            sizes = asked.trials[number].problem.sizes
            raise InvalidError(f"{described(file, error)} (on a problem with {sizes})", hints.get(error["type"]))
    losses = [np.real(value) for value in answers.losses[asked.losses] if value is not None]
    if not np.isfinite(losses).all():
        raise InvalidError(f"{file}: the loss is nan or infinite, with parameters of size 0.6")


def exceptions(file: Path, asked: Examination, answers: Answers, right: bool = False) -> list[Finding]:
    """Say where grads raises an exception on some problems, though not on all, and what these have in common."""
    there = [
        (asked.trials[call["problem"]].problem.sizes, error)
        for call, error in zip(asked.calls, answers.errors, strict=True)
        if call["kind"] == "grads"
    ]
    failed = [(sizes, error) for sizes, error in there if error is not None]
    if not failed:
        return []
    sizes, error = failed[0]
    evidence = f"grads on a problem with {sizes}"
    if condition := _condition([sizes for sizes, error in there if error is None], [sizes for sizes, _ in failed]):
        evidence += f"; it runs only where {condition}"
        if right:
            evidence += ", and all gradients are right there: the formulas are right, a shape or an index is not"
        if condition == "D = O":
            evidence += f"; if inputs and outputs are the same by right, write D for O in {adapters.NAME}"
    return [Finding("an exception", described(file, error), "a result", evidence)]


def _condition(run: Sequence[Sizes], failed: Sequence[Sizes]) -> str:
    """Return what holds for the problems that run, and for none of those that raise."""
    conditions: dict[str, Callable[[Sizes], bool]] = {
        "T = 1": lambda s: s.T == 1,
        "T > 1": lambda s: s.T > 1,
        "T > 2": lambda s: s.T > 2,
    }
    for one, other in combinations("BDHO", 2):
        conditions[f"{one} = {other}"] = lambda s, one=one, other=other: getattr(s, one) == getattr(s, other)  # type: ignore[misc]
    names = list(conditions)
    for some in ([name] for name in names), combinations(names[3:], 2):
        for chosen in some:
            held = [all(conditions[name](sizes) for name in chosen) for sizes in (*run, *failed)]
            if run and all(held[: len(run)]) and not any(held[len(run) :]):
                return " and ".join(chosen)
    return ""


def _complaints(trials: Sequence[Trial], given: Sequence[Mapping[str, Array]]) -> dict[str, Finding]:
    """Say which gradients are missing, misshapen or no number."""
    complaints: dict[str, Finding] = {}
    for trial, own in zip(trials, given, strict=True):
        for name, array in trial.arrays.items() if own else ():
            if _fits(own, name, array):
                continue
            unknown = ", ".join(key for key in own if key not in trial.arrays)
            what = f"there is no gradient for {name}" + (f", but for {unknown}" if unknown else "")
            if name in own:
                shape = own[name].shape
                what = f"the gradient of {name} has shape {shape}"
                if squeezed(shape) == squeezed(array.shape):
                    what = f"the gradient of {name} has entries that are nan or infinite"
            evidence = f"on a problem with {trial.problem.sizes}"
            expected = f"an array of numbers of shape {array.shape}"
            complaints.setdefault(name, Finding(f"gradient of {name}", what, expected, evidence))
    return complaints


def _fits(own: Mapping[str, Array], name: str, array: Array) -> bool:
    """Whether there is a gradient of this name that goes with a parameter."""
    return name in own and squeezed(own[name].shape) == squeezed(array.shape) and bool(np.isfinite(own[name]).all())


def _refuse_other_functions(found: Layout, asked: Examination, losses: Mapping[int, float], single: bool) -> None:
    """Refuse a loss that is not the same multiple of the reference's for two problems of one size.

    Raises:
        InvalidError: with these sizes.
    """
    for one, two in zip(asked.battery, asked.again, strict=True):
        if id(one) not in losses:
            continue
        k = layout.ratio(found, one.problem, one.arrays, losses[id(one)])
        k2 = layout.ratio(found, two.problem, two.arrays, losses[id(two)])
        if abs(k - k2) > (1e-3 if single else 1e-6) * abs(k):
            raise InvalidError(
                f"with {one.problem.sizes} the loss is {k:.6g} times the {found.model.cell}'s on one problem"
                f" and {k2:.6g} times on another: it is another function there"
            )


def compare(
    found: Layout, cases: Sequence[Case], given: Sequence[Mapping[str, Array]], right: Sequence[Mapping[str, Array]]
) -> dict[str, ParameterResult]:
    """Compare gradients with the reference's, parameter by parameter, over the battery."""
    results = {}
    for name in right[0]:
        worst, where, note, passed = float("nan"), None, "", True
        roles = found.roles_of(name)
        wrong: dict[str, None] = {}
        for case, own, expected in zip(cases, given, right, strict=True):
            if roles[0] not in case.gradients:
                if own:
                    passed, note = False, "of another shape, or no number" if name in own else "missing"
                continue
            tolerance = case.precision.get(roles[0], PASSED)
            error = relative(own[name].reshape(expected[name].shape), expected[name], case.scale)
            wrong |= {
                role: None
                for role in roles
                if relative(case.gradients[role], case.reference[role], case.scale) > tolerance
            }
            passed = passed and error <= tolerance and not wrong
            if not error <= worst:
                distance = np.abs(own[name].reshape(expected[name].shape) - expected[name])
                worst, where = error, tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
        if len(roles) > 1 and wrong:
            note = f"wrong: {', '.join(wrong)}"
        results[name] = ParameterResult(worst, passed, None if passed else where, note)
    return results


def relative(own: Array, expected: Array, scale: float) -> float:
    """Return the norm of the difference over that of the expected gradient; both zero is 0."""
    distance = float(np.linalg.norm(own - expected))
    return distance / max(float(np.linalg.norm(expected)), FLOOR * scale) if distance else 0.0
