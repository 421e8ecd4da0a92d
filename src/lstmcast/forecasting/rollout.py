"""Forecasts in which the network lives on its own predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice, pairwise
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.autoregression import Remainder
from lstmcast.data.batches import windows
from lstmcast.data.categories import Bins, draw, one_hot
from lstmcast.data.covariates import Covariates
from lstmcast.errors import InvalidError
from lstmcast.network.engine import Engine, same
from lstmcast.network.processes import Processes

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
        covariates: what the network knows of every step in advance.
        remainder: the autoregressive component of each forecast; the network forecasts what it leaves.
        paths: rollouts drawn at once, if there are classes.
        seed: of the draws.
        processes: this engine's, to share long rollouts of many series; None: there are none.
    """

    engine: Engine
    horizon: int
    context: int
    sliding: int | None
    bins: Bins | None = None
    covariates: Covariates | None = None
    remainder: Remainder | None = None
    paths: int = 100
    seed: int = 0
    processes: Processes | None = None

    @property
    def least(self) -> int:
        """The values that a forecast needs to start from."""
        order = self.remainder.autoregression.order if self.remainder else 1
        return max(self._read_at_least, order)

    @property
    def _read_at_least(self) -> int:
        return (self.sliding or 1) + self.horizon - 1

    def next_step(self, rows: Array, start: int = 0) -> Array:
        """Forecast the values of ``rows`` (N, L, F) from the true values up to ``horizon`` steps before each.

        Returns:
            ``(N, L, F)``, NaN where too little comes before, and perhaps before ``start``; of classes, the mean of
            their values.
        """
        forecasts = np.full(rows.shape, np.nan)
        steps = np.arange(rows.shape[1])
        read = self.inputs(rows, steps)
        if self.sliding is None:
            forecasts[:, self.horizon :] = self._expected(self.engine.predict(read)[:, : -self.horizon])
        else:
            first = max(start, self.least)
            inputs, _ = windows(read[:, first - self._read_at_least :], self.sliding, self.horizon)
            for row, row_inputs in zip(forecasts, inputs, strict=True):
                for begin in range(0, len(row_inputs), CHUNK):
                    part = self.engine.predict(row_inputs[begin : begin + CHUNK])[:, -1]
                    row[first + begin : first + begin + len(part)] = self._expected(part)
        if self.remainder:
            forecasts = self.remainder.restore(
                forecasts, self.remainder.autoregression.next_step(read[..., : rows.shape[2]])
            )
        return forecasts if self.covariates is None else self.covariates.restore(forecasts, steps)

    def inputs(self, values: Array, steps: Array) -> Array:
        """Return what the network reads of ``values`` (N, T, F) at ``steps`` (T,) or (N, T).

        That is themselves or their classes one-hot, and what is known beside them.
        """
        if self.bins is not None:
            return one_hot(self.bins.encode(values), self.bins.classes)
        return values if self.covariates is None else self.covariates.inputs_of(values, steps)

    def _expected(self, outputs: Array) -> Array:
        if self.bins is None:
            return outputs
        p = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        mean: Array = (p @ self.bins.centres / p.sum(axis=-1))[..., None]
        return mean

    def stream(self, history: Array, first: int | Array = 0) -> Iterator[Array]:
        """Yield the forecast ``(N, F)`` of one step after another, without end, in constant memory.

        Args:
            history: the known values, ``(N, T, F)``.
            first: the step of each history's first value, one for all or ``(N,)``; it matters to covariates alone.

        Raises:
            InvalidError: if ``history`` is shorter than the network needs.
        """
        streams = self.stream_paths(history, first)
        return (paths[:, 0] if self.bins is None else paths.mean(axis=1) for paths in streams)

    def stream_paths(self, history: Array, first: int | Array = 0) -> Iterator[Array]:
        """Yield all paths ``(N, paths, F)`` of one step after another, without end; of values there is one.

        The arguments are those of `stream`.
        """
        N, T, _ = history.shape
        if self.least > T:
            raise InvalidError(f"data: a forecast needs {self.least} values to start from, here are {T}")
        read = min(T, max(self.context, self.least))
        end = np.broadcast_to(np.asarray(first) + T, N)
        inputs = self.inputs(history[:, T - read :], end[:, None] + np.arange(-read, 0))
        if self.bins is None:
            return self._stream_values(inputs, end, history.shape[2])
        bins, random = self.bins, np.random.default_rng([self.seed, 4])

        def draw_class(logits: Array) -> Array:
            return one_hot(draw(logits, 1.0, random)[:, None], bins.classes)

        drawn = self._run(inputs, draw_class)
        return (bins.decode(step.argmax(axis=1)).reshape(N, self.paths, 1) for step in drawn)

    def _stream_values(self, inputs: Array, end: Array, features: int) -> Iterator[Array]:
        read = self.remainder.reader(inputs[..., :features]) if self.remainder else same
        if self.covariates is None:
            yield from (forecast[:, None] for forecast in self._run(inputs, read))
            return
        covariates = self.covariates
        known = (covariates.known(end + k) for k in count())
        for k, forecast in enumerate(self._run(inputs, read, known)):
            yield covariates.restore(forecast, end + k)[:, None]

    def _run(
        self, inputs: Array, read: Callable[[Array], Array], known: Iterator[Array] | None = None
    ) -> Iterator[Array]:
        if self.sliding is None:
            return self.engine.stream(inputs, self.horizon, read, self._copies, known)
        window = np.repeat(inputs[:, -self._read_at_least :], self._copies, axis=0)
        return self._slide(window, self.sliding, read, known)

    @property
    def _copies(self) -> int:
        return 1 if self.bins is None else self.paths

    def _slide(
        self, inputs: Array, timesteps: int, read: Callable[[Array], Array], known: Iterator[Array] | None
    ) -> Iterator[Array]:
        while True:
            forecast = read(self.engine.predict(inputs[:, :timesteps])[:, -1])
            yield forecast
            inputs[:, :-1] = inputs[:, 1:]
            inputs[:, -1] = forecast if known is None else np.concatenate([forecast, next(known)], axis=1)

    def rollout(self, history: Array, steps: int, first: int | Array = 0) -> Array:
        """Return the next ``steps`` forecasts ``(N, steps, F)`` after ``history`` (N, T, F) from ``first`` on.

        Raises:
            InvalidError: if ``history`` is shorter than the network needs.
        """
        N = len(history)
        # draws are of all series at once
        parts = self.processes.parts_of_rollout(N, steps) if self.processes and self.bins is None else 1
        if self.processes is None or parts == 1:
            return np.stack(list(islice(self.stream(history, first), steps)), axis=1)
        firsts, cuts = np.broadcast_to(first, N), [N * k // parts for k in range(parts + 1)]
        # the others have engines of their own
        settings = {name: value for name, value in vars(self).items() if name not in ("engine", "processes")}
        asked = [(settings, history[k:end], steps, firsts[k:end]) for k, end in pairwise(cuts)]
        return np.concatenate(self.processes.map(_rollout, asked))


def _rollout(engine: Engine, settings: dict[str, Any], *arguments: Any) -> Array:
    """Return a rollout by an engine, in the process that has it."""
    return Forecaster(engine, **settings).rollout(*arguments)
