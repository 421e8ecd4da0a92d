"""Check a user's program, and say which mistake makes its gradient wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.gradients import adapter as adapters
from lstmcast.gradients import conduct, layout, numeric, wording
from lstmcast.gradients.adapter import Adapter
from lstmcast.gradients.diagnose import Case, Doctor
from lstmcast.gradients.formulas import program
from lstmcast.gradients.layout import Layout
from lstmcast.gradients.problem import Problem, Sizes, random_data
from lstmcast.gradients.process import Answers, Call, Posed, ask, described
from lstmcast.gradients.reference import SLIPS, backward
from lstmcast.gradients.report import Finding, ParameterResult, Report

SIZES = (
    Sizes(3, 1, 3, 3, 3),
    Sizes(5, 1, 2, 4, 7),
    Sizes(3, 2, 3, 3, 3),
    Sizes(5, 2, 4, 3, 7),
    Sizes(3, 4, 3, 3, 3),
    Sizes(5, 3, 2, 4, 7),
)
"""The battery: equal sizes, so that transposed and element-wise products run; distinct ones; one step and more."""
LAYOUT_SIZES = Sizes(2, 3, 3, 4, 5)
PASSED = 1e-7
PASSED_SINGLE = 2e-4
FLOOR = 1e-3


@dataclass(frozen=True)
class Trial:
    """A problem, with parameters as the program keeps them."""

    problem: Problem
    arrays: Mapping[str, Array]


def draw(adapter: Adapter, rng: np.random.Generator, sizes: Sizes) -> Trial:
    """Draw a problem that a program can take."""
    sizes = adapter.sizes(sizes)
    data = random_data(rng, sizes, adapter.output, adapter.symbols, state=True)
    zero = np.zeros_like(data.h0)
    states = len(adapter.state)
    data = replace(data, h0=data.h0 if states else zero, c0=data.c0 if states > 1 else zero)
    arrays = {name: 0.6 * rng.normal(size=adapter.shape(name, sizes)) for name in adapter.shapes}
    return Trial(data, arrays)


@dataclass(frozen=True)
class Examination:
    """What a program is asked.

    Attributes:
        fitting: three trials of the same sizes, to find the layout with.
        battery: a trial for each of `SIZES`.
        again: the same with other numbers.
        posed: all of them, as the program takes them.
        calls: the loss of each, then the gradients of the battery.
    """

    fitting: list[Trial]
    battery: list[Trial]
    again: list[Trial]
    posed: list[Posed]
    calls: list[Call]


def examination(adapter: Adapter, seed: int = 3) -> Examination:
    """Draw the problems and the calls for a program."""
    rng = np.random.default_rng(seed)
    fitting = [draw(adapter, rng, LAYOUT_SIZES) for _ in range(3)]
    battery, again = ([draw(adapter, rng, sizes) for sizes in SIZES] for _ in range(2))
    everything = [*fitting, *battery, *again]
    calls: list[Call] = [{"kind": "loss", "problem": index} for index in range(len(everything))]
    calls += [{"kind": "grads", "problem": len(fitting) + index} for index in range(len(battery))]
    posed = [Posed(trial.arrays, adapter.arguments(trial.problem)) for trial in everything]
    return Examination(fitting, battery, again, posed, calls)


def check_code(file: Path, time_limit: float = 60.0, diagnose: bool = True) -> Report:
    """Check a program's gradients, and diagnose them if they are wrong.

    Args:
        file: a Python file with ``LSTMCAST``, ``loss`` and ``grads``; see `adapter`.
        time_limit: seconds that its process may take.
        diagnose: name the mistakes.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if its adapter makes no sense, or its code fails.
    """
    adapter = adapters.read(read_source(file), str(file))
    asked = examination(adapter)
    answers = ask(file, asked.posed, asked.calls, adapter.gradients, time_limit)
    report = judge(file, adapter, asked, answers, diagnose)
    if report is not None:
        return report
    # the forward pass is unknown: its slopes are all there is
    report = numeric.check(file, adapter, asked.fitting[0].arrays, asked.posed[0], time_limit)
    findings = [*conduct.findings(answers), *slips(adapter, asked, answers)]
    return replace(
        report,
        passed=report.passed and not findings,
        diagnosis=(*findings, *report.diagnosis),
        notes=(*conduct.notes(answers), *report.notes),
    )


def read_source(file: Path) -> str:
    """Return a program's text.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError(f"{file}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file}: cannot be read: {error}") from None


