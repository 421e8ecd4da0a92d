"""Rollouts of both ways to ask a network, and how they hang together with the forecasts of the next step."""

from __future__ import annotations

import errno
import os
import signal
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from lstmcast.data.autoregression import Remainder
from lstmcast.data.batches import Batch
from lstmcast.data.categories import Bins
from lstmcast.data.covariates import Covariates
from lstmcast.errors import InvalidError
from lstmcast.forecasting.baselines import BesidePeriods
from lstmcast.forecasting.rollout import CHUNK, Forecaster
from lstmcast.network import numpy_engine, processes
from lstmcast.network.description import Network
from lstmcast.network.make_engine import make_engine
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.processes import Processes

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


BINS = Bins(-1.0, 1.0, 8)


@pytest.fixture
def categorical(sliding):
    """Return a maker of forecasters of classes, with random parameters times ``gain`` and biases for each class."""

    def make(gain=1.0, biases=0.0, **options):
        network = Network("gru", 8, (4,), (), 8, output="categorical")
        parameters = Parameters(network)
        parameters.initialize(network, np.random.default_rng(0))
        parameters.values *= gain
        parameters.views["head.0.bias"][:] += biases
        engine = make_engine("numpy", network, parameters)
        return Forecaster(engine, 1, 1000, sliding, BINS, **options)

    return make


def test_a_class_that_is_certain_is_the_forecast(categorical, rows):
    forecaster = categorical(gain=0.0, biases=1e3 * (np.arange(8) == 5))
    expected = np.full((3, 6, 1), BINS.centres[5])
    np.testing.assert_allclose(forecaster.rollout(rows[:, :, :1], 6), expected, rtol=1e-12)
    np.testing.assert_allclose(forecaster.next_step(rows[:, :, :1])[:, -6:], expected, rtol=1e-12)


def test_paths_are_drawn_with_the_networks_chances(categorical, rows):
    biases = np.log(np.arange(1, 9))
    forecaster = categorical(gain=0.0, biases=biases, paths=2000)
    chances = np.arange(1, 9) / 36
    for step in islice(forecaster.stream_paths(rows[:1, :, :1]), 3):
        found = np.bincount(BINS.encode(step).ravel(), minlength=8) / 2000
        np.testing.assert_allclose(found, chances, atol=0.04)
    np.testing.assert_allclose(forecaster.next_step(rows[:1, :, :1])[0, -1], chances @ BINS.centres, rtol=1e-12)


