"""The check of any function's gradients against slopes of the function itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lstmcast.arrays import Array
from lstmcast.errors import UsageError
from lstmcast.gradients.oracles import central_differences, complex_step
from lstmcast.gradients.report import ParameterResult, Report

ArrayMap: TypeAlias = Mapping[str, Array]
Loss: TypeAlias = Callable[[ArrayMap], object]
Gradients: TypeAlias = Callable[[ArrayMap], ArrayMap] | ArrayMap
# how many times its own estimate the error of a slope may be
UNCERTAINTY = 3.0
# the distance at which the roughness of a loss is measured: ten roundings of float32
NOISE_STEP = 1e-6


@dataclass(frozen=True)
class Along:
    """A loss as a function of how far some elements of one parameter have moved, and all of it along one direction.

    Attributes:
        call: the loss.
        parameters: where it is differentiated, by name.
        name: the parameter that moves.
        places: the elements that move one by one, ``(M,)``, as indices of the flat array.
        direction: a unit vector as long as the array, or None where ``places`` are all of it.
        unit: how far a movement by 1 is: the root mean square of the array, or 1.
    """

    call: Loss
    parameters: ArrayMap
    name: str
    places: Array
    direction: Array | None
    unit: float

    @property
    def variables(self) -> Array:
        """No movement at all, ``(M,)`` or ``(M + 1,)``."""
        return np.zeros(len(self.places) + (self.direction is not None))

    def loss(self, variables: Array) -> complex | float:
        """Return the loss after a movement.

        Raises:
            UsageError: if it is no single number.
        """
        array = self.parameters[self.name].astype(variables.dtype).ravel()
        array[self.places] += self.unit * variables[: len(self.places)]
        if self.direction is not None:
            array += self.unit * variables[-1] * self.direction
        moved = {name: other.copy() for name, other in self.parameters.items()}
        value = np.asarray(self.call(moved | {self.name: array.reshape(self.parameters[self.name].shape)}))
        if value.size != 1 or value.dtype.kind not in "fiuc":
            raise UsageError(f"loss: returned {value.dtype} of shape {value.shape}; it must return one number")
        return complex(value.item()) if value.dtype.kind == "c" else float(value.item())

    def of(self, gradient: Array) -> Array:
        """Return a gradient of the parameter as slopes along the variables."""
        elements = gradient.ravel()[self.places]
        along = elements if self.direction is None else np.append(elements, gradient.ravel() @ self.direction)
        return self.unit * along

    @property
    def weights(self) -> Array:
        """Return how much each slope counts: one along a random direction sees 1/√P of an error in P elements."""
        one = np.ones(len(self.places))
        return one if self.direction is None else np.append(one, np.sqrt(self.direction.size))


@dataclass(frozen=True)
class Slopes:
    """Slopes along the variables of an `Along`, how far they may be off, and which lie at no kink; all ``(M,)``."""

    values: Array
    uncertain: Array
    smooth: Array
    exact: bool


def check_gradients(
    loss: Loss,
    gradients: Gradients,
    parameters: ArrayMap,
    *,
    relative_tolerance: float = 1e-6,
    absolute_tolerance: float = 0.0,
    entries: int = 100,
    seed: int = 0,
) -> Report:
    """Compare the gradients of any function with the slopes of the function itself.

    The slopes come from a complex step where the function calculates with complex numbers. Else they come from
    central differences at two step sizes, whose disagreement says how exact they are: a loss in float32 is rough.
    Of an array with more than ``entries`` elements that many are looked at, drawn at random; a random direction
    through all of its elements watches over the rest.

    Args:
        loss: takes the parameters by name and returns one number, the same for the same parameters.
        gradients: the gradients to check by name, or a function of the parameters that returns them; those of other
            names are not looked at.
        parameters: arrays of any shape, by name; all are used in float64.
        relative_tolerance: how far a gradient may be off, relative to the norm of its slopes.
        absolute_tolerance: how far its norm may be off in any case; rounding of the loss is allowed for anyway.
        entries: how many elements of each array are looked at.
        seed: of the elements that are drawn, and of the direction.

    Returns:
        A report: ``passed``, and for each parameter its relative error, the element that is furthest off, and there
        the gradient that was given (``analytic``) beside the slope (``numeric``). Printed, it is a table.

    Raises:
        UsageError: if a gradient is missing or of another shape, if the loss is no finite number, or if it changes
            while the parameters do not.

    Source: Squire and Trapp 1998, https://doi.org/10.1137/S003614459631241X (complex step); Richardson's
    extrapolation, https://en.wikipedia.org/wiki/Richardson_extrapolation (central differences)
    """
    if not callable(loss) or not isinstance(parameters, Mapping):
        raise UsageError(
            "check_gradients: takes a loss (a function), its gradients and parameters as arrays by name, in this order",
            "for instance check_gradients(loss, gradients, {'W': W})",
        )
    at = {name: np.array(array, dtype=np.float64) for name, array in parameters.items()}
    if not any(array.size for array in at.values()):
        raise UsageError("parameters: there are none")
    given = _given(gradients, at)
    random = np.random.default_rng(seed)
    along = {name: _along(loss, at, name, entries, random) for name in at if at[name].size}
    rounding = 1e-13 * abs(_steady(next(iter(along.values()))))
    slopes = {name: _slopes(function) for name, function in along.items()}
    scale = float(np.linalg.norm(np.concatenate([found.values / along[name].unit for name, found in slopes.items()])))
    results = {
        name: _compared(along[name], given[name], found, scale, relative_tolerance, absolute_tolerance + rounding)
        for name, found in slopes.items()
    }
    results |= {name: ParameterResult(0.0, True, None, "empty") for name in at if name not in results}
    exact = all(found.exact for found in slopes.values())
    worst_error = float(np.max([result.relative_error for result in results.values()]))
    passed = all(result.passed for result in results.values())
    return Report(passed, "complex" if exact else "central", worst_error, {name: results[name] for name in at})


def _compared(
    along: Along, given: Array, slopes: Slopes, scale: float, relative_tolerance: float, absolute_tolerance: float
) -> ParameterResult:
    """Compare the gradient of one parameter with its slopes; ``scale`` is the norm of all parameters' slopes."""
    analytic, numeric = along.of(given) / along.unit, slopes.values / along.unit
    uncertain, smooth = along.weights * slopes.uncertain / along.unit, np.flatnonzero(slopes.smooth)
    difference = (along.weights * np.abs(analytic - numeric))[smooth]
    distance = float(np.linalg.norm(difference))
    size = max(float(np.linalg.norm((along.weights * numeric)[smooth])), 1e-3 * scale)
    likely = UNCERTAINTY * float(np.linalg.norm(uncertain[smooth]))
    known = bool(np.isfinite(likely))
    notes = [f"{left_out} at a kink left out"] if (left_out := len(analytic) - len(smooth)) else []
    if not known or likely > 0.1 * size > 0:
        notes.append("its slopes are hardly known: the loss is rough, or not finite, near these parameters")
    passed = known and distance <= absolute_tolerance + relative_tolerance * size + likely
    error = distance / size if size else (float("inf") if distance else 0.0)
    if not len(smooth):
        return ParameterResult(float("nan"), False, None, "nothing could be compared: all of it lies at a kink")
    worst, element = int(smooth[np.argmax(difference)]), None
    if worst < len(along.places):
        element = tuple(map(int, np.unravel_index(along.places[worst], along.parameters[along.name].shape)))
    else:
        notes.append("furthest off along a direction through all elements")
    return ParameterResult(error, passed, element, "; ".join(notes), float(analytic[worst]), float(numeric[worst]))


