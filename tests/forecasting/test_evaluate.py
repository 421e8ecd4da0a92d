"""The evaluation of forecasters whose scores are known beforehand."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from lstmcast.data.autoregression import Remainder
from lstmcast.data.covariates import Covariates
from lstmcast.data.dataset import Dataset, Held, Scaler
from lstmcast.errors import InvalidError
from lstmcast.forecasting.evaluate import evaluate, next_step_rmse, rollout_rmse
from lstmcast.forecasting.table import rollout_csv

ORIGIN, LENGTH = 60, 100


@pytest.fixture
def make_dataset(sines):
    def make(features=1, rows=2, scaler=None, **options):
        values = np.concatenate([sines(LENGTH, 20 + 9 * f, np.arange(rows) / 7) for f in range(features)], axis=2)
        return Dataset(
            columns=tuple("abc"[:features]),
            scaler=scaler or Scaler.identity(features),
            train=values[:, :50],
            validation=None,
            test=Held(values, ORIGIN, scored_from=50, known=LENGTH),
            **{"context": 1000, "horizon": 1, "shortest": 10, "longest": 10, "sampler": None} | options,
        )

    return make


@pytest.fixture
def last_value(make_forecaster):
    """Return a forecaster that adds nothing to the last value."""
    return make_forecaster(residual=True, value=0.0)


@pytest.fixture
def zero(make_forecaster):
    """Return a forecaster of nothing but zeros."""
    return make_forecaster(value=0.0)


def test_a_network_that_repeats_the_last_value_scores_as_that_baseline(last_value, make_dataset):
    evaluation = evaluate(last_value, make_dataset(), (1, 10, 40))
    baseline = evaluation.baselines["last_value"]
    assert evaluation.model.rollout == baseline.rollout
    assert evaluation.model.next_step == baseline.next_step
    np.testing.assert_array_equal(evaluation.model.forecast, baseline.forecast)
    skills = evaluation.summary()["baselines"]
    assert set(skills["last_value"]["skill"].values()) == {0.0}
    assert max(skills["ar"]["skill"].values()) < -1e6


def test_the_order_of_the_autoregression_that_is_ahead_is_offered(zero, make_dataset):
    dataset = make_dataset()
    noisy = dataset.test.rows + 0.1 * np.random.default_rng(0).standard_normal(dataset.test.rows.shape)
    dataset = replace(dataset, train=noisy[:, :50], test=replace(dataset.test, rows=noisy))
    evaluation = evaluate(zero, dataset, (10,))
    (order,) = re.fullmatch(r"AR\((\d+)\)", evaluation.baselines["ar"].label).groups()
    assert f"model.autoregression={order}," in evaluation.verdict.advice


def test_a_network_beside_a_linear_part_is_not_sent_into_rollouts(zero, make_dataset):
    dataset = make_dataset()
    alone = evaluate(zero, dataset, (40,))
    beside = evaluate(replace(zero, remainder=Remainder.fit(1, dataset.train)), dataset, (40,))
    assert alone.verdict.advice != beside.verdict.advice
    assert "training.rollout" in alone.verdict.advice
    assert "model.autoregression" in beside.verdict.advice
    assert "linear_part" not in alone.baselines
    # a silent network is its autoregressive component, and the table says so
    assert beside.baselines["linear_part"].label == "AR(1), the autoregressive component"
    assert beside.model.rollout == pytest.approx(beside.baselines["linear_part"].rollout)
    assert beside.model.next_step == pytest.approx(beside.baselines["linear_part"].next_step)
    assert "rollout" not in beside.verdict.advice


@pytest.mark.parametrize(("period", "advised"), [(20, False), (13, True)])
def test_known_periods_that_explain_nothing_are_found_out(zero, make_dataset, period, advised):
    covariates = Covariates(np.array([float(period)]), 0.0, False, np.zeros((2, 1)), np.ones(1))
    evaluation = evaluate(zero, make_dataset(covariates=covariates), (40,))
    assert ("data.covariates.periods explain nothing" in evaluation.verdict.advice) == advised


def test_scores_are_the_errors_written_out(zero, make_dataset):
    dataset = make_dataset()
    evaluation = evaluate(zero, dataset, (1, 10, 40))
    truth = dataset.test.rows[:, ORIGIN:]
    for h in (1, 10, 40):
        assert evaluation.model.rollout[h] == pytest.approx(np.sqrt(np.mean(truth[:, :h] ** 2)))
    assert evaluation.model.next_step == pytest.approx(np.sqrt(np.mean(dataset.test.rows[:, 50:] ** 2)))
    assert evaluation.amplitude_ratio == 0
    assert evaluation.verdict.kind == "collapsed"
    assert evaluation.valid_horizon == 0
    np.testing.assert_array_equal(evaluation.truth, truth)
    np.testing.assert_array_equal(evaluation.history, dataset.test.rows[:, :ORIGIN])


def test_baselines_are_fitted_on_the_training_part_and_exact_where_they_can_be(zero, make_dataset):
    evaluation = evaluate(zero, make_dataset(), (40,))
    assert evaluation.baselines["ar"].label == "AR(2)"
    assert evaluation.baselines["ar"].rollout[40] < 1e-9
    assert evaluation.baselines["seasonal_naive"].label == "seasonal naive, period 20"
    assert evaluation.baselines["seasonal_naive"].rollout[40] < 1e-9
    assert "AR(2)" in evaluation.verdict.text or "seasonal naive" in evaluation.verdict.text


def test_one_column_is_scored_in_the_users_units(zero, make_dataset):
    plain = evaluate(zero, make_dataset(), (40,))
    scaled = evaluate(zero, make_dataset(scaler=Scaler(np.array([7.0]), np.array([10.0]))), (40,))
    assert scaled.model.rollout[40] == pytest.approx(10 * plain.model.rollout[40])
    assert scaled.model.next_step == pytest.approx(10 * plain.model.next_step)
    assert scaled.columns["a"][40] == pytest.approx(10 * plain.columns["a"][40])
    np.testing.assert_allclose(scaled.truth, 7 + 10 * plain.truth)
    np.testing.assert_allclose(scaled.model.forecast, 7.0)
    assert (scaled.verdict.kind, scaled.valid_horizon) == (plain.verdict.kind, plain.valid_horizon)


def test_several_columns_are_scored_in_standard_deviations_and_each_in_its_units(make_forecaster, make_dataset):
    dataset = make_dataset(features=2, scaler=Scaler(np.zeros(2), np.array([10.0, 1000.0])))
    evaluation = evaluate(make_forecaster(2, value=0.0), dataset, (40,))
    truth = dataset.test.rows[:, ORIGIN:]
    assert evaluation.model.rollout[40] == pytest.approx(np.sqrt(np.mean(truth**2)))
    for f, name in enumerate("ab"):
        expected = (10, 1000)[f] * np.sqrt(np.mean(truth[:, :, f] ** 2))
        assert evaluation.columns[name][40] == pytest.approx(expected)


def with_future(dataset, start, change):
    rows = dataset.test.rows.copy()
    rows[:, start:] += change
    return replace(dataset, test=replace(dataset.test, rows=rows))


def test_no_forecast_knows_the_truth(make_forecaster, make_dataset):
    forecaster, dataset = make_forecaster(), make_dataset()
    before, after = (evaluate(forecaster, d, (40,)) for d in (dataset, with_future(dataset, ORIGIN, 1.0)))
    for ours, theirs in zip(
        (before.model, *before.baselines.values()), (after.model, *after.baselines.values()), strict=True
    ):
        np.testing.assert_array_equal(ours.forecast, theirs.forecast)
        assert ours.rollout != theirs.rollout


def test_the_next_step_is_scored_on_observations_alone(make_forecaster, make_dataset):
    forecaster, dataset = make_forecaster(), make_dataset()
    dataset = replace(dataset, test=replace(dataset.test, known=80))
    continued = evaluate(forecaster, with_future(dataset, 80, 1.0), (10,))
    assert continued.model.next_step == evaluate(forecaster, dataset, (10,)).model.next_step
    assert evaluate(forecaster, with_future(dataset, 79, 1.0), (10,)).model.next_step != continued.model.next_step


def test_all_next_steps_are_scored_over_the_same_values(make_forecaster, make_dataset):
    dataset = make_dataset()
    dataset = replace(dataset, test=replace(dataset.test, scored_from=0))
    evaluation = evaluate(make_forecaster(sliding=7, value=0.0), dataset, (10,))
    # seasonal naive is the last to have enough before it
    scored = dataset.test.rows[:, 20:]
    assert evaluation.model.next_step == pytest.approx(np.sqrt(np.mean(scored**2)))
    change = scored - dataset.test.rows[:, 19:-1]
    assert evaluation.baselines["last_value"].next_step == pytest.approx(np.sqrt(np.mean(change**2)))


def test_a_network_that_looks_further_ahead_is_not_compared_by_the_next_step(make_forecaster, make_dataset):
    evaluation = evaluate(make_forecaster(horizon=3, value=0.0), make_dataset(), (10,))
    assert evaluation.model.next_step is not None
    assert {score.next_step for score in evaluation.baselines.values()} == {None}


@pytest.mark.parametrize("origins", [2, 3, 5])
def test_several_origins_are_spread_evenly_and_leave_out_long_horizons(last_value, make_dataset, origins):
    dataset = make_dataset()
    evaluation = evaluate(last_value, dataset, (1, 20, 41, 1000), origins)
    assert evaluation.origins == [ORIGIN + 20 * k // (origins - 1) for k in range(origins)]
    assert list(evaluation.model.rollout) == [1, 20]
    assert evaluation.beyond == [41, 1000]
    rows = dataset.test.rows
    expected = np.concatenate([rows[:, start : start + 20] for start in evaluation.origins])
    np.testing.assert_array_equal(evaluation.truth, expected)
    first = np.concatenate([rows[:, start - 1 : start] for start in evaluation.origins])
    np.testing.assert_array_equal(evaluation.model.forecast, np.repeat(first, 20, axis=1))
    np.testing.assert_array_equal(evaluation.baselines["last_value"].forecast, evaluation.model.forecast)
    # all histories are as long as the first, and end where the forecast begins
    assert evaluation.history.shape == (2 * origins, ORIGIN, 1)
    np.testing.assert_array_equal(evaluation.history[:, -1:], first)


def test_one_origin_cuts_long_horizons_to_the_truth(last_value, make_dataset):
    evaluation = evaluate(last_value, make_dataset(), (1, 20, 41, 1000))
    assert evaluation.origins == [ORIGIN]
    assert list(evaluation.model.rollout) == [1, 20, 40]
    assert evaluation.beyond == [41, 1000]


def test_more_origins_than_room_are_counted_once(last_value, make_dataset):
    assert evaluate(last_value, make_dataset(), (38,), 9).origins == [60, 61, 62]


def test_several_origins_without_a_horizon_that_fits_are_refused(last_value, make_dataset):
    with pytest.raises(InvalidError, match="the shortest is 41, and the test part holds 40 steps"):
        evaluate(last_value, make_dataset(), (41, 100), 2)


def test_a_forecast_reads_no_more_than_the_context(make_forecaster, make_dataset):
    forecaster = make_forecaster(context=5)
    evaluation = evaluate(forecaster, make_dataset(context=5), (10,), 3)
    assert evaluation.history.shape == (6, 5, 1)
    np.testing.assert_array_equal(evaluation.model.forecast, forecaster.rollout(evaluation.history, 10))


@pytest.mark.parametrize("sliding", [None, 4])
def test_rollouts_are_advised_with_the_loss_that_they_need(make_forecaster, make_dataset, sliding):
    advice = evaluate(make_forecaster(sliding=sliding, value=0.0), make_dataset()).verdict.advice
    assert "training.rollout.steps" in advice
    assert ("training.loss=every_step" in advice) == (sliding is not None)


@pytest.mark.parametrize("sliding", [None, 4])
def test_the_validation_metrics_are_the_evaluations_scores(make_forecaster, make_dataset, sliding):
    forecaster, dataset = make_forecaster(sliding=sliding), make_dataset()
    evaluation = evaluate(forecaster, dataset, (20,), 3)
    assert next_step_rmse(forecaster, dataset.test, np.ones(1)) == pytest.approx(evaluation.model.next_step)
    assert rollout_rmse(forecaster, dataset.test, 20, 3) == pytest.approx(evaluation.model.rollout[20])


def constant(dataset):
    rows = np.full_like(dataset.test.rows, 0.3)
    return replace(dataset, train=rows[:, :50], test=replace(dataset.test, rows=rows))


@pytest.mark.parametrize("horizons", [(1,), (1, 10, 40)], ids=str)
@pytest.mark.parametrize("data", ["sines", "constant"])
@pytest.mark.parametrize("value", [None, 0.0, 1e3, 1e308], ids=["random", "zero", "far", "overflow"])
def test_a_summary_is_json_whatever_the_forecast(make_forecaster, make_dataset, horizons, data, value):
    dataset = make_dataset() if data == "sines" else constant(make_dataset())
    forecaster = make_forecaster(residual=True)
    if value is not None:
        forecaster.engine.parameters.values[:] = 0
        forecaster.engine.parameters.views["head.0.bias"][:] = value
    evaluation = evaluate(forecaster, dataset, horizons)
    summary = json.loads(json.dumps(evaluation.summary(), allow_nan=False))
    assert list(summary["rollout"]["rmse"]) == [str(h) for h in horizons]
    assert summary["verdict_kind"] == evaluation.verdict.kind
    assert (summary["verdict_kind"] == "diverges") == (value is not None and value > 1)
    assert {"next_step", "rollout", "baselines", "verdict"} <= summary.keys()


def test_the_table_holds_every_value_to_the_bit(make_forecaster, make_dataset):
    dataset = replace(make_dataset(features=2), columns=("a", 'say "b", c'))
    evaluation = evaluate(make_forecaster(2), dataset, (10,), 3)
    lines = list(csv.DictReader(io.StringIO(rollout_csv(evaluation, dataset.columns))))
    assert [line["step"] for line in lines[:10]] == [str(step) for step in range(1, 11)]
    assert [line["series"] for line in lines[::10]] == [f"{n}:{c}" for n in range(6) for c in dataset.columns]
    for name, array in (("value", evaluation.model.forecast), ("truth", evaluation.truth)):
        np.testing.assert_array_equal([float(line[name]) for line in lines], array.transpose(0, 2, 1).ravel())