def slips(adapter: Adapter, asked: Examination, answers: Answers) -> list[Finding]:
    """Name the mistake of a forward pass whose loss is that of none of the cells."""
    if adapter.output == "softmax":
        for slip, (found, expected) in SLIPS.items():
            if fitted(adapter, asked, answers, slip) is not None:
                evidence = "with this mistake, the reference's loss is yours on three problems"
                return [Finding("the forward pass", found, expected, evidence)]
    return []


def fitted(adapter: Adapter, asked: Examination, answers: Answers, slip: str = "") -> Layout | None:
    """Return the layout under which a program's losses are the reference's."""
    losses = [float(np.real(value)) for value in answers.losses[: len(asked.fitting)]]
    problems, arrays = [trial.problem for trial in asked.fitting], [trial.arrays for trial in asked.fitting]
    tolerance = PASSED_SINGLE if answers.probe.get("single") else layout.TOLERANCE
    return layout.find(adapter, problems, arrays, losses, slip, tolerance)


def judge(file: Path, adapter: Adapter, asked: Examination, answers: Answers, diagnose: bool = True) -> Report | None:
    """Judge a program by its answers; None if its loss is none that the reference knows.

    Raises:
        InvalidError: if its code failed.
    """
    fitting, battery, again = asked.fitting, asked.battery, asked.again
    total, start, count = len(asked.posed), len(fitting), len(battery)
    _refuse_failures(file, answers, total)
    losses = [float(np.real(value)) for value in answers.losses[:total]]
    found = fitted(adapter, asked, answers)
    if found is None:
        return None
    shaped, complaints = _shaped(adapter, battery, answers.gradients[total:])
    findings = [*conduct.findings(answers), *_exceptions(file, asked, answers), *complaints]
    notes = conduct.notes(answers)
    single = bool(answers.probe.get("single"))
    ks = _scales(found, battery, again, losses[start : start + count], losses[start + count :])
    cases = [
        Case(
            replace(trial.problem, parameters=found.canonical(trial.arrays, trial.problem.sizes)),
            k,
            None if own is None else found.canonical(own, trial.problem.sizes),
        )
        for trial, k, own in zip(battery, ks, shaped, strict=True)
    ]
    parameters = compare(found, battery, cases, PASSED_SINGLE if single else PASSED)
    right = all(result.passed for result in parameters.values())
    notes += wording.inferred(found, cases)
    if not right and diagnose and any(case.gradients is not None for case in cases):
        doctor = Doctor(found.model, cases)
        findings += wording.explained(found, doctor, doctor.diagnose())
    return Report(
        right and not findings,
        "the reference's backward pass, whose loss is the program's",
        float(np.max([result.relative_error for result in parameters.values()])),
        parameters,
        tuple(findings),
        tuple(notes),
    )


def _refuse_failures(file: Path, answers: Answers, losses: int) -> None:
    """Refuse a program whose loss, or every gradient, raises an exception.

    Raises:
        InvalidError: with the line of the program.
    """
    lines = ", ".join(map(str, answers.skipped))
    failed = answers.errors[losses:]
    for error in (*answers.errors[:losses], failed[-1] if failed and all(failed) else None):
        if error is not None:
            hints = {
                "KeyError": f"params has the names in {adapters.NAME}['shapes'], and no others",
                "NameError": f"only definitions are executed; lines {lines} were skipped" if lines else None,
                "ValueError": "B, T, D, H and O vary: is one of them fixed in the code ('sizes'), or are axes others?",
            }
            raise InvalidError(described(file, error), hints.get(error["type"]))
    if not np.isfinite([np.real(value) for value in answers.losses[:losses] if value is not None]).all():
        raise InvalidError(f"{file}: the loss is nan or infinite, with parameters of size 0.6")


def _exceptions(file: Path, asked: Examination, answers: Answers) -> list[Finding]:
    """Say where grads raises an exception on some problems, though not on all."""
    for trial, error in zip(asked.battery, answers.errors[len(asked.posed) :], strict=True):
        if error is not None:
            where = described(file, error)
            return [Finding("an exception", where, "a result", f"grads on a problem with {trial.problem.sizes}")]
    return []


