"""What every generator returns: rows to train on, rows held out, and how to read them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.autoregression import Remainder
from lstmcast.data.batches import ChangedSampler, Sampler
from lstmcast.data.categories import Bins
from lstmcast.data.covariates import Covariates
from lstmcast.data.time_axis import Clock
from lstmcast.errors import InvalidError

# the square of this, times the scale, is a finite number
MAX_MAGNITUDE = 1e30


@dataclass(frozen=True)
class Scaler:
    """Standardisation ``(value - mean) / scale`` of each feature; ``mean`` and ``scale`` are ``(F,)``."""

    mean: Array
    scale: Array

    @classmethod
    def identity(cls, features: int) -> Scaler:
        """Return the scaler that changes nothing."""
        return cls(np.zeros(features), np.ones(features))

    @classmethod
    def fit(cls, values: Array) -> Scaler:
        """Fit to ``values`` (..., F); a constant feature keeps the scale 1."""
        flat = values.reshape(-1, values.shape[-1])
        scale = flat.std(axis=0)
        # the deviation of equal values is a rounding error, not always 0
        varies = scale > 1e-14 * np.abs(flat).max(axis=0)
        return cls(flat.mean(axis=0), np.where(varies, scale, 1.0))

    def apply(self, values: Array) -> Array:
        """From the user's units to the network's."""
        return (values - self.mean) / self.scale

    def invert(self, values: Array) -> Array:
        """From the network's units to the user's; a forecast may leave the finite numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            return values * self.scale + self.mean


@dataclass(frozen=True)
class Held:
    """Rows held out from training, with what is known of them and what is asked.

    Attributes:
        rows: ``(N, L, F)``, scaled; a view where the generator allows it.
        origin: a rollout reads ``rows[:, :origin]`` and forecasts ``rows[:, origin:]``.
        scored_from: next-step errors are measured on ``rows[:, scored_from:known]``.
        known: observations end here; what lies beyond is a synthetic continuation, known to us alone.
    """

    rows: Array
    origin: int
    scored_from: int
    known: int


@dataclass(frozen=True)
class Dataset:
    """A generator's product.

    Attributes:
        columns: name of each feature.
        scaler: from the user's units to the rows' units.
        train: ``(N, L, F)``, scaled; baselines are fitted on it.
        validation: held-out rows for model selection, or None.
        test: held-out rows for the final scores; nothing is ever selected on them.
        context: a forecast reads at most this many of the last known values.
        horizon: an output is a forecast this many steps after its input.
        shortest: steps of the shortest training window.
        longest: steps of the longest one.
        bins: the classes, if values are cut into bins; rows hold values all the same.
        sampler: makes the endless stream of training batches:
            ``sampler(batch_size, seed, last_step=..., warmup=...)``.
        covariates: what is known of every step in advance; step 0 is the first of all rows.
        remainder: the autoregressive component of a forecast, whose remainder the network forecasts.
        clock: tells the time of any step, if that is known; step 0 is the first of all rows.
        notes: what a user should know about the data.
    """

    columns: tuple[str, ...]
    scaler: Scaler
    train: Array
    validation: Held | None
    test: Held
    context: int
    horizon: int
    shortest: int
    longest: int
    sampler: Callable[..., Sampler]
    bins: Bins | None = None
    covariates: Covariates | None = None
    remainder: Remainder | None = None
    clock: Clock | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what a network or a metric could not compute with.

        Raises:
            InvalidError: if a value, or the scale, is not finite or beyond `MAX_MAGNITUDE`.
        """
        held = [held.rows for held in (self.validation, self.test) if held]
        for values in (self.scaler.mean, self.scaler.scale, self.train, *held):
            low, high = values.min(), values.max()
            if not -MAX_MAGNITUDE <= low <= high <= MAX_MAGNITUDE:
                raise InvalidError(
                    f"data: the values reach from {low:g} to {high:g}; they must lie within ±{MAX_MAGNITUDE:g}",
                    "choose a smaller unit, or smaller numbers in data.signal",
                )

    @property
    def features(self) -> int:
        """The network's inputs and outputs at each step: columns or classes."""
        return self.bins.classes if self.bins else len(self.columns)

    def beside_autoregression(self, order: int, fitted: Remainder | None = None) -> Dataset:
        """Return them for a network that forecasts what an autoregression leaves, fitted to the training part or given.

        Raises:
            InvalidError: if the order is too high for the training part, or for a training window and the step after
                it, which has to hold a step with all its lags.
        """
        if order > self.shortest:
            raise InvalidError(
                f"model.autoregression: {order} is too much for the shortest training window, of {self.shortest} steps",
                f"lower it to {self.shortest} at most, or make the windows longer",
            )
        if fitted is None:
            values = self.train
            if self.covariates:
                values = self.covariates.remove(values, np.arange(values.shape[1]))
            fitted = Remainder.fit(order, values)
        remainder, sampler, notes = fitted, self.sampler, self.notes
        counted = self.shortest - order + 1
        if counted < self.shortest / 5:
            notes += (
                f"model.autoregression: {order} leaves {counted} of the shortest window's {self.shortest} steps to"
                " train on; longer windows leave more",
            )

        def later(held: Held) -> Held:
            return replace(held, scored_from=max(held.scored_from, order))

        return replace(
            self,
            remainder=remainder,
            sampler=lambda *args, **settings: ChangedSampler(sampler(*args, **settings), remainder.remove_from),
            validation=self.validation and later(self.validation),
            test=later(self.test),
            notes=notes,
        )


def check_window(key: str, where: str, available: int, timesteps: int, horizon: int) -> None:
    """Refuse windows that do not fit into ``available`` steps.

    Raises:
        InvalidError: if ``timesteps + horizon`` exceeds ``available``.
    """
    if timesteps + horizon > available:
        raise InvalidError(
            f"{key}: a window of timesteps {timesteps} + horizon {horizon} = {timesteps + horizon} steps does not"
            f" fit into the {where}, which has {available}",
            "lower data.timesteps or data.horizon, or give more data; what is made for longer windows has to follow:"
            " training.warmup, training.batch_size (null: all windows), model.autoregression",
        )


@dataclass(frozen=True)
class Borders:
    """Where a series of ``length`` steps is cut, in time order: train | validation | test."""

    train: int
    validation: int
    length: int

    @classmethod
    def cut(cls, length: int, validation_share: float, test_share: float) -> Borders:
        """Cut by shares of the length.

        Raises:
            InvalidError: if a part would be empty.
        """
        test = round(length * test_share)
        validation = round(length * validation_share)
        train = length - validation - test
        if train < 1 or test < 1 or (validation_share and not validation):
            raise InvalidError(
                f"data: {length} steps split into {train} for training, {validation} for validation and {test}"
                " for the test; each part needs at least one"
            )
        return cls(train, train + validation, length)

    def held(self, rows: Array, start: int, end: int) -> Held:
        """Hold out ``rows[:, start:end]``; a forecast may look back at what came before ``start``."""
        return Held(rows[:, :end], origin=start, scored_from=start, known=end)

    def validation_held(self, rows: Array) -> Held | None:
        """Return the part between training and test, if there is one."""
        return self.held(rows, self.train, self.validation) if self.validation > self.train else None

    def test_held(self, rows: Array) -> Held:
        """Return the part after ``validation``."""
        return self.held(rows, self.validation, self.length)
