"""Autoregression by least squares: a baseline, and the part of a forecast that needs no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.errors import InvalidError

MAX_ORDER = 128
MAX_FIT_ROWS = 20_000


@dataclass(frozen=True)
class Autoregression:
    """AR(p) by least squares, each feature for itself: y(t) = b + Σ_k a_k y(t - k).

    Attributes:
        coefficients: per feature ``(p_f + 1,)``: b, a_1, …, a_p.
    """

    coefficients: tuple[Array, ...]

    @classmethod
    def fit(cls, rows: Array, order: int | None = None) -> Autoregression:
        """Fit to ``rows`` (N, L, F), each feature with its own order unless one is given."""
        return cls(tuple(fit_autoregression(rows[:, :, f], order) for f in range(rows.shape[2])))

    @property
    def order(self) -> int:
        """The values that it looks back at."""
        return max(len(c) for c in self.coefficients) - 1

    @property
    def label(self) -> str:
        """Name the orders."""
        return "AR(" + ", ".join(str(len(c) - 1) for c in self.coefficients) + ")"

    def forecast(self, history: Array, steps: int) -> Array:
        """Forecast the steps after the history."""
        N, T, F = history.shape
        order = self.order
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
        """Forecast each value of ``rows`` (N, L, F) from those before it; NaN where those are too few."""
        forecast = np.full(rows.shape, np.nan)
        for f, c in enumerate(self.coefficients):
            p = len(c) - 1
            if p < rows.shape[1]:
                lags = sliding_window_view(rows[:, :-1, f], p, axis=1)[..., ::-1]
                forecast[:, p:, f] = c[0] + lags @ c[1:]
        return forecast


@dataclass(frozen=True)
class Remainder:
    """What an autoregression leaves, which a network then forecasts in place of the values.

        v(t) = AR(v(t - 1), …, v(t - p)) + scale · y(t),   y(t) the network's output for step t

    The autoregressive component stays as it was fitted; in a rollout it reads the forecasts like the network does.
    Sources: Zhang 2003, https://doi.org/10.1016/S0925-2312(01)00702-0 (a linear model, and a network of what it
    leaves); Lai et al. 2018, https://arxiv.org/abs/1703.07015, section 3.6 (the sum of both as one forecaster).

    Attributes:
        autoregression: the autoregressive component, of one order for all features.
        scale: standard deviation of what it leaves of the training part, ``(F,)``.
    """

    autoregression: Autoregression
    scale: Array

    @classmethod
    def fit(cls, order: int, values: Array) -> Remainder:
        """Fit to ``values`` (N, L, F).

        Raises:
            InvalidError: if these have fewer than two equations for each of the ``order + 1`` coefficients.
        """
        N, L, _ = values.shape
        if N * (L - order) < 2 * (order + 1):
            raise InvalidError(
                f"model.autoregression: {order} is too much for a training part of {N * L:,} values; it allows at most"
                f" {max(0, (N * L - 2) // (N + 2))}",
            )
        fitted = Autoregression.fit(values, order)
        scale = (values - fitted.next_step(values))[:, order:].std(axis=(0, 1))
        # what is left of a pure sine is rounding: what the network makes of it stays as small
        return cls(fitted, np.maximum(scale, 1e-12))

    def remove(self, values: Array, forecasts: Array) -> Array:
        """Return what AR's ``forecasts`` leave of ``values``, both ``(…, F)``, as the network has it."""
        left: Array = (values - forecasts) / self.scale
        return left

    def restore(self, outputs: Array, forecasts: Array) -> Array:
        """From the network's outputs and AR's ``forecasts`` of the same steps, both ``(…, F)``, to values."""
        whole: Array = forecasts + self.scale * outputs
        return whole

    def remove_from(self, batch: Batch) -> Batch:
        """Remove it from a batch's targets; where a window knows too little of the past, a step does not count."""
        order, F = self.autoregression.order, batch.targets.shape[2]
        # each target is the value after its input
        values = np.concatenate([batch.inputs[:, :1, :F], batch.targets], axis=1)
        targets = self.remove(batch.targets, self.autoregression.next_step(values)[:, 1:])
        targets[:, : order - 1] = 0
        weights = np.ones(targets.shape[:2]) if batch.weights is None else batch.weights.copy()
        weights[:, : order - 1] = 0
        return replace(batch, targets=targets, weights=weights)

    def reader(self, history: Array) -> Callable[[Array], Array]:
        """Return what turns the outputs ``(N, F)`` of the steps after ``history`` (N, T, F), in turn, into values."""
        past = history[:, -self.autoregression.order :]

        def read(output: Array) -> Array:
            nonlocal past
            value = self.restore(output, self.autoregression.forecast(past, 1)[:, 0])
            past = np.concatenate([past[:, 1:], value[:, None]], axis=1)
            return value

        return read


def fit_autoregression(rows: Array, order: int | None = None) -> Array:
    """Fit AR(p) to ``rows`` (N, L) by least squares, with p given or chosen by Akaike's criterion.

    It is chosen among those that leave seven equations for each coefficient: one QR factorisation of the design with
    the most lags gives the residual of every smaller one, the tail of the last column of R. Of more than `MAX_FIT_ROWS`
    values that many are drawn: at equal distances they would show a periodic series in some of its phases only.

    Returns:
        ``(p + 1,)``: b, a_1, …, a_p.
    """
    most = order or max(1, min(MAX_ORDER, rows.shape[1] // 8))
    view = sliding_window_view(rows, most + 1, axis=1)
    total = view.shape[0] * view.shape[1]
    chosen = np.arange(total)
    if total > MAX_FIT_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(total, MAX_FIT_ROWS, replace=False))
    lags = view[np.divmod(chosen, view.shape[1])][:, ::-1]
    # columns: 1, y(t-1), …, y(t-most), y(t)
    design = np.concatenate([np.ones((len(lags), 1)), lags[:, 1:], lags[:, :1]], axis=1)
    if order is None:
        # once more, with the rows that fewer lags leave
        return fit_autoregression(rows, _best_order(design))
    solution: Array = np.linalg.lstsq(design[:, :-1], design[:, -1], rcond=None)[0]
    return solution


def _best_order(design: Array) -> int:
    """Return the p with the lowest of Akaike's criterion, of a design with the columns of `fit_autoregression`."""
    count, most = len(design), design.shape[1] - 2
    R = np.asarray(np.linalg.qr(design, mode="r"))
    tail = np.cumsum(R[::-1, -1] ** 2)[::-1]
    orders = np.arange(1, most + 1)
    # below this share of the variance a residual is rounding: the smallest order that reaches it is enough
    floor = 1e-24 * count * max(float(design[:, -1].var()), 1e-200)
    variance = np.maximum(tail[np.minimum(orders + 1, len(tail) - 1)], floor) / count
    criterion = count * np.log(variance) + 2 * (orders + 1)
    return int(orders[criterion.argmin()])
