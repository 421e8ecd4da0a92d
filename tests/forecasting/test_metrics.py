"""Metrics on sinusoids whose amplitude, frequency and phase are known."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcast.forecasting.metrics import (
    amplitude_ratio,
    frequency,
    frequency_error,
    phase_error,
    rmse,
    valid_steps,
)

ONE = np.ones(1)


def test_rmse_is_the_root_of_the_mean_square():
    truth = np.random.default_rng(0).standard_normal((3, 7, 2))
    assert rmse(truth, truth) == 0
    assert rmse(truth + 0.5, truth) == pytest.approx(0.5)
    assert rmse(-2 * truth, truth) == pytest.approx(3 * np.sqrt(np.mean(truth**2)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_rmse_of_what_is_not_finite_is_infinite(bad):
    truth = np.zeros((1, 3, 1))
    forecast = truth.copy()
    forecast[0, 1] = bad
    assert rmse(forecast, truth) == np.inf


@pytest.mark.parametrize(("first_bad", "value"), [(0, 1.0), (4, -0.3), (4, np.nan), (4, np.inf), (9, 0.21)])
def test_valid_steps_end_before_the_first_large_error(first_bad, value):
    truth = np.zeros((1, 10, 1))
    forecast = truth + 0.2
    forecast[0, first_bad] = value
    assert valid_steps(forecast, truth, ONE) == first_bad


def test_valid_steps_are_all_if_none_is_bad_and_count_in_units_of_the_scale():
    truth = np.zeros((2, 10, 2))
    forecast = truth + np.array([0.19, 19])
    assert valid_steps(forecast, truth, np.array([1.0, 100.0])) == 10
    assert valid_steps(forecast, truth, np.array([1.0, 10.0])) == 0
    assert valid_steps(forecast, truth, np.array([1.0, 10.0]), share=2.0) == 10


@pytest.mark.parametrize("ratio", [0, 0.3, 1, 2.5])
def test_the_amplitude_ratio_is_the_factor(sines, ratio):
    truth = sines(200, 20, [0, 0.3])
    assert amplitude_ratio(3 + ratio * truth, truth) == pytest.approx(ratio, abs=1e-12)


@pytest.mark.parametrize("period", [3.7, 10, 2 * np.pi * 20, 100])
@pytest.mark.parametrize("steps", [500, 1000])
def test_the_frequency_of_a_sinusoid_is_found(sines, period, steps):
    found = frequency(2 + 0.7 * sines(steps, period, [0, 0.2, 0.6]))
    assert found.shape == (3, 1)
    # a small part of the resolution, one cycle in all the steps
    np.testing.assert_allclose(found, 1 / period, atol=0.02 / steps)


def test_the_frequency_error_is_signed_and_in_cycles_per_1000_steps(sines):
    truth = sines(1000, 50, [0.1, 0.5])
    assert frequency_error(sines(1000, 1000 / 21, [0.1, 0.5]), truth) == pytest.approx(1, abs=0.02)
    assert frequency_error(sines(1000, 1000 / 18.5, [0.1, 0.5]), truth) == pytest.approx(-1.5, abs=0.02)
    assert frequency_error(truth, truth) == 0


@pytest.mark.parametrize("lead", [-0.45, -0.2, -0.03, 0, 0.1, 0.25, 0.45])
@pytest.mark.parametrize("period", [10, 41.3])
def test_the_phase_error_is_the_lead_in_cycles(sines, lead, period):
    phases = np.array([0.0, 0.3, 0.7])
    assert phase_error(0.5 * sines(400, period, phases + lead), sines(400, period, phases)) == pytest.approx(
        lead, abs=0.01
    )


def test_a_forecast_that_runs_fast_leads_at_the_end(sines):
    truth, fast, slow = sines(400, 40), sines(400, 39.5), sines(400, 40.5)
    # over the last two periods, so on average one period before the end
    assert phase_error(fast, truth) == pytest.approx(360 / 39.5 - 360 / 40, abs=0.03)
    assert phase_error(slow, truth) == pytest.approx(360 / 40.5 - 360 / 40, abs=0.03)


def test_there_is_no_phase_in_less_than_a_period(sines):
    truth = np.linspace(0, 1, 50)[None, :, None] ** 3
    assert np.isnan(phase_error(truth, truth)) or abs(phase_error(truth, truth)) < 1e-12
    assert np.isnan(phase_error(np.zeros((1, 50, 1)), np.zeros((1, 50, 1))))
    assert np.isfinite(phase_error(sines(50, 20), sines(50, 20)))


def test_a_constant_truth_has_no_amplitude_to_compare_with():
    truth, forecast = np.zeros((1, 50, 1)), np.ones((1, 50, 1))
    assert np.isnan(amplitude_ratio(forecast, truth))
    assert np.isfinite(frequency_error(forecast, truth))