def _shaped(
    adapter: Adapter, battery: Sequence[Trial], gradients: Sequence[Mapping[str, Array] | None]
) -> tuple[list[dict[str, Array] | None], list[Finding]]:
    """Bring gradients to their parameters' shapes; say what is missing, misshapen or no number."""
    shaped: list[dict[str, Array] | None] = []
    complaints: dict[str, Finding] = {}
    for trial, given in zip(battery, gradients, strict=True):
        own: dict[str, Array] = {}
        for name in adapter.shapes if given is not None else ():
            assert given is not None
            wanted = adapter.shape(name, trial.problem.sizes)
            complaint = _complaint(name, given.get(name), wanted)
            if complaint:
                evidence = f"on a problem with {trial.problem.sizes}"
                expected = f"an array of numbers of shape {wanted}"
                complaints.setdefault(name, Finding(f"gradient of {name}", complaint, expected, evidence))
            else:
                own[name] = given[name].reshape(wanted).astype(float)
        shaped.append(own if len(own) == len(adapter.shapes) else None)
    return shaped, list(complaints.values())


def _complaint(name: str, value: Array | None, wanted: tuple[int, ...]) -> str:
    if value is None:
        return f"there is no gradient for {name}"
    if [size for size in value.shape if size > 1] != [size for size in wanted if size > 1]:
        return f"the gradient of {name} has shape {value.shape}"
    return "" if np.isfinite(value).all() else f"the gradient of {name} has entries that are nan or infinite"


def _scales(
    found: Layout, battery: Sequence[Trial], again: Sequence[Trial], losses: Sequence[float], others: Sequence[float]
) -> list[float]:
    """Return the program's loss over the reference's, for each size.

    Raises:
        InvalidError: if it is not the same for two problems of one size.
    """
    ks = []
    for one, two, loss, other in zip(battery, again, losses, others, strict=True):
        k = layout.ratio(found, one.problem, one.arrays, loss)
        k2 = layout.ratio(found, two.problem, two.arrays, other)
        if abs(k - k2) > 1e-4 * abs(k):
            raise InvalidError(
                f"with {one.problem.sizes} the loss is {k:.6g} times the {found.model.cell}'s on one problem"
                f" and {k2:.6g} times on another: it is another function there"
            )
        ks.append(k)
    return ks


def compare(
    found: Layout, battery: Sequence[Trial], cases: Sequence[Case], tolerance: float
) -> dict[str, ParameterResult]:
    """Compare gradients with the reference's, parameter by parameter, over the battery."""
    right = program(found.model)
    worst: dict[str, float] = {}
    where: dict[str, tuple[int, ...]] = {}
    wrong: dict[str, set[str]] = {}
    for trial, case in zip(battery, cases, strict=True):
        if case.gradients is None:
            continue
        case.prepare(found.model, right)
        reference = backward(found.model, right, case.tape)
        for name, array in trial.arrays.items():
            # the same pieces, put where they lie in the program's array
            expected, own = np.zeros_like(array), np.zeros_like(array)
            for role in found.roles_of(name):
                piece = found.pieces[role]
                for target, values in ((expected, reference), (own, case.gradients)):
                    piece.take(target, trial.problem.sizes)[...] = values[role]
                if relative(case.gradients[role], reference[role], case.scale) > tolerance:
                    wrong.setdefault(name, set()).add(role)
            error = relative(own, expected, case.scale)
            if not error <= worst.get(name, -1.0):
                worst[name] = error
                distance = np.nan_to_num(np.abs(own - expected), nan=np.inf)
                where[name] = tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
    results = {}
    for name in battery[0].arrays:
        error = worst.get(name, float("nan"))
        passed = error <= tolerance
        roles = [role for role in found.roles_of(name) if role in wrong.get(name, ())]
        note = f"wrong: {', '.join(roles)}" if roles and len(found.roles_of(name)) > 1 else ""
        results[name] = ParameterResult(error, passed, None if passed else where.get(name), note)
    return results


def relative(own: Array, expected: Array, scale: float) -> float:
    """Return the norm of the difference over that of the expected gradient; both zero is 0."""
    distance = float(np.linalg.norm(own - expected))
    return distance / max(float(np.linalg.norm(expected)), FLOOR * scale) if distance else 0.0
