"""Bands hold what they promise, on noise that the network knows nothing about."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcast.data.categories import Bins
from lstmcast.data.dataset import Held
from lstmcast.errors import UsageError
from lstmcast.forecasting.intervals import band, calibrate, conformal_quantile, needed, widen
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

STEPS, CALIBRATED, LENGTH = 20, 6000, 12_000


def white(random):
    return random.standard_normal(LENGTH)


def heavy_tailed(random):
    return random.standard_t(3, LENGTH)


def red(random):
    noise = random.standard_normal(LENGTH)
    for t in range(1, LENGTH):
        noise[t] += 0.7 * noise[t - 1]
    return noise


def on_a_sine(random):
    return np.sin(np.arange(LENGTH) / 4) + 0.3 * random.standard_normal(LENGTH)


@pytest.fixture
def classes():
    bins = Bins(-3.0, 3.0, 8)
    network = Network("gru", 8, (5,), (), 8, output="categorical")
    parameters = Parameters(network)
    parameters.initialize(network, np.random.default_rng(3))
    return Forecaster(NumpyEngine(network, parameters), 1, 20, None, bins, paths=30)


def coverage(forecaster, noise, level, steps=STEPS):
    """Return the share of what comes after the calibration that lies in the bands."""
    rows = noise[None, :, None]
    margins = calibrate(forecaster, Held(rows[:, :CALIBRATED], 3000, 3000, CALIBRATED), steps, level)
    assert margins.shape == (steps, 1)
    starts = np.arange(CALIBRATED + 100, LENGTH - steps, 9)
    histories = np.stack([noise[start - 20 : start, None] for start in starts])
    truth = np.stack([noise[start : start + steps, None] for start in starts])
    half_bin = forecaster.bins.width / 2 if forecaster.bins else 0.0
    inside = []
    for k, paths in zip(range(steps), forecaster.stream_paths(histories), strict=False):
        _, low, high = np.moveaxis(widen(band(paths, level, half_bin), margins[k]), -1, 0)
        inside.append((truth[:, k] >= low) & (truth[:, k] <= high))
    return np.mean(inside)


@pytest.mark.parametrize("noise", [white, heavy_tailed, red, on_a_sine])
def test_nine_of_ten_values_lie_in_the_bands_of_nine_tenths(make_forecaster, noise):
    values = noise(np.random.default_rng(0))
    assert coverage(make_forecaster(context=20), values, 0.9) == pytest.approx(0.9, abs=0.03)
    assert coverage(make_forecaster(context=20), values, 0.5) == pytest.approx(0.5, abs=0.05)


def test_the_bands_of_drawn_classes_are_calibrated_too(classes):
    values = white(np.random.default_rng(1))
    assert coverage(classes, values, 0.9, steps=5) == pytest.approx(0.9, abs=0.04)


def test_bands_widen_with_the_error(make_forecaster):
    walk = np.cumsum(white(np.random.default_rng(0)))[None, :4000, None]
    margins = calibrate(make_forecaster(residual=True, value=0.0), Held(walk, 2000, 2000, 4000), 100, 0.9)[:, 0]
    # of a random walk the last value is the best forecast, its error normal with the variance k
    np.testing.assert_allclose(margins[[0, 3, 24]], 1.645 * np.sqrt([1, 4, 25]), rtol=0.25)


def test_a_few_scores_and_none_too_few():
    assert [needed(level) for level in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]
    scores = np.random.default_rng(0).permutation(np.arange(9.0))[:, None]
    for level, expected in ((0.9, 8.0), (0.8, 7.0), (0.5, 4.0)):
        assert conformal_quantile(scores, level) == expected
    scores[scores == 8] = np.nan
    assert conformal_quantile(scores, 0.8) == 7
    # each new score lies below the quantile of n others with just the probability promised
    draws = np.random.default_rng(1).random((40_000, 20))
    assert (draws[:, 0] <= conformal_quantile(draws[:, 1:].T, 0.9)).mean() == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize(
    ("known", "level", "longest"), [(40, 0.9, 10), (40, 0.95, 2), (40, 0.99, 0), (28, 0.9, 0), (100, 0.9, 40)]
)
def test_the_longest_calibrated_horizon_is_named(make_forecaster, known, level, longest):
    rows = np.random.default_rng(0).standard_normal((1, known, 1))
    held = Held(rows, 20, 20, known)
    if longest:
        assert np.isfinite(calibrate(make_forecaster(context=20), held, longest, level)).all()
    with pytest.raises(UsageError, match=f"enough for {longest} steps ahead") as caught:
        calibrate(make_forecaster(context=20), held, longest + 1, level)
    assert ("lower --future" in str(caught.value.hint)) == bool(longest)


def test_what_is_not_known_yet_calibrates_nothing(make_forecaster):
    rows = np.random.default_rng(0).standard_normal((3, 200, 1))
    changed = rows.copy()
    changed[:, 100:] = 1e6
    ours, theirs = (calibrate(make_forecaster(), Held(part, 100, 1, 100), 10, 0.9) for part in (rows, changed))
    np.testing.assert_array_equal(ours, theirs)
