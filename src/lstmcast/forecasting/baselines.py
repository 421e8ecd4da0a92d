"""The forecasts that a network has to beat, fitted on the training part only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstmcast.arrays import Array
from lstmcast.data.covariates import Covariates

MAX_ORDER = 128
MAX_FIT_ROWS = 20_000


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
class Autoregression:
    """AR(p) by least squares, each feature for itself: y(t) = b + Σ_k a_k y(t - k).

    Attributes:
        coefficients: per feature ``(p_f + 1,)``: b, a_1, …, a_p.
    """

    coefficients: tuple[Array, ...]

    @property
    def label(self) -> str:
        """Name the orders."""
        return "AR(" + ", ".join(str(len(c) - 1) for c in self.coefficients) + ")"

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history."""
        N, T, F = history.shape
        order = max(len(c) for c in self.coefficients) - 1
        series = np.zeros((N, order + steps, F))
        # a history shorter than the order is continued backward by its first value
        series[:, :order] = history[:, np.maximum(0, np.arange(T - order, T))]
        with np.errstate(over="ignore", invalid="ignore"):  # a fit may be unstable
            for t in range(order, order + steps):
                for f, c in enumerate(self.coefficients):
                    p = len(c) - 1
                    series[:, t, f] = c[0] + series[:, t - p : t, f][:, ::-1] @ c[1:]
        return series[:, order:]

    def next_step(self, rows: Array) -> Array:
        """Forecast each value from those before it."""
        forecast = np.full(rows.shape, np.nan)
        for f, c in enumerate(self.coefficients):
            p = len(c) - 1
            lags = sliding_window_view(rows[:, :-1, f], p, axis=1)[..., ::-1]
            forecast[:, p:, f] = c[0] + lags @ c[1:]
        return forecast


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
        baselines["ar"] = _autoregression(train)
    if covariates is not None:
        known = covariates.fitted(train[0])
        left = known.remove(train, np.arange(train.shape[1]))
        baselines["periods"] = BesidePeriods(Mean(left.mean(axis=(0, 1))), known, "known periods alone")
        if "ar" in baselines:
            inner = _autoregression(left)
            baselines["ar_periods"] = BesidePeriods(inner, known, f"{inner.label} beside known periods")
    return baselines


def _autoregression(train: Array) -> Autoregression:
    return Autoregression(tuple(fit_autoregression(train[:, :, f]) for f in range(train.shape[2])))


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


def fit_autoregression(rows: Array) -> Array:
    """Fit AR(p) to ``rows`` (N, L) by least squares, with p chosen by Akaike's criterion.

    One QR factorisation of the design with the most lags gives the residual of every smaller one:
    the tail of the last column of R.

    Returns:
        ``(p + 1,)``: b, a_1, …, a_p.
    """
    L = rows.shape[1]
    order = max(1, min(MAX_ORDER, L // 4))
    view = sliding_window_view(rows, order + 1, axis=1)
    total = view.shape[0] * view.shape[1]
    chosen = np.arange(0, total, max(1, -(-total // MAX_FIT_ROWS)))
    lags = view[np.divmod(chosen, view.shape[1])][:, ::-1]
    count = len(lags)
    # columns: 1, y(t-1), …, y(t-order), y(t)
    design = np.concatenate([np.ones((count, 1)), lags[:, 1:], lags[:, :1]], axis=1)
    R = np.asarray(np.linalg.qr(design, mode="r"))
    tail = np.cumsum(R[::-1, -1] ** 2)[::-1]
    orders = np.arange(1, order + 1)
    # below this share of the variance a residual is rounding: the smallest order that reaches it is enough
    floor = 1e-24 * count * max(float(lags[:, 0].var()), 1e-200)
    variance = np.maximum(tail[np.minimum(orders + 1, len(tail) - 1)], floor) / count
    criterion = count * np.log(variance) + 2 * (orders + 1)
    p = int(orders[criterion.argmin()])
    solution: Array = np.linalg.lstsq(design[:, : p + 1], design[:, -1], rcond=None)[0]
    return solution
