"""Rollouts of both ways to ask a network, and how they hang together with the forecasts of the next step."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from lstmcast.errors import InvalidError
from lstmcast.forecasting.rollout import CHUNK

L = 20


@pytest.fixture
def rows():
    return np.random.default_rng(0).standard_normal((3, L, 2))


@pytest.fixture(params=[None, 1, 5], ids=["stateful", "sliding1", "sliding5"])
def sliding(request):
    return request.param


@pytest.fixture(params=[1, 3], ids=["horizon1", "horizon3"])
def forecaster(make_forecaster, sliding, request):
    return make_forecaster(2, horizon=request.param, sliding=sliding)


@pytest.fixture
def needed(forecaster):
    return (forecaster.sliding or 1) + forecaster.horizon - 1


def close(ours, theirs):
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_the_first_forecasts_of_a_rollout_are_those_from_true_values(forecaster, rows, needed):
    true = forecaster.next_step(rows)
    h = forecaster.horizon
    for origin in range(needed, L - h + 1):
        close(forecaster.rollout(rows[:, :origin], h), true[:, origin : origin + h])


def test_a_next_step_is_missing_just_where_too_little_comes_before(forecaster, rows, needed):
    missing = np.isnan(forecaster.next_step(rows))
    assert missing[:, :needed].all()
    assert not missing[:, needed:].any()


def test_a_next_step_does_not_know_what_comes_within_the_horizon(forecaster, rows, needed):
    t, changed = 12, rows.copy()
    changed[:, t - forecaster.horizon + 1 :] += 1
    before, after = forecaster.next_step(rows), forecaster.next_step(changed)
    close(after[:, needed : t + 1], before[:, needed : t + 1])
    assert (after[:, t + 1 :] != before[:, t + 1 :]).all()


def test_a_rollout_is_the_stream(forecaster, rows):
    close(forecaster.rollout(rows, 7), np.stack(list(islice(forecaster.stream(rows), 7)), axis=1))
    close(forecaster.rollout(rows, 7)[:, :4], forecaster.rollout(rows, 4))


def test_a_rollout_goes_on_from_its_own_forecasts(forecaster, rows):
    whole = forecaster.rollout(rows, 12)
    for read in (1, 4, 7):
        close(forecaster.rollout(np.concatenate([rows, whole[:, :read]], axis=1), 12 - read), whole[:, read:])


def test_each_series_is_forecast_alone_and_left_as_it_is(forecaster, rows):
    before, together = rows.copy(), forecaster.rollout(rows, 6)
    close(forecaster.rollout(rows[[2, 0]], 6), together[[2, 0]])
    np.testing.assert_array_equal(rows, before)


def test_a_history_that_is_too_short_is_refused_at_once(forecaster, rows, needed):
    assert forecaster.rollout(rows[:, :needed], 2).shape == (3, 2, 2)
    with pytest.raises(InvalidError, match=rf"needs {needed} values to start from, here are {needed - 1}"):
        forecaster.stream(rows[:, : needed - 1])


def test_values_before_the_context_are_not_read(make_forecaster, sliding, rows):
    forecaster = make_forecaster(2, context=8, sliding=sliding)
    before, changed = forecaster.rollout(rows, 5), rows.copy()
    changed[:, : L - 8] += 1
    np.testing.assert_array_equal(forecaster.rollout(changed, 5), before)
    changed[:, L - 1] += 1
    assert (forecaster.rollout(changed, 5) != before).all()


def test_a_stateful_forecast_reads_all_of_the_context_and_a_sliding_one_its_window(make_forecaster, sliding, rows):
    forecaster = make_forecaster(2, sliding=sliding)
    changed = rows.copy()
    changed[:, L - 6] += 1
    assert (forecaster.rollout(changed, 1) == forecaster.rollout(rows, 1)).all() == (sliding is not None)


def test_windows_beyond_one_chunk_are_forecast_alike(make_forecaster):
    forecaster = make_forecaster(sliding=2)
    rows = np.random.default_rng(0).standard_normal((1, CHUNK + 50, 1))
    whole = forecaster.next_step(rows)
    assert not np.isnan(whole[:, 2:]).any()
    around = slice(CHUNK - 5, CHUNK + 10)
    close(forecaster.next_step(rows[:, around])[:, 2:], whole[:, around][:, 2:])


def test_a_network_that_adds_nothing_repeats_the_last_value(make_forecaster, sliding, rows):
    forecaster = make_forecaster(2, sliding=sliding, residual=True, value=0.0)
    np.testing.assert_array_equal(forecaster.rollout(rows, 4), np.repeat(rows[:, -1:], 4, axis=1))
