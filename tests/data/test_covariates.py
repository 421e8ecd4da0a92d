from __future__ import annotations

import numpy as np
import pytest

from lstmcast.data.covariates import Covariates, CovariateSection

PERIODS = [12.42, 24.0]
STEPS = np.arange(2000)
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.normal(size=(2000, 2)) * [0.1, 0.3]
WAVES = np.stack([np.sin(2 * np.pi * (STEPS + 7) / 12.42), 3 * np.cos(2 * np.pi * (STEPS + 7) / 24) + 0.5], axis=1)


def fit(values: np.ndarray, **options: bool) -> Covariates:
    return Covariates.fit(CovariateSection(periods=PERIODS, **options), 7.0, values)


def test_the_waves_have_the_periods_and_the_origin() -> None:
    waves = fit(WAVES).waves(STEPS)
    np.testing.assert_allclose(waves[:, 0], WAVES[:, 0], atol=1e-12)
    np.testing.assert_allclose(3 * waves[:, 3] + 0.5, WAVES[:, 1], atol=1e-12)
    # a wave of period 24 is the same a million days on
    np.testing.assert_allclose(fit(WAVES).waves(STEPS + 24_000_000)[:, [1, 3]], waves[:, [1, 3]], atol=1e-7)


def test_only_what_the_periods_explain_is_subtracted() -> None:
    covariates = fit(WAVES + NOISE, subtract=True)
    left = covariates.remove(WAVES + NOISE, STEPS)
    np.testing.assert_allclose(left * covariates.scale, NOISE + np.array([0, 0.5]), atol=0.03)
    np.testing.assert_allclose(left.std(axis=0), 1)
    np.testing.assert_allclose(covariates.restore(left, STEPS), WAVES + NOISE, atol=1e-12)


def test_nothing_is_subtracted_unless_asked() -> None:
    covariates = fit(WAVES + NOISE)
    assert np.array_equal(covariates.remove(NOISE, STEPS), NOISE)


@pytest.mark.parametrize(("inputs", "features"), [(True, 6), (False, 2)])
def test_inputs_are_the_values_and_the_waves(inputs: bool, features: int) -> None:
    covariates = fit(WAVES + NOISE, subtract=True, inputs=inputs)
    values, steps = NOISE.reshape(4, 500, 2), STEPS.reshape(4, 500)
    read = covariates.inputs_of(values, steps)
    assert read.shape == (4, 500, features)
    assert np.array_equal(read[..., :2], covariates.remove(values, steps))
    assert np.array_equal(read[..., 2:], covariates.known(steps))
    # one time for all of them
    assert np.array_equal(covariates.inputs_of(values, steps[1])[1], read[1])


def test_periods_that_cannot_be_told_apart_and_constants_do_no_harm() -> None:
    settings = CovariateSection(periods=[24.0, 24.0, 24.000001, 1e9], subtract=True)
    covariates = Covariates.fit(settings, 0.0, WAVES + NOISE)
    assert np.abs(covariates.weights).max() < 1e3
    flat = Covariates.fit(settings, 0.0, np.zeros((100, 1)))
    assert np.array_equal(flat.remove(np.ones((3, 1)), np.arange(3)), np.ones((3, 1)))
