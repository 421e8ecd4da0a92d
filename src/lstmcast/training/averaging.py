"""The exponential average of the parameters, which forecasts use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lstmcast.arrays import Array


class WeightAverage:
    """The average a ← decay a + (1 - decay) θ of parameters θ; without a decay it is θ itself.

    Attributes:
        average: ``(P,)``; None without a decay.
    """

    def __init__(self, values: Array, decay: float | None) -> None:
        """Begin with the present ``values`` (P,), which training changes in place."""
        self._values, self._decay = values, decay
        self.average: Array | None = values.copy() if decay else None

    def follow(self) -> None:
        """Take the parameters of a step in."""
        if self.average is not None and self._decay:
            self.average += (1 - self._decay) * (self._values - self.average)

    def begin_at(self, values: Array) -> None:
        """Forget what was; begin with these."""
        if self.average is not None:
            self.average[:] = values

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the place of the present parameters for the length of the block."""
        if self.average is None:
            yield
            return
        present = self._values.copy()
        self._values[:] = self.average
        try:
            yield
        finally:
            self._values[:] = present
