"""Forecasts in which the network lives on its own predictions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import windows
from lstmcast.errors import InvalidError
from lstmcast.network.engine import Engine

# windows evaluated at once: enough to fill the processor, few enough to stay in its cache
CHUNK = 2048


@dataclass(frozen=True)
class Forecaster:
    """A network and the way in which it was trained to be asked.

    A network trained on every step of its windows carries its state on for ever. One trained on the
    last step alone has only learned to speak at the end of a window, from the zero state: it is asked
    again for every step, on a window that slides along.

    Attributes:
        engine: runs the network.
        horizon: an output is a forecast this many steps after its input.
        context: a forecast reads at most this many of the last known values.
        sliding: steps of the sliding window; None: the state is carried on.
    """

    engine: Engine
    horizon: int
    context: int
    sliding: int | None

    def next_step(self, rows: Array) -> Array:
        """Forecast every value of ``rows`` (N, L, F) from the true values up to ``horizon`` steps before it.

        Returns:
            ``(N, L, F)``, NaN where too little comes before.
        """
        forecasts = np.full(rows.shape, np.nan)
        if self.sliding is None:
            forecasts[:, self.horizon :] = self.engine.predict(rows)[:, : -self.horizon]
            return forecasts
        inputs, _ = windows(rows, self.sliding, self.horizon)
        first = self.sliding + self.horizon - 1
        for row, row_inputs in zip(forecasts, inputs, strict=True):
            for start in range(0, len(row_inputs), CHUNK):
                part = row_inputs[start : start + CHUNK]
                row[first + start : first + start + len(part)] = self.engine.predict(part)[:, -1]
        return forecasts

    def stream(self, history: Array) -> Iterator[Array]:
        """Yield the forecast ``(N, F)`` of one step after another, without end, in constant memory.

        Raises:
            InvalidError: if ``history`` (N, T, F) is shorter than the network needs.
        """
        needed = (self.sliding or 1) + self.horizon - 1
        if history.shape[1] < needed:
            raise InvalidError(f"data: a forecast needs {needed} values to start from, here are {history.shape[1]}")
        history = history[:, -self.context :]
        if self.sliding is None:
            return self.engine.stream(history, self.horizon)
        return self._slide(history[:, -needed:], self.sliding)

    def _slide(self, values: Array, timesteps: int) -> Iterator[Array]:
        values = values.copy()
        while True:
            y = self.engine.predict(values[:, :timesteps])[:, -1]
            yield y
            values[:, :-1] = values[:, 1:]
            values[:, -1] = y

    def rollout(self, history: Array, steps: int) -> Array:
        """Return the next ``steps`` forecasts after ``history`` (N, T, F): ``(N, steps, F)``."""
        return np.stack(list(islice(self.stream(history), steps)), axis=1)
