"""The autoregressive component of a forecast, and what it leaves to the network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstmcast.config.load import load
from lstmcast.data.autoregression import MAX_FIT_ROWS, Autoregression, Remainder
from lstmcast.data.batches import Batch, ChangedSampler, WindowSampler
from lstmcast.data.dataset import Dataset
from lstmcast.errors import InvalidError

ORDER = 3
VALUES = np.cumsum(np.random.default_rng(0).standard_normal((2, 60, 2)), axis=1) / 5
REMAINDER = Remainder.fit(ORDER, VALUES)


def by_hand(row: Any, t: int) -> Any:
    """Return what the autoregressive component leaves of value t of a row ``(L, 2)``."""
    left = []
    for f, (b, *a) in enumerate(REMAINDER.autoregression.coefficients):
        forecast = b + sum(a_k * row[t - k, f] for k, a_k in enumerate(a, 1))
        left.append((row[t, f] - forecast) / REMAINDER.scale[f])
    return np.array(left)


def windows(timesteps: int = 10, **settings: Any) -> WindowSampler:
    defaults = {"last_step": False, "warmup": 0, "shuffle": True, "drop_last": False}
    return WindowSampler(VALUES, timesteps, 1, batch_size=7, seed=0, **(defaults | settings))


def dataset(**changes: Any) -> Dataset:
    config = load("sunspots", ["model.autoregression=null", *(f"data.{key}={value}" for key, value in changes.items())])
    built = config.data.build([0, 3], 0)
    assert isinstance(built, Dataset)
    return built


def test_the_order_is_the_one_asked_for_and_the_fit_is_that_of_least_squares() -> None:
    assert [len(c) for c in REMAINDER.autoregression.coefficients] == [ORDER + 1] * 2
    left = (VALUES - REMAINDER.autoregression.next_step(VALUES))[:, ORDER:]
    lags = np.stack([VALUES[:, ORDER - k : 60 - k] for k in range(1, ORDER + 1)])
    # what least squares leave is orthogonal to the constant and to every lag
    np.testing.assert_allclose(left.sum(axis=(0, 1)), 0, atol=1e-10)
    np.testing.assert_allclose((left * lags).sum(axis=(1, 2)), 0, atol=1e-9)
    np.testing.assert_allclose((left / REMAINDER.scale).std(axis=(0, 1)), 1)


def test_targets_are_what_the_linear_part_leaves_and_unknown_ones_do_not_count() -> None:
    plain, ours = windows(), ChangedSampler(windows(), REMAINDER.remove_from)
    assert ours.batches_per_epoch == plain.batches_per_epoch
    batch, left = plain.next(), ours.next()
    np.testing.assert_array_equal(left.inputs, batch.inputs)
    for n in range(7):
        row = np.concatenate([batch.inputs[n], batch.targets[n, -1:]])
        for t in range(ORDER - 1, 10):
            np.testing.assert_allclose(left.targets[n, t], by_hand(row, t + 1), rtol=1e-12)
    assert left.weights is not None
    np.testing.assert_array_equal(left.weights, np.repeat([[0.0] * (ORDER - 1) + [1.0] * (11 - ORDER)], 7, axis=0))
    assert np.isfinite(left.targets).all()


def test_a_loss_on_the_last_step_stays_there_and_the_state_is_the_other_samplers() -> None:
    ours, again = (ChangedSampler(windows(last_step=True), REMAINDER.remove_from) for _ in range(2))
    weights = ours.next().weights
    assert weights is not None
    assert (weights[:, -1] > 0).all()
    assert not weights[:, :-1].any()
    again.restore(ours.state())
    np.testing.assert_array_equal(again.next().targets, ours.next().targets)


def test_what_is_known_beside_the_values_is_not_forecast() -> None:
    class WithWaves:
        batches_per_epoch = 1

        def next(self) -> Batch:
            batch = windows().next()
            waves = np.full((*batch.inputs.shape[:2], 3), 9.0)
            return replace(batch, inputs=np.concatenate([batch.inputs, waves], axis=2))

        def state(self) -> dict[str, Any]:
            return {}

        def restore(self, state: dict[str, Any]) -> None: ...

    left = ChangedSampler(WithWaves(), REMAINDER.remove_from).next()
    assert left.inputs.shape == (7, 10, 5)
    np.testing.assert_array_equal(left.targets, ChangedSampler(windows(), REMAINDER.remove_from).next().targets)


def test_a_stream_adds_the_linear_part_of_its_own_forecasts() -> None:
    history, steps = VALUES[:, :20], 15
    silent, loud = REMAINDER.reader(history), REMAINDER.reader(history)
    alone = np.stack([silent(np.zeros((2, 2))) for _ in range(steps)], axis=1)
    np.testing.assert_allclose(alone, REMAINDER.autoregression.forecast(history, steps), rtol=1e-12)
    outputs = np.random.default_rng(1).standard_normal((steps, 2, 2))
    values = np.stack([loud(output) for output in outputs], axis=1)
    whole = np.concatenate([history, values], axis=1)
    for n in range(2):
        left = [by_hand(whole[n], t) for t in range(20, 20 + steps)]
        np.testing.assert_allclose(left, outputs[:, n], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("series", [np.sin(np.arange(50.0) / 4), np.full(50, 3.0)], ids=["sine", "constant"])
def test_of_a_series_that_the_linear_part_explains_wholly_the_network_changes_nothing(series: Any) -> None:
    rows = series[None, :, None]
    fitted = Remainder.fit(2, rows)
    assert 0 < fitted.scale[0] < 1e-9
    assert np.abs(fitted.remove(rows, fitted.autoregression.next_step(rows))[:, 2:]).max() < 100
    read = fitted.reader(rows[:, :30])
    forecast = [read(np.array([[5.0]]))[0, 0] for _ in range(20)]
    np.testing.assert_allclose(forecast, series[30:], atol=1e-8)


def coefficients(data: Dataset) -> Any:
    fitted = data.beside_autoregression(9).remainder
    assert fitted is not None
    return fitted.autoregression.coefficients[0]


def test_only_the_training_part_is_fitted() -> None:
    before = dataset()
    later = replace(before, test=replace(before.test, rows=before.test.rows + 5))
    np.testing.assert_array_equal(coefficients(later), coefficients(before))
    assert not np.array_equal(coefficients(replace(before, train=before.train + 5)), coefficients(before))


def test_a_fit_that_is_there_is_kept() -> None:
    given = Remainder(Autoregression((np.arange(10.0),)), np.ones(1))
    assert dataset().beside_autoregression(9, given).remainder is given


def test_more_values_than_are_fitted_show_all_phases_of_a_period() -> None:
    random, steps = np.random.default_rng(0), 24 * 2500
    profile = np.tile(random.standard_normal(24), steps // 24)
    rows = (profile + 0.1 * random.standard_normal(steps))[None, :, None]
    assert steps >= 3 * MAX_FIT_ROWS
    assert Remainder.fit(24, rows).scale[0] < 0.2


def test_known_periods_are_removed_before_the_fit() -> None:
    plain = dataset(covariates="{periods: [11.0], subtract: true}")
    assert plain.covariates is not None
    fitted = plain.beside_autoregression(9).remainder
    assert fitted is not None
    left = plain.covariates.remove(plain.train, np.arange(plain.train.shape[1]))
    np.testing.assert_array_equal(fitted.autoregression.coefficients[0], Autoregression.fit(left, 9).coefficients[0])


def test_an_order_that_no_window_holds_is_refused() -> None:
    data = dataset(timesteps=12)
    assert data.beside_autoregression(12).sampler(batch_size=4, seed=0, last_step=True, warmup=0).next().weights.any()
    with pytest.raises(InvalidError, match=r"model.autoregression: 13 is too much .* of 12 steps"):
        data.beside_autoregression(13)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_training_part_needs_two_equations_for_each_coefficient(rows: int) -> None:
    values = np.random.default_rng(0).standard_normal((rows, 40, 1))
    most = (rows * 40 - 2) // (rows + 2)
    assert Remainder.fit(most, values).scale[0] > 0.1
    with pytest.raises(InvalidError, match=rf"{most + 1} is too much for .* allows at most {most}"):
        Remainder.fit(most + 1, values)


def test_scores_begin_where_every_lag_is_known() -> None:
    bank = load("sine-waves").data.build([0, 3], 0)
    assert isinstance(bank, Dataset)
    assert bank.test.scored_from < 20
    assert bank.beside_autoregression(20).test.scored_from == 20


def test_a_note_says_when_little_of_a_window_is_left() -> None:
    data = dataset(timesteps=20)
    assert data.beside_autoregression(17).notes == data.notes
    (note,) = data.beside_autoregression(18).notes
    assert "18 leaves 3 of the shortest window's 20 steps" in note
