"""The check without a reference: slopes of the program's own loss, by complex step or central differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError
from lstmcast.gradients import worker
from lstmcast.gradients.adapter import Adapter
from lstmcast.gradients.process import Call, Posed, ask, described
from lstmcast.gradients.report import Finding, ParameterResult, Report

STEP = 2e-3
ENTRIES = 400
TOLERANCE = 1e-6


def check(file: Path, adapter: Adapter, arrays: Mapping[str, Array], posed: Posed, time_limit: float) -> Report:
    """Compare a program's gradients with differences of its loss, at two step sizes.

    Args:
        file: the program.
        adapter: what it says of itself.
        arrays: its parameters.
        posed: one problem.
        time_limit: seconds for its process.

    Raises:
        InvalidError: if it fails, or takes too long.
    """
    entries = [(name, index) for name, array in arrays.items() for index in _some(array)]
    steps = [h * STEP for h in (1, -1, 0.5, -0.5)]
    calls: list[Call] = [{"kind": "grads", "problem": 0}]
    calls += [
        {"kind": "loss", "problem": 0, "array": name, "index": index, "step": step}
        for name, index in entries
        for step in steps
    ]
    calls += [{"kind": "loss", "problem": 0, "array": name, "index": index, "complex": True} for name, index in entries]
    answers = ask(file, [posed], calls, adapter.gradients, time_limit)
    real = 1 + 4 * len(entries)
    for failure in answers.errors[:real]:
        if failure is not None:
            raise InvalidError(described(file, failure))
    own = answers.gradients[0] or {}
    losses = np.array([float(np.real(value)) for value in answers.losses[1:real]]).reshape(-1, 4)
    wide, narrow = (losses[:, 0] - losses[:, 1]) / (2 * STEP), (losses[:, 2] - losses[:, 3]) / STEP
    slopes = (4 * narrow - wide) / 3
    uncertain = np.abs(slopes - narrow)
    oracle = "central differences of the program's loss"
    exact = _complex_slopes(answers.losses[real:])
    if exact is not None and (np.abs(exact - slopes) <= 3 * uncertain + TOLERANCE * np.abs(slopes).max()).all():
        slopes, uncertain, oracle = exact, np.zeros_like(exact), "the complex step through the program's loss"
    results: dict[str, ParameterResult] = {}
    for name, array in arrays.items():
        chosen = [k for k, (other, _) in enumerate(entries) if other == name]
        indices = [entries[k][1] for k in chosen]
        if name not in own or own[name].size != array.size:
            results[name] = ParameterResult(float("nan"), False, None, "missing, or of another shape")
            continue
        difference = own[name].reshape(-1)[indices] - slopes[chosen]
        distance = float(np.linalg.norm(difference))
        size = max(float(np.linalg.norm(slopes[chosen])), 1e-3 * float(np.linalg.norm(slopes)))
        error = distance / size if size else (float("inf") if distance else 0.0)
        allowed = TOLERANCE + 3 * float(np.linalg.norm(uncertain[chosen])) / size if size else TOLERANCE
        worst = np.unravel_index(indices[int(np.abs(difference).argmax())], array.shape)
        passed = error <= allowed
        results[name] = ParameterResult(error, passed, None if passed else tuple(map(int, worst)))
    wrong = [name for name, result in results.items() if not result.passed]
    diagnosis: tuple[Finding, ...] = ()
    if wrong:
        diagnosis = (
            Finding(
                "the forward pass",
                f"gradients of {', '.join(wrong)} differ from the slopes of the loss",
                "a loss that is one of: LSTM, GRU or RNN, linear output, squared error or softmax cross-entropy",
                "no layout of your arrays makes your loss equal to one of these, so no mistake can be named:"
                " look at the forward pass and the loss, and at LSTMCAST (output, loss, axes), first",
            ),
        )
    return Report(
        not wrong,
        oracle,
        float(np.max([result.relative_error for result in results.values()])),
        results,
        diagnosis,
        ("the loss is none that the reference knows; only its slopes could be compared",),
    )


def _complex_slopes(losses: Sequence[Any]) -> Array | None:
    """Return Im f(x + ih) / h, if the program calculates with complex numbers."""
    if any(value is None or not np.iscomplexobj(value) for value in losses):
        return None
    slopes = np.array([float(np.imag(value)) / worker.COMPLEX_STEP for value in losses])
    return slopes if np.isfinite(slopes).all() else None


def _some(array: Array) -> list[int]:
    """Return up to 400 entries, evenly spread."""
    return sorted({int(k) for k in np.linspace(0, array.size - 1, min(array.size, ENTRIES))})
