"""Baselines on series whose best forecast is known."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcast.data.autoregression import Autoregression, fit_autoregression
from lstmcast.data.covariates import Covariates, CovariateSection
from lstmcast.forecasting.baselines import (
    LastValue,
    Mean,
    SeasonalNaive,
    find_period,
    fit_baselines,
)


def autoregressive(coefficients, steps, rows=1, bias=0.0, noise=1.0):
    """Simulate y(t) = bias + Σ_k a_k y(t - k) + noise, past its beginning."""
    random = np.random.default_rng(0)
    p = len(coefficients)
    y = np.zeros((rows, 500 + steps))
    e = noise * random.standard_normal(y.shape)
    for t in range(p, y.shape[1]):
        y[:, t] = bias + y[:, t - p : t][:, ::-1] @ np.array(coefficients) + e[:, t]
    return y[:, 500:, None]


@pytest.mark.parametrize("period", [2 * np.pi * 20, 12, 7.3])
@pytest.mark.parametrize("level", [0, 5])
def test_an_autoregression_continues_a_pure_sine_with_two_lags(sines, period, level):
    phases = np.linspace(0, 0.9, 7)
    train, future = level + sines(500, period, phases), level + sines(1000, period, phases, start=500)
    fitted = fit_baselines(train)["ar"]
    assert fitted.label == "AR(2)"
    b, *a = fitted.coefficients[0]
    np.testing.assert_allclose(a, [2 * np.cos(2 * np.pi / period), -1], atol=1e-9)
    assert b == pytest.approx(level * (1 - sum(a)), abs=1e-9)
    assert np.abs(fitted.forecast(train, 1000) - future).max() < 1e-9


def test_two_sines_take_four_lags(sines):
    train, future = (sines(n, 31.4, start=s) + 0.3 * sines(n, 9.7, start=s) for n, s in [(400, 0), (200, 400)])
    fitted = Autoregression((fit_autoregression(train[:, :, 0]),))
    assert fitted.label == "AR(4)"
    assert np.abs(fitted.forecast(train, 200) - future).max() < 1e-8


@pytest.mark.parametrize(("rows", "steps"), [(1, 20_000), (40, 500)])
def test_the_coefficients_of_a_noisy_series_are_found(rows, steps):
    true = [0.5, -0.3, 0.2]
    b, *a = fit_autoregression(autoregressive(true, steps, rows, bias=2.0)[:, :, 0])
    assert 3 <= len(a) <= 12
    np.testing.assert_allclose(a[:3], true, atol=0.04)
    assert np.abs(a[3:]).max(initial=0) < 0.04
    assert b / (1 - sum(a)) == pytest.approx(2 / 0.6, abs=0.1)


def test_each_feature_has_its_own_order(sines):
    train = np.concatenate([sines(300, 20), autoregressive([0.9], 300, noise=0.1)], axis=2)
    fitted = fit_baselines(train)["ar"]
    assert fitted.label.startswith("AR(2, ")
    together = fitted.forecast(train, 50)
    for f, c in enumerate(fitted.coefficients):
        alone = Autoregression((c,)).forecast(train[:, :, f : f + 1], 50)
        np.testing.assert_allclose(together[:, :, f : f + 1], alone, rtol=1e-12)


def test_an_unstable_autoregression_overflows_in_silence():
    forecast = Autoregression((np.array([0.0, 3.0]),)).forecast(np.ones((1, 5, 1)), 1000)
    assert forecast[0, 0] == 3
    assert np.isinf(forecast[0, -1])


@pytest.mark.parametrize("period", [2, 7, 12.4, 2 * np.pi * 20])
@pytest.mark.parametrize("noise", [0, 0.3])
def test_the_period_of_a_sine_is_found(sines, period, noise):
    rows = 3 + sines(1000, period, [0.1, 0.35, 0.8])
    rows += noise * np.random.default_rng(0).standard_normal(rows.shape)
    found = find_period(rows)
    # a multiple of the period is one too, and may fall closer to a whole step
    cycles = round(found / period)
    assert cycles >= 1
    assert abs(found - cycles * period) <= 1


@pytest.mark.parametrize("period", [12, 35, 40])
def test_a_whole_period_is_found_exactly_in_a_short_series(sines, period):
    assert find_period(sines(100, period, np.arange(5) / 5)) == period


def test_the_period_of_any_shape_is_found():
    shape = np.array([0, 1, 5, 2, 0, -1, 3, 0, -4.0, 0, 1])
    assert find_period(np.tile(shape, 20)[None, :, None]) == 11


@pytest.mark.parametrize(
    "rows",
    [
        np.full((2, 300, 1), 1 / 3),
        np.zeros((1, 300, 2)),
        np.linspace(0, 1, 300)[None, :, None],
        np.random.default_rng(0).standard_normal((20, 1000, 1)),
        np.random.default_rng(0).standard_normal((1, 10_000, 1)),
        np.ones((1, 1, 1)),
        np.array([1.0, 2, 1, 2, 1])[None, :, None],
    ],
    ids=["constant", "zero", "trend", "many-rows-of-noise", "long-noise", "one-value", "five-values"],
)
def test_what_has_no_period_is_given_none(rows):
    assert find_period(rows) is None
    assert "seasonal_naive" not in fit_baselines(rows)


def test_a_period_longer_than_half_the_series_is_not_claimed(sines):
    period = find_period(sines(100, 80, [0.2]))
    assert period is None or period <= 50


@pytest.mark.parametrize("history", [24, 30, 100])
def test_seasonal_naive_is_exact_on_a_whole_period(sines, history):
    rows = sines(history + 100, 12, [0.1, 0.4])
    forecast = SeasonalNaive(12).forecast(rows[:, :history], 100)
    np.testing.assert_allclose(forecast, rows[:, history:], atol=1e-12)


def test_seasonal_naive_repeats_a_short_history_whole():
    forecast = SeasonalNaive(12).forecast(np.arange(5.0)[None, :, None], 7)
    assert forecast[0, :, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]


def test_mean_and_last_value_are_what_they_say():
    train = np.random.default_rng(0).standard_normal((3, 50, 2))
    fitted = fit_baselines(train)
    history = np.random.default_rng(1).standard_normal((4, 10, 2))
    np.testing.assert_allclose(fitted["mean"].forecast(history, 3), np.tile(train.mean(axis=(0, 1)), (4, 3, 1)))
    np.testing.assert_array_equal(fitted["last_value"].forecast(history, 3), np.repeat(history[:, -1:], 3, axis=1))


BASELINES = {
    "mean": Mean(np.array([0.5, -0.5])),
    "last_value": LastValue(),
    "seasonal_naive": SeasonalNaive(6),
    "ar": Autoregression((np.array([0.1, 0.5, -0.2]), np.array([0.2, 0.1, 0.3, 0.1, 0.2]))),
}


def test_every_baseline_is_under_test(sines):
    assert fit_baselines(sines(100, 10)).keys() == BASELINES.keys()


@pytest.mark.parametrize("name", BASELINES)
def test_the_next_step_is_the_first_of_a_forecast(name):
    baseline, rows = BASELINES[name], np.random.default_rng(0).standard_normal((3, 20, 2))
    forecast = baseline.next_step(rows)
    assert forecast.shape == rows.shape
    for t in range(6, 20):
        np.testing.assert_allclose(forecast[:, t], baseline.forecast(rows[:, :t], 1)[:, 0], rtol=1e-12)


@pytest.mark.parametrize("name", BASELINES)
def test_a_forecast_depends_on_the_end_of_the_history_alone(name):
    baseline, rows = BASELINES[name], np.random.default_rng(0).standard_normal((3, 20, 2))
    whole = baseline.forecast(rows, 15)
    assert whole.shape == (3, 15, 2)
    np.testing.assert_array_equal(baseline.forecast(rows[:, -6:], 15), whole)
    np.testing.assert_array_equal(baseline.forecast(rows[[2, 0]], 15), whole[[2, 0]])
    assert baseline.label


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 30])
def test_a_constant_series_of_any_length_is_forecast_as_constant(steps):
    rows = np.full((2, steps, 1), 0.3)
    fitted = fit_baselines(rows)
    assert ("ar" in fitted) == (steps >= 8)
    for baseline in fitted.values():
        np.testing.assert_allclose(baseline.forecast(rows, 20), 0.3, rtol=1e-6)


def test_two_baselines_know_the_periods_that_the_network_knows():
    steps, random = np.arange(3000), np.random.default_rng(0)
    red = np.zeros(3000)
    for t in range(1, 3000):
        red[t] = 0.9 * red[t - 1] + random.normal(0, 0.3)
    rows = (3 * np.sin(2 * np.pi * (steps + 5) / 12.42) + red)[None, :, None]
    covariates = Covariates.fit(CovariateSection(periods=[12.42]), 5.0, rows[0, :2000])
    fitted = fit_baselines(rows[:, :2000], covariates)
    assert fitted["periods"].label == "known periods alone"
    assert fitted["ar_periods"].label == f"{fitted['ar_periods'].inner.label} beside known periods"
    # far ahead nothing is left but the periods
    far = fitted["ar_periods"].forecast(rows[:, :2500], 500)
    np.testing.assert_allclose(far[:, 300:], fitted["periods"].forecast(rows[:, :2500], 500)[:, 300:], atol=0.05)
    assert np.std(far[0, 300:, 0] - 3 * np.sin(2 * np.pi * (steps[2800:] + 5) / 12.42)) < 0.1
    # and one step ahead the noise of that step
    errors = {name: np.nanstd(fitted[name].next_step(rows) - rows) for name in ("periods", "ar_periods")}
    assert errors["periods"] == pytest.approx(red.std(), rel=0.1)
    assert errors["ar_periods"] == pytest.approx(0.3, rel=0.05)
    next_step = fitted["ar_periods"].next_step(rows)[0, 2500]
    np.testing.assert_allclose(next_step, fitted["ar_periods"].forecast(rows[:, :2500], 1)[0, 0], rtol=1e-9)
    assert "periods" not in fit_baselines(rows[:, :2000])
