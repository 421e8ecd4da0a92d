"""The forecasts that a network has to beat, fitted on the training part only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.autoregression import Autoregression
from lstmcast.data.covariates import Covariates


class Baseline(Protocol):
    """Forecasts ``history`` (N, T, F) by ``steps``: ``(N, steps, F)``."""

    @property
    def label(self) -> str:
        """Say what it is, with what was found in the data."""
        ...

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history."""
        ...

    def next_step(self, rows: Array) -> Array:
        """Forecast each value of ``rows`` (N, L, F) from the true ones before it; NaN where those are too few."""
        ...


@dataclass(frozen=True)
class Mean:
    """The mean of the training part, for ever; ``mean`` is ``(F,)``."""

    mean: Array
    label: str = "mean of the training part"

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history."""
        return np.broadcast_to(self.mean, (len(history), steps, len(self.mean)))

    def next_step(self, rows: Array) -> Array:
        """Forecast each value from those before it."""
        return np.broadcast_to(self.mean, rows.shape)


@dataclass(frozen=True)
class LastValue:
    """The last value, for ever (persistence)."""

    label: str = "last value"

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history."""
        return np.repeat(history[:, -1:], steps, axis=1)

    def next_step(self, rows: Array) -> Array:
        """Forecast each value from those before it."""
        return delayed(rows, 1)


@dataclass(frozen=True)
class SeasonalNaive:
    """The value one whole period before, for ever."""

    period: int

    @property
    def label(self) -> str:
        """Name the period."""
        return f"seasonal naive, period {self.period}"

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history; a history shorter than the period is repeated whole."""
        season = history[:, -self.period :]
        forecast: Array = season[:, np.arange(steps) % season.shape[1]]
        return forecast

    def next_step(self, rows: Array) -> Array:
        """Forecast each value from those before it."""
        return delayed(rows, self.period)


@dataclass(frozen=True)
class BesidePeriods:
    """Another baseline of what known periods leave; all rows and histories begin at step 0."""

    inner: Baseline
    covariates: Covariates
    label: str

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history."""
        T = history.shape[1]
        left = self.inner.forecast(self.covariates.remove(history, np.arange(T)), steps)
        return self.covariates.restore(left, np.arange(T, T + steps))

    def next_step(self, rows: Array) -> Array:
        """Forecast each value from those before it."""
        steps = np.arange(rows.shape[1])
        return self.covariates.restore(self.inner.next_step(self.covariates.remove(rows, steps)), steps)


def delayed(rows: Array, steps: int) -> Array:
    """Return ``rows`` (N, L, F) shifted to later steps, NaN before."""
    shifted = np.full(rows.shape, np.nan)
    shifted[:, steps:] = rows[:, :-steps]
    return shifted


def fit_baselines(train: Array, covariates: Covariates | None = None) -> dict[str, Baseline]:
    """Fit all baselines to the training rows ``(N, L, F)``; one that the data does not allow is left out.

    What the network knows in advance, ``covariates``, two more baselines know too.
    """
    baselines: dict[str, Baseline] = {"mean": Mean(train.mean(axis=(0, 1))), "last_value": LastValue()}
    period = find_period(train)
    if period is not None:
        baselines["seasonal_naive"] = SeasonalNaive(period)
    if train.shape[1] >= 8:
        baselines["ar"] = Autoregression.fit(train)
    if covariates is not None:
        known = covariates.fitted(train[0])
        left = known.remove(train, np.arange(train.shape[1]))
        baselines["periods"] = BesidePeriods(Mean(left.mean(axis=(0, 1))), known, "known periods alone")
        if "ar" in baselines:
            inner = Autoregression.fit(left)
            baselines["ar_periods"] = BesidePeriods(inner, known, f"{inner.label} beside known periods")
    return baselines


def find_period(rows: Array) -> int | None:
    """Find the period of ``rows`` (N, L, F), in whole steps: the lag of the highest peak of the autocorrelation.

    Returns:
        The lag, at least 2 and at most half of L; None if the autocorrelation has no peak above 0.1, or none
        above four standard deviations of white noise's, 1/√(N L).
    """
    L = rows.shape[1]
    centred = rows - rows.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 2 * L, axis=1)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, 2 * L, axis=1)[:, : L // 2 + 1].mean(axis=(0, 2))
    if len(correlation) < 4 or correlation[0] <= 0:
        return None
    inner = correlation[1:-1]
    peaks = np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:])) + 1
    peaks = peaks[peaks >= 2]
    if not len(peaks):
        return None
    best = int(peaks[correlation[peaks].argmax()])
    if correlation[best] <= max(0.1, 4 / np.sqrt(rows.shape[0] * L)) * correlation[0]:
        return None
    # fewer products at longer lags pull the peak to the left: divide by their number beside it
    near = np.arange(best - 1, best + 2)
    return int(near[(correlation[near] / (L - near)).argmax()])
