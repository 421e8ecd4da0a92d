"""Measures of a rollout against the truth; arrays are ``(N, K, F)``: series, steps, features."""

from __future__ import annotations

import numpy as np

from lstmcast.arrays import Array


def rmse(forecast: Array, truth: Array) -> float:
    """Return the root of the mean squared error; infinite where the forecast is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(np.sqrt(np.mean((forecast - truth) ** 2)))
    return value if np.isfinite(value) else float("inf")


def echo(forecast: Array, truth: Array, last: Array) -> float:
    """Return how far forecasts move away from the last known values, over how far the truth does (RMS).

    0 is a copy of the last value, and what is below e has an error within 1 ± e of persistence's. NaN where a forecast
    is missing is left out; the result is NaN if nothing is left, or the truth never moves.
    """
    there = ~np.isnan(forecast + last)
    moved = rmse(truth[there], last[there]) if there.any() else 0.0
    return rmse(forecast[there], last[there]) / moved if moved else float("nan")


def valid_steps(forecast: Array, truth: Array, scale: Array, share: float = 0.2) -> int:
    """Return for how many steps the forecast holds (valid prediction horizon).

    That is the number of steps before the error, as the RMSE over series and features in units of
    ``scale`` (F,), first exceeds ``share``.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.sqrt(np.mean(((forecast - truth) / scale) ** 2, axis=(0, 2)))
    lost = ~(error <= share)
    return int(lost.argmax()) if lost.any() else len(error)


def amplitude_ratio(forecast: Array, truth: Array) -> float:
    """Return the forecast's standard deviation in time over the truth's, the median over those that move."""
    truth_std = truth.std(axis=1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ratio = np.where(truth_std > 0, forecast.std(axis=1) / truth_std, np.nan)
    return float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else float("nan")


def frequency(values: Array) -> Array:
    """Estimate each series' main frequency, in cycles per step: ``(N, F)``.

    The highest peak of the spectrum of the centred series under a Hann window, padded to eight times
    its length, refined by a parabola through the logarithms of three bins.
    Source: https://ccrma.stanford.edu/~jos/sasp/Quadratic_Interpolation_Spectral_Peaks.html
    """
    K = values.shape[1]
    window = np.hanning(K)[None, :, None]
    spectrum = np.abs(np.fft.rfft((values - values.mean(axis=1, keepdims=True)) * window, 8 * K, axis=1))
    peak = np.clip(spectrum[:, 1:-1].argmax(axis=1) + 1, 1, spectrum.shape[1] - 2)
    left, middle, right = (
        np.log(np.take_along_axis(spectrum, (peak + shift)[:, None], axis=1)[:, 0] + 1e-300) for shift in (-1, 0, 1)
    )
    curvature = left - 2 * middle + right
    offset = np.where(curvature < 0, (left - right) / (2 * np.where(curvature < 0, curvature, 1)), 0)
    result: Array = (peak + np.clip(offset, -0.5, 0.5)) / (8 * K)
    return result


def frequency_error(forecast: Array, truth: Array) -> float:
    """Return the error of the main frequency, in cycles per 1,000 steps, the median over series and features."""
    return float(np.median(frequency(forecast) - frequency(truth)) * 1000)


def phase_error(forecast: Array, truth: Array) -> float:
    """Return the phase lead of the forecast over its last two periods, in cycles from -0.5 to 0.5.

    It is the angle between the two series' components at the truth's main frequency, the median over
    series and features; NaN if the truth has less than one period.
    """
    K = truth.shape[1]
    main = frequency(truth)
    if (main * K < 1).all():
        return float("nan")
    leads = []
    for n, f in np.ndindex(*main.shape):
        length = min(K, round(2 / float(main[n, f])))
        last = slice(K - length, K)
        wave = np.exp(-2j * np.pi * main[n, f] * np.arange(length))
        ours, true = (np.angle((x[n, last, f] - x[n, last, f].mean()) @ wave) for x in (forecast, truth))
        lead = (ours - true) / (2 * np.pi)
        leads.append(lead - np.round(lead))
    return float(np.median(leads))