def assert_gradients(
    loss: Loss,
    gradients: Gradients,
    parameters: ArrayMap,
    *,
    relative_tolerance: float = 1e-6,
    absolute_tolerance: float = 0.0,
    entries: int = 100,
    seed: int = 0,
) -> None:
    """Fail a test whose gradients are wrong; the arguments are those of `check_gradients`.

    Raises:
        AssertionError: if a gradient is wrong, with the table of `check_gradients`.
        UsageError: as `check_gradients` does.
    """
    report = check_gradients(
        loss,
        gradients,
        parameters,
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
        entries=entries,
        seed=seed,
    )
    if not report.passed:
        raise AssertionError(f"wrong gradients\n{report}")


def _given(gradients: Gradients, at: ArrayMap) -> ArrayMap:
    """Return the gradients to check, each of its parameter's shape."""
    found = gradients({name: array.copy() for name, array in at.items()}) if callable(gradients) else gradients
    if not isinstance(found, Mapping):
        raise UsageError(f"gradients: {type(found).__name__}; they must be arrays by name, as the parameters are")
    arrays = {name: np.asarray(found[name], dtype=np.float64) for name in at if name in found}
    problems = [f"gradients: none of {name!r}; there are {', '.join(found)}" for name in at if name not in found]
    problems += [
        f"gradients: {name!r} has shape {array.shape}; its parameter has {at[name].shape}"
        for name, array in arrays.items()
        if array.shape != at[name].shape
    ]
    if problems:
        raise UsageError("\n".join(problems))
    return arrays


