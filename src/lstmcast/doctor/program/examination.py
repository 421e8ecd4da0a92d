"""What a program is asked: problems of several sizes, their losses and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.problem import Problem, Sizes, random_data
from lstmcast.doctor.program import layout
from lstmcast.doctor.program.adapter import Adapter
from lstmcast.doctor.program.layout import Layout
from lstmcast.doctor.program.process import Call, Posed

SIZES = (
    Sizes(3, 1, 3, 3, 3),
    Sizes(5, 1, 2, 4, 7),
    Sizes(3, 2, 3, 3, 3),
    Sizes(4, 2, 5, 3, 7),
    Sizes(3, 4, 3, 3, 3),
    Sizes(2, 3, 4, 5, 7),
    Sizes(2, 12, 3, 4, 5),
)
"""The battery: equal sizes, so that transposed and element-wise products run; distinct ones; one step and many.

Twelve steps, so that backpropagation truncated after a few of them does not pass.
"""
PARTLY_EQUAL = tuple(
    Sizes(B, T, D, H, O)
    for T in (1, 2)
    for B, D, H, O in (
        (4, 5, 3, 7),
        (5, 3, 3, 7),
        (3, 4, 3, 7),
        (5, 4, 3, 3),
        (4, 4, 3, 7),
        (5, 4, 3, 4),
        (5, 4, 3, 5),
    )
)
"""Two sizes equal, to see which shapes a program mixes up; used where the battery raises exceptions."""
LAYOUT_SIZES = Sizes(2, 3, 3, 4, 5)
ALL_EQUAL = Sizes(3, 3, 3, 3, 3)
"""For the layout of programs whose loss comes from their backward pass, and that raises an exception otherwise."""
SINGLE = 2e-5
"""How far numbers in float32 may be off."""


@dataclass(frozen=True)
class Trial:
    """A problem, with parameters as the program keeps them."""

    problem: Problem
    arrays: Mapping[str, Array]


def draw(adapter: Adapter, rng: np.random.Generator, sizes: Sizes) -> Trial:
    """Draw a problem that a program can take."""
    sizes = adapter.sizes(sizes)
    data = random_data(rng, sizes, adapter.output, adapter.symbols)
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
        equal: the same, for programs that run on those only.
        battery: a trial for each of `SIZES`.
        again: the same with other numbers.
        partly: a trial for each of `PARTLY_EQUAL`.
        posed: all of them, as the program takes them.
        calls: the losses of all, the gradients of the battery, and those of ``partly``.
    """

    fitting: list[Trial]
    equal: list[Trial]
    battery: list[Trial]
    again: list[Trial]
    partly: list[Trial]
    posed: list[Posed]
    calls: list[Call]

    @property
    def losses(self) -> slice:
        """Where the losses are among the answers."""
        return slice(0, len(self.posed))

    @property
    def gradients(self) -> slice:
        """Where the gradients are among the answers: the battery's, then those of `PARTLY_EQUAL`."""
        return slice(self.losses.stop, None)

    @property
    def trials(self) -> list[Trial]:
        """All of them, in the order posed."""
        return [*self.fitting, *self.equal, *self.battery, *self.again, *self.partly]


def examination(adapter: Adapter, seed: int = 3) -> Examination:
    """Draw the problems and the calls for a program."""
    rng = np.random.default_rng(seed)
    fitting = [draw(adapter, rng, LAYOUT_SIZES) for _ in range(3)]
    battery, again = ([draw(adapter, rng, sizes) for sizes in SIZES] for _ in range(2))
    partly = [draw(adapter, rng, sizes) for sizes in PARTLY_EQUAL]
    equal = [draw(adapter, rng, ALL_EQUAL) for _ in range(3)]
    everything = [*fitting, *equal, *battery, *again, *partly]
    numbers = range(len(everything))
    calls: list[Call] = [{"kind": "loss", "problem": number} for number in numbers]
    calls += [{"kind": "grads", "problem": number} for number in numbers[len(fitting) + len(equal) :][: len(battery)]]
    calls += [{"kind": "grads", "problem": number} for number in numbers[-len(partly) :]]
    posed = [Posed(trial.arrays, adapter.arguments(trial.problem)) for trial in everything]
    return Examination(fitting, equal, battery, again, partly, posed, calls)


def fitted(adapter: Adapter, fitting: Sequence[Trial], losses: Sequence[object], slip: str = "") -> Layout | None:
    """Return the layout under which a program's losses for some trials are the reference's."""
    problems, arrays = [trial.problem for trial in fitting], [trial.arrays for trial in fitting]
    tolerance = SINGLE if any(is_single(loss) for loss in losses) else layout.TOLERANCE
    return layout.find(adapter, problems, arrays, [float(np.real(loss)) for loss in losses], slip, tolerance)  # type: ignore[call-overload]


def is_single(value: object) -> bool:
    """Whether a number or an array has the precision of float32 or less."""
    dtype = np.asarray(value).dtype
    return dtype.kind == "f" and dtype.itemsize < 8