def test_a_forecast_of_classes_is_the_mean_of_its_paths_and_begins_at_the_next_step(categorical, rows):
    forecaster, history = categorical(gain=5.0, paths=4000), rows[:, :10, :1]
    paths = np.stack(list(islice(forecaster.stream_paths(history), 3)), axis=2)
    assert paths.shape == (3, 4000, 3, 1)
    np.testing.assert_allclose(forecaster.rollout(history, 3), paths.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(paths[:, :, 0].mean(axis=1), forecaster.next_step(rows[:, :11, :1])[:, 10], atol=0.05)


def test_the_seed_decides_the_paths(categorical, rows):
    first, again, other = (categorical(seed=seed).rollout(rows[:, :, :1], 5) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_context_shorter_than_the_horizon_does_not_shift_the_forecast(cell):
    network = Network(cell, 1, (3,), (), 1)
    parameters = Parameters(network)
    parameters.initialize(network, np.random.default_rng(0))
    engine = NumpyEngine(network, parameters)
    history = np.sin(np.arange(30.0))[None, :, None]
    short, enough = (Forecaster(engine, 10, context, None).rollout(history, 3) for context in (5, 10))
    np.testing.assert_array_equal(short, enough)


@pytest.mark.parametrize("T", [3, 1024, 2500])
def test_long_inputs_are_read_piece_by_piece_with_the_same_outputs(monkeypatch, T):
    network = Network("lstm", 1, (3, 2), (), 1)
    parameters = Parameters(network)
    parameters.initialize(network, np.random.default_rng(0))
    engine = NumpyEngine(network, parameters)
    inputs = np.sin(np.arange(T) / 3.0)[None, :, None]
    whole = engine.forward(Batch(inputs, inputs)).y.transpose(2, 0, 1)
    monkeypatch.setattr(numpy_engine, "PIECE", 1024 * 6 * 5)
    np.testing.assert_array_equal(engine.predict(inputs), whole)
    state = next(engine.stream(inputs))
    np.testing.assert_array_equal(state, whole[:, -1])


class TestCovariates:
    """What is known in advance enters at its own time, however the network is asked."""

    PARTS = (np.array([5.0, 7.3]), 3.0)

    @pytest.fixture(params=["numpy", "torch"])
    def made(self, sliding, request):
        random = np.random.default_rng(1)

        def make(inputs=True, subtract=True):
            network = Network("gru", 6 if inputs else 2, (4, 4), (), 2, residual=True)
            parameters = Parameters(network)
            parameters.initialize(network, np.random.default_rng(0))
            weights, scale = random.standard_normal((4, 2)) * subtract, np.array([0.5, 2.0]) if subtract else np.ones(2)
            covariates = Covariates(*self.PARTS, inputs, weights, scale)
            engine = make_engine(request.param, network, parameters)
            return Forecaster(engine, 2, 1000, sliding, covariates=covariates)

        return make

    @pytest.mark.parametrize(("inputs", "subtract"), [(True, True), (True, False), (False, True)])
    def test_rollouts_hang_together(self, made, rows, inputs, subtract):
        forecaster = made(inputs, subtract)
        needed = (forecaster.sliding or 1) + 1
        true = forecaster.next_step(rows)
        for origin in range(needed, L - 1):
            close(forecaster.rollout(rows[:, :origin], 2), true[:, origin : origin + 2])
        whole = forecaster.rollout(rows, 12)
        for read in (1, 5, 11):
            longer = np.concatenate([rows, whole[:, :read]], axis=1)
            close(forecaster.rollout(longer, 12 - read), whole[:, read:])

    def test_each_history_has_its_own_time(self, made, rows):
        forecaster = made()
        first = np.array([4, 0, 9])
        together = forecaster.rollout(rows, 6, first)
        for n in range(3):
            close(together[n : n + 1], forecaster.rollout(rows[n : n + 1], 6, first[n]))
        assert not np.allclose(together[0], forecaster.rollout(rows, 6)[0])
        moved = replace(forecaster, covariates=replace(forecaster.covariates, origin=3.0 + 9))
        close(together[2], moved.rollout(rows, 6)[2])

    def test_time_does_not_matter_to_a_network_that_knows_nothing_of_it(self, forecaster, rows):
        close(forecaster.rollout(rows, 3, 7), forecaster.rollout(rows, 3))


class TestRemainder:
    """An autoregressive component forecasts first, and the network what it leaves."""

    ORDER = 7

    @pytest.fixture(params=[False, True], ids=["alone", "beside periods"])
    def made(self, make_forecaster, sliding, rows, request):
        covariates = None
        if request.param:
            random = np.random.default_rng(1)
            covariates = Covariates(
                np.array([5.0, 7.3]), 3.0, False, random.standard_normal((4, 2)), np.array([0.5, 2.0])
            )
        left = covariates.remove(rows, np.arange(L)) if covariates else rows

        def make(value=None):
            forecaster = make_forecaster(2, sliding=sliding, value=value)
            return replace(forecaster, covariates=covariates, remainder=Remainder.fit(self.ORDER, left))

        return make

    def test_rollouts_hang_together(self, made, rows):
        forecaster = made()
        true = forecaster.next_step(rows)
        assert forecaster.least == self.ORDER
        assert np.isnan(true[:, : self.ORDER]).all()
        for origin in range(self.ORDER, L):
            close(forecaster.rollout(rows[:, :origin], 1), true[:, origin : origin + 1])
        whole = forecaster.rollout(rows, 12)
        for read in (1, 5, 11):
            longer = np.concatenate([rows, whole[:, :read]], axis=1)
            close(forecaster.rollout(longer, 12 - read), whole[:, read:])

    def test_a_silent_network_leaves_the_linear_forecast(self, made, rows):
        forecaster = made(value=0.0)
        baseline = forecaster.remainder.autoregression
        if forecaster.covariates:
            baseline = BesidePeriods(baseline, forecaster.covariates, "")
        close(forecaster.rollout(rows, 9), baseline.forecast(rows, 9))
        close(forecaster.next_step(rows), baseline.next_step(rows))
        assert not np.allclose(made().rollout(rows, 9), baseline.forecast(rows, 9))

    def test_a_history_that_does_not_hold_every_lag_is_refused(self, made, rows):
        with pytest.raises(InvalidError, match=rf"needs {self.ORDER} values to start from, here are {self.ORDER - 1}"):
            made().stream(rows[:, : self.ORDER - 1])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone forks safely")
class TestProcesses:
    """Long rollouts of many series are shared among processes, and are what they are without."""

    @pytest.fixture
    def shared(self, monkeypatch):
        monkeypatch.setattr(processes, "SERIES", 1)
        monkeypatch.setattr(processes, "ROLLOUT_NUMBERS", 1)
        made = []

        def share(forecaster, count=3):
            made.append(Processes(forecaster.engine, count))
            return replace(forecaster, processes=made[-1])

        yield share
        for each in made:
            each.close()

    @pytest.fixture
    def many(self):
        return np.random.default_rng(2).standard_normal((7, L, 2))

    def test_each_series_has_its_own_forecast(self, forecaster, shared, many):
        ours = shared(forecaster)
        for _ in range(2):
            close(ours.rollout(many, 9), forecaster.rollout(many, 9))
        assert len(ours.processes._others) == 2
        # the others follow the parameters
        shared_values = Parameters(forecaster.engine.network, shared=True)
        shared_values.values[:] = forecaster.engine.parameters.values
        alone = replace(forecaster, engine=NumpyEngine(forecaster.engine.network, shared_values))
        ours = shared(alone)
        before = ours.rollout(many, 9)
        shared_values.values *= 2
        close(ours.rollout(many, 9), alone.rollout(many, 9))
        assert not np.allclose(before, ours.rollout(many, 9))

    def test_each_series_has_its_own_time(self, make_forecaster, shared, many):
        covariates = Covariates(np.array([5.0, 7.3]), 3.0, False, np.ones((4, 2)), np.array([0.5, 2.0]))
        whole = replace(make_forecaster(2), covariates=covariates, remainder=Remainder.fit(3, many))
        first = np.arange(7) * 2
        close(shared(whole).rollout(many, 9, first), whole.rollout(many, 9, first))

    def test_draws_are_not_shared(self, categorical, shared, many):
        forecaster = categorical()
        ours = shared(forecaster)
        np.testing.assert_array_equal(ours.rollout(many[..., :1], 3), forecaster.rollout(many[..., :1], 3))
        assert not ours.processes._others

    @pytest.mark.parametrize(("name", "value"), [("SERIES", 4), ("ROLLOUT_NUMBERS", 9 * 7 * 4)])
    def test_little_work_is_not_shared(self, make_forecaster, shared, many, monkeypatch, name, value):
        ours = shared(make_forecaster(2))
        monkeypatch.setattr(processes, name, value)
        ours.rollout(many, 9)
        assert not ours.processes._others
        monkeypatch.setattr(processes, name, value // 2)
        ours.rollout(many, 9)
        assert len(ours.processes._others) == (2 if name == "SERIES" else 1)

    def test_the_bytes_are_the_same_though_another_process_is_killed_or_cannot_be(
        self, make_forecaster, shared, many, monkeypatch
    ):
        ours, asked = shared(make_forecaster(2)), []
        expected = ours.rollout(many, 9)
        os.kill(ours.processes._others[0][0].pid, signal.SIGKILL)
        np.testing.assert_array_equal(ours.rollout(many, 9), expected)

        def full():
            asked.append(1)
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

        monkeypatch.setattr(os, "fork", full)
        np.testing.assert_array_equal(shared(ours).rollout(many, 9), expected)
        assert asked

    @pytest.mark.parametrize("cores", [1, 2])
    def test_the_bytes_are_the_same_on_fewer_cores(self, make_forecaster, shared, many, monkeypatch, cores):
        ours = shared(make_forecaster(2))
        monkeypatch.setattr(processes, "cores", lambda: cores)
        fewer = replace(ours, processes=Processes(ours.engine, 3, strict=False))
        np.testing.assert_array_equal(fewer.rollout(many, 9), ours.rollout(many, 9))
        assert len(fewer.processes._others) == cores - 1
        fewer.processes.close()

    def test_too_short_a_history_is_said_to_be(self, make_forecaster, shared, many):
        with pytest.raises(InvalidError, match="needs 5 values to start from, here are 4"):
            shared(make_forecaster(2, sliding=5)).rollout(many[:, :4], 9)
