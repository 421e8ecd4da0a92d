"""The verdict names each way to fail, on forecasts made to fail in just that way."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lstmcast.config.schema import Config
from lstmcast.forecasting import metrics
from lstmcast.forecasting.verdict import judge

K = 1000
T = np.arange(K)[None, :, None]


def with_values(truth, start, *values):
    forecast = truth.copy()
    forecast[:, start : start + len(values), 0] = values
    return forecast


FORECASTS = {
    "holds": ("holds", lambda truth: truth + 0.01),
    "perfect": ("holds", lambda truth: truth.copy()),
    "zero": ("collapsed", lambda truth: 0 * truth),
    "offset": ("collapsed", lambda truth: 0 * truth + 0.7),
    "tiny": ("collapsed", lambda truth: 0.05 * truth),
    "small": ("inaccurate", lambda truth: 0.4 * truth),
    "large": ("inaccurate", lambda truth: 3 * truth),
    "decaying": ("dies_out", lambda truth: truth * np.exp(-T / 200)),
    "growing": ("blows_up", lambda truth: truth * np.exp(T / 300)),
    "exponential": ("diverges", lambda truth: truth * np.exp(T / 100)),
    "far": ("diverges", lambda truth: with_values(truth, 700, 1e3)),
    "nan": ("diverges", lambda truth: with_values(truth, 999, np.nan)),
    "inf": ("diverges", lambda truth: with_values(truth, 0, -np.inf)),
    "overflow": ("diverges", lambda truth: with_values(truth, 500, 1e300, -1e300)),
    "late": ("out_of_phase", lambda _: np.sin(2 * np.pi * (T / 50 - 0.2))),
    "fast": ("out_of_phase", lambda _: np.sin(2 * np.pi * T / 49.3)),
    "faster": ("wrong_frequency", lambda _: np.sin(2 * np.pi * T / 30)),
    "away": ("wrong_level", lambda truth: 0.6 * truth + 2),
    "noisy": ("inaccurate", lambda truth: truth + 0.5 * np.random.default_rng(0).standard_normal(truth.shape)),
}


@pytest.fixture
def truth(sines):
    return sines(K, 50)


@pytest.fixture
def verdict_on(truth):
    def judged(forecast, baselines, truth=truth, **orders):
        scale, error = truth.std(axis=(0, 1)), metrics.rmse(forecast, truth)
        return judge(forecast, truth, scale, error, baselines, **orders)

    return judged


@pytest.mark.parametrize("name", FORECASTS)
def test_each_failure_has_its_name(truth, verdict_on, name):
    kind, make = FORECASTS[name]
    # better than the network, so that being on par excuses nothing
    error = metrics.rmse(make(truth), truth)
    verdict = verdict_on(make(truth), {"last value": 0.8 * error if np.isfinite(error) else 1.0})
    assert verdict.kind == ("trails_baseline" if name == "holds" else kind)
    assert "last value" in verdict.text
    assert "\n" not in verdict.text


@pytest.mark.parametrize("name", sorted(FORECASTS.keys() - {"perfect"}))
def test_a_better_baseline_is_named_whatever_the_failure(truth, verdict_on, name):
    kind, make = FORECASTS[name]
    verdict = verdict_on(make(truth), {"mean": 3.0, "AR(2)": 1e-9, "last value": 0.5})
    assert verdict.kind == ("trails_baseline" if kind == "holds" else kind)
    assert "trails AR(2)" in verdict.text
    assert "mean" not in verdict.text


@pytest.mark.parametrize("name", sorted(FORECASTS.keys() - {"exponential", "far", "nan", "inf", "overflow"}))
def test_a_network_that_copies_the_last_value_is_an_echo_whatever_its_rollout_looks_like(truth, name):
    forecast = FORECASTS[name][1](truth)
    baselines = {"last value": 0.8 * metrics.rmse(forecast, truth)}
    scale, error = truth.std(axis=(0, 1)), metrics.rmse(forecast, truth)
    copied, not_copied = (judge(forecast, truth, scale, error, baselines, echo) for echo in (0.05, 0.5))
    assert (copied.kind == "echoes") == (not_copied.kind not in ("holds", "trails_baseline"))
    if copied.kind == "echoes":
        assert "echoes the last value: one step ahead it moves away from it by 5%" in copied.text


def test_an_echo_is_measured_on_the_next_step(truth):
    last, now = truth[:, :-1], truth[:, 1:]
    assert metrics.echo(last, now, last) == 0
    assert metrics.echo(now, now, last) == pytest.approx(1)
    assert metrics.echo(0.95 * last + 0.05 * now, now, last) == pytest.approx(0.05)
    assert np.isnan(metrics.echo(now + np.nan, now, last))
    assert np.isnan(metrics.echo(last, last, last))


def test_whatever_is_wrong_comes_with_advice_that_names_keys_of_the_config(truth, verdict_on):
    schema = str(Config.model_json_schema())
    for kind, make in FORECASTS.values():
        verdict = verdict_on(make(truth), {"mean": 3.0, "last value": 0.005})
        if verdict.kind in ("holds", "on_par"):
            assert verdict.advice is None
            continue
        assert verdict.kind == ("trails_baseline" if kind == "holds" else kind)
        keys = re.findall(r"\b(?:data|model|optimizer|schedule|training)\.[a-z_.]*[a-z_]", verdict.advice or "")
        assert keys
        for key in keys:
            assert all(f"'{part}'" in schema for part in key.split(".")), key


@pytest.mark.parametrize(("error", "advised"), [(0.006, False), (0.008, True)])
def test_a_negligible_error_asks_for_no_change(truth, verdict_on, error, advised):
    verdict = verdict_on(truth + error, {"AR(2)": 1e-9})
    assert verdict.kind == "trails_baseline"
    assert (verdict.advice is not None) == advised


@pytest.mark.parametrize(
    ("label", "error", "order"),
    [
        ("AR(9)", 0.8, 9),
        ("AR(30) beside known periods", 0.8, 30),
        ("AR(9)", 1.2, None),
        ("AR(2)", 1e-9, None),
        ("last value", 0.8, None),
    ],
)
def test_where_an_autoregression_is_ahead_the_network_is_offered_its_help(truth, verdict_on, label, error, order):
    orders = {"AR(2)": 2, "AR(9)": 9, "AR(30) beside known periods": 30}
    verdict = verdict_on(truth + 1, {label: error, "mean of the training part": 2.0}, orders=orders)
    assert verdict.advice is not None
    assert (f"model.autoregression={order}" in verdict.advice) == (order is not None)
    assert ("autoregression" in verdict.advice) == (order is not None)


@pytest.mark.parametrize(
    ("label", "error", "named"),
    [("AR(64)", 0.1, "=64,"), ("AR(9)", 0.8, None), ("AR(64)", 1.2, None), ("last value", 0.1, None)],
)
def test_a_linear_part_of_another_order_that_is_ahead_is_named(truth, verdict_on, label, error, named):
    verdict = verdict_on(truth + 1, {label: error}, orders={"AR(9)": 9, "AR(64)": 64}, order=9)
    assert ("try another model.autoregression," in verdict.advice) == (named is None)
    assert f"model.autoregression{named or ','}" in verdict.advice


def test_what_nobody_forecasts_better_is_no_failure(truth, verdict_on):
    # noise of half the signal's amplitude: the best forecast there is leaves it over
    noisy = truth + 0.3 * np.random.default_rng(1).standard_normal(truth.shape)
    verdict = verdict_on(truth, {"AR(40)": 0.29}, truth=noisy)
    assert verdict.kind == "on_par"
    # but a constant is no forecast, even where no baseline is better
    assert verdict_on(0 * truth, {"mean": 0.75}, truth=noisy).kind == "collapsed"


def test_a_good_forecast_is_set_beside_the_next_best(truth, verdict_on):
    verdict = verdict_on(truth + 0.01, {"mean": 0.7, "AR(2)": 0.05})
    assert verdict.kind == "holds"
    assert "beats every baseline; the next is AR(2), with 5 times its error" in verdict.text
    assert "all 1,000 steps" in verdict.text


def test_a_good_forecast_that_is_worse_than_a_baseline_says_by_how_much(truth, verdict_on):
    verdict = verdict_on(truth + 0.01, {"mean": 0.7, "AR(2)": 0.0025})
    assert verdict.kind == "trails_baseline"
    assert "trails AR(2), which has 25% of its error" in verdict.text
    assert "less than 1%" in verdict_on(truth + 0.01, {"AR(2)": 1e-9}).text


@pytest.mark.parametrize(("error", "text"), [(0.0102, "beats every"), (0.01005, "level"), (0.00995, "level")])
def test_a_baseline_within_a_hundredth_is_level(truth, verdict_on, error, text):
    verdict = verdict_on(truth + 0.01, {"mean": 0.7, "AR(2)": error})
    assert verdict.kind == "holds"
    assert ("is level with AR(2), the best baseline" if text == "level" else text) in verdict.text
    assert verdict_on(truth + 0.01, {"AR(2)": 0.0098}).kind == "trails_baseline"


def test_the_step_of_a_divergence_is_named(truth, verdict_on):
    assert "at step 701 " in verdict_on(with_values(truth, 700, 1e3), {"mean": 0.7}).text
    assert "at step 1 " in verdict_on(with_values(truth, 0, np.inf), {"mean": 0.7}).text


def test_the_sign_of_a_drift_is_named(verdict_on):
    late, fast = (verdict_on(FORECASTS[name][1](None), {"mean": 0.7}).text for name in ("late", "fast"))
    assert "its phase -0.20 cycles" in late
    assert "its frequency is +0.2" in fast


def test_one_series_that_diverges_is_enough(sines, verdict_on):
    truth = sines(K, 50, [0, 0.2, 0.4])
    forecast = truth.copy()
    forecast[1, 600] = np.nan
    assert verdict_on(forecast, {"mean": 0.7}, truth).kind == "diverges"


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(
    ("error", "kind"), [(0.0, "holds"), (1.0, "inaccurate"), (1e3, "diverges"), (np.nan, "diverges")]
)
def test_a_short_forecast_gets_a_verdict_too(sines, steps, error, kind):
    truth = sines(steps, 50, start=10)
    assert judge(truth + error, truth, np.ones(1), error, {"mean": 2e3}).kind == kind


def test_a_truth_that_does_not_move(truth):
    forecast = 0 * truth + 0.5
    assert judge(forecast, 0 * truth, np.ones(1), 0.5, {"mean": 0.0}, echo=float("nan")).kind != "holds"


def test_an_exact_forecast_is_set_beside_an_exact_baseline(truth, verdict_on):
    assert verdict_on(truth.copy(), {"AR(2)": 0.0}).kind == "holds"
    assert verdict_on(truth + 1e-9, {"AR(2)": 0.0}).kind == "trails_baseline"


@pytest.mark.parametrize("name", FORECASTS)
def test_the_scale_of_the_data_does_not_matter(truth, verdict_on, name):
    forecast = FORECASTS[name][1](truth)
    verdict, error = verdict_on(forecast, {"AR(2)": 0.3}), metrics.rmse(forecast, truth)
    scaled = judge(
        2**10 * forecast, 2**10 * truth, 2**10 * truth.std(axis=(0, 1)), 2**10 * error, {"AR(2)": 2**10 * 0.3}
    )
    assert scaled.kind == verdict.kind
    assert scaled.text == verdict.text or name == "perfect"
