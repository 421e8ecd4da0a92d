"""What a program does beside its mathematics: what it keeps between calls, overwrites, rounds, or rolls."""

from __future__ import annotations

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.program.process import Answers
from lstmcast.gradients.report import Finding

CALLS = "two calls in one process with the same arguments"


def findings(answers: Answers) -> list[Finding]:
    """Return what makes a check, or training, go wrong although the formulas may be right."""
    found = []
    probe = answers.probe
    if losses := probe.get("losses"):
        first, second, after = losses
        if not np.allclose(losses, first, rtol=1e-9, equal_nan=True):
            values = f"{first:.9g}, then {second:.9g}, then {after:.9g} after a call of grads"
            found.append(
                Finding(
                    "the check",
                    f"the same arguments give different losses: {values}",
                    "every evaluation starts from the same state: pass the initial state in, or reset it each time",
                    f"{CALLS}; a gradient check with this loss differentiates another function"
                    " (the errors below are measured in a fresh copy of your program each time)",
                )
            )
    if (changed := probe.get("changed")) and not found:
        found.append(
            Finding(
                "buffers",
                f"the same arguments give different gradients of {', '.join(changed)} at the second call",
                "lists, buffers and gradients are made anew, or cleared, at the start of each call",
                f"{CALLS}; every batch after the first is wrong",
            )
        )
    if overwritten := probe.get("overwritten"):
        found.append(
            Finding(
                "the check",
                f"your functions overwrite their arguments: {', '.join(overwritten)}",
                "work on copies, and update parameters outside of loss and grads",
                CALLS,
            )
        )
    if answers.data is not None:
        found += rolled(*answers.data)
    return found


def _periodic(inputs: Array, axis: int) -> bool:
    """Whether the values repeat along an axis: then the value after the last is the first by right."""
    n = inputs.shape[axis]
    return any(
        n % period == 0 and _same(inputs.take(range(period, n), axis), inputs.take(range(n - period), axis))
        for period in range(1, n // 2 + 1)
    )


def rolled(inputs: Array, targets: Array) -> list[Finding]:
    """Tell targets that are the previous value from those that are the next, along the time axis."""
    if inputs.shape != targets.shape:
        return []
    if inputs.ndim > 1 and inputs.size > 2 and np.ptp(inputs) > 0:
        for shift in (1, -1):
            # what is shifted along an axis differs at the ends
            along = any(_same(targets, np.roll(inputs, shift, axis)) for axis in range(inputs.ndim))
            if not along and _same(targets, np.roll(inputs, shift)):
                return [
                    Finding(
                        "the data",
                        f"np.roll(inputs, {shift}) without an axis: values move from one sequence to the next",
                        "target[:, t] = input[:, t+1]: inputs[:, :-1] and targets = inputs[:, 1:], along time",
                        "data(): the targets are the inputs, flattened and rolled by one",
                    )
                ]
    for axis in range(inputs.ndim):
        if inputs.shape[axis] < 3 or np.ptp(inputs) == 0:
            continue
        n = inputs.shape[axis]
        # (where the values are, what they equal); the edge is looked at apart
        before = _same(targets.take(range(1, n), axis), inputs.take(range(n - 1), axis))
        after = _same(targets.take(range(n - 1), axis), inputs.take(range(1, n), axis))
        last = _same(targets.take(n - 1, axis), inputs.take(0, axis))
        if before and not after:
            return [
                Finding(
                    "the data",
                    "target[t] = input[t-1]: np.roll(inputs, 1) is the previous value",
                    "target[t] = input[t+1]: inputs[:-1] and targets = inputs[1:]",
                    f"data() along axis {axis}; nothing is forecast",
                )
            ]
        if after and last and not _periodic(inputs, axis):
            return [
                Finding(
                    "the data",
                    "the last target is the first input: np.roll(inputs, -1) wraps around",
                    "inputs[:-1] and targets = inputs[1:]",
                    f"data() along axis {axis}",
                )
            ]
    return []


def _same(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=1e-9, atol=1e-12))


def notes(answers: Answers) -> list[str]:
    """Return what the user should know about how the program was run."""
    found = []
    if answers.skipped:
        lines = ", ".join(map(str, answers.skipped))
        found.append(f"only definitions are executed; skipped at the top level: line(s) {lines}")
    if answers.probe.get("single"):
        found.append(
            "computed in float32, with 7 digits: arrays in it are judged to 2e-5;"
            " a gradient check by finite differences needs float64 to tell a mistake from rounding"
        )
    if answers.data_error is not None:
        found.append(f"data() failed: {answers.data_error['type']}: {answers.data_error['message']}")
    return found