def _along(loss: Loss, at: ArrayMap, name: str, entries: int, random: np.random.Generator) -> Along:
    size = at[name].size
    unit = float(np.sqrt(np.mean(at[name] ** 2))) or 1.0
    if size <= entries:
        return Along(loss, at, name, np.arange(size), None, unit)
    direction = random.standard_normal(size)
    places = np.sort(random.choice(size, entries, replace=False))
    return Along(loss, at, name, places, direction / np.linalg.norm(direction), unit)


def _steady(function: Along) -> float:
    """Return the loss.

    Raises:
        UsageError: if it is not finite, or another when it is asked for again.
    """
    first, second = (function.loss(function.variables) for _ in range(2))
    if not np.isfinite(first):
        raise UsageError(f"loss: is {first} at these parameters; slopes need a finite number")
    if first != second:
        raise UsageError(
            f"loss: gives {first!r}, then {second!r} for the same parameters", "fix its seed, its data and its state"
        )
    return float(np.real(first))


def _noise(function: Along) -> float:
    """Estimate how rough the loss is: the standard deviation of its rounding errors.

    A smooth function has no fourth differences at so small a distance; what is left is rounding.
    Source: Moré and Wild 2011, https://doi.org/10.1137/100786125, equation (2.2)
    """
    steps = NOISE_STEP * np.arange(9)[:, None] * np.linspace(1.0, 2.0, len(function.variables))
    fourth = np.diff([float(np.real(function.loss(step))) for step in steps], n=4)
    return float(np.sqrt(np.mean(fourth**2) * 24**2 / 40320))


def _slopes(function: Along) -> Slopes:
    """Differentiate by a complex step if the loss calculates with complex numbers, else by central differences."""
    central = central_differences(function, _noise(function))
    uncertain = np.maximum(central.error, np.median(central.error))
    near = UNCERTAINTY * uncertain + 1e-6 * np.abs(central.gradient).max(initial=0.0)
    exact = np.full(len(near), np.nan)
    try:
        with np.errstate(all="ignore"):
            # a loss that gives a real number has dropped the step
            if isinstance(function.loss(function.variables.astype(np.complex128)), complex):
                exact = complex_step(function)
    except Exception:  # each function that takes real numbers alone says so in its own way
        exact[:] = np.nan
    agrees = np.isfinite(near) & (np.abs(exact - central.gradient) <= near)
    if (agrees | (central.kink & np.isfinite(exact))).all():
        return Slopes(exact, np.zeros(len(exact)), np.ones(len(exact), dtype=bool), exact=True)
    return Slopes(central.gradient, uncertain, ~central.kink, exact=False)
