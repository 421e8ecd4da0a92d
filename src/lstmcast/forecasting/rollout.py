"""Forecasts in which the network lives on its own predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import windows
from lstmcast.data.categories import Bins, draw, one_hot
from lstmcast.errors import InvalidError
from lstmcast.network.engine import Engine, same

# windows evaluated at once: enough to fill the processor, few enough to stay in its cache
CHUNK = 2048


@dataclass(frozen=True)
class Forecaster:
    """A network and the way in which it was trained to be asked.

    A network trained on every step of its windows carries its state on for ever. One trained on the
    last step alone has only learned to speak at the end of a window, from the zero state: it is asked
    again for every step, on a window that slides along.

    A categorical network's rollout is drawn: class after class, each read as the next input. Many such
    paths at once make its forecast: their mean, and bands between their quantiles.

    Attributes:
        engine: runs the network.
        horizon: an output is a forecast this many steps after its input.
        context: a forecast reads at most this many of the last known values.
        sliding: steps of the sliding window; None: the state is carried on.
        bins: the classes of a categorical network.
        paths: rollouts drawn at once, if there are classes.
        seed: of the draws.
    """

    engine: Engine
    horizon: int
    context: int
    sliding: int | None
    bins: Bins | None = None
    paths: int = 100
    seed: int = 0

    def next_step(self, rows: Array, start: int = 0) -> Array:
        """Forecast the values of ``rows`` (N, L, F) from the true values up to ``horizon`` steps before each.

        Returns:
            ``(N, L, F)``, NaN where too little comes before, and perhaps before ``start``; of classes, the mean of
            their values.
        """
        forecasts = np.full(rows.shape, np.nan)
        if self.sliding is None:
            forecasts[:, self.horizon :] = self._expected(self.engine.predict(self.inputs(rows))[:, : -self.horizon])
            return forecasts
        needed = self.sliding + self.horizon - 1
        first = max(start, needed)
        inputs, _ = windows(rows[:, first - needed :], self.sliding, self.horizon)
        for row, row_inputs in zip(forecasts, inputs, strict=True):
            for begin in range(0, len(row_inputs), CHUNK):
                part = self.inputs(row_inputs[begin : begin + CHUNK])
                row[first + begin : first + begin + len(part)] = self._expected(self.engine.predict(part)[:, -1])
        return forecasts

    def inputs(self, values: Array) -> Array:
        """Return what the network reads of ``values`` (…, F): themselves, or their classes one-hot."""
        return values if self.bins is None else one_hot(self.bins.encode(values), self.bins.classes)

    def _expected(self, outputs: Array) -> Array:
        if self.bins is None:
            return outputs
        p = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        mean: Array = (p @ self.bins.centres / p.sum(axis=-1))[..., None]
        return mean

    def stream(self, history: Array) -> Iterator[Array]:
        """Yield the forecast ``(N, F)`` of one step after another, without end, in constant memory.

        Raises:
            InvalidError: if ``history`` (N, T, F) is shorter than the network needs.
        """
        return (paths.mean(axis=1) for paths in self.stream_paths(history))

    def stream_paths(self, history: Array) -> Iterator[Array]:
        """Yield all paths ``(N, paths, F)`` of one step after another, without end; of values there is one.

        Raises:
            InvalidError: if ``history`` (N, T, F) is shorter than the network needs.
        """
        needed = (self.sliding or 1) + self.horizon - 1
        if history.shape[1] < needed:
            raise InvalidError(f"data: a forecast needs {needed} values to start from, here are {history.shape[1]}")
        history = history[:, -(max(self.context, needed) if self.sliding is None else needed) :]
        if self.bins is None:
            return (forecast[:, None] for forecast in self._run(history, same))
        bins, random = self.bins, np.random.default_rng([self.seed, 4])

        def read(logits: Array) -> Array:
            return one_hot(draw(logits, 1.0, random)[:, None], bins.classes)

        drawn = self._run(self.inputs(history), read)
        return (bins.decode(step.argmax(axis=1)).reshape(len(history), self.paths, 1) for step in drawn)

    def _run(self, history: Array, read: Callable[[Array], Array]) -> Iterator[Array]:
        if self.sliding is None:
            return self.engine.stream(history, self.horizon, read, self._copies)
        return self._slide(np.repeat(history, self._copies, axis=0), self.sliding, read)

    @property
    def _copies(self) -> int:
        return 1 if self.bins is None else self.paths

    def _slide(self, inputs: Array, timesteps: int, read: Callable[[Array], Array]) -> Iterator[Array]:
        inputs = inputs.copy()
        while True:
            forecast = read(self.engine.predict(inputs[:, :timesteps])[:, -1])
            yield forecast
            inputs[:, :-1] = inputs[:, 1:]
            inputs[:, -1] = forecast

    def rollout(self, history: Array, steps: int) -> Array:
        """Return the next ``steps`` forecasts after ``history`` (N, T, F): ``(N, steps, F)``."""
        return np.stack(list(islice(self.stream(history), steps)), axis=1)
