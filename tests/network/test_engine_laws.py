"""Laws that both engines obey: what does not matter must not change a result."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from lstmcast.data.batches import Batch
from lstmcast.network.cells import CELLS
from lstmcast.network.make_engine import make_engine

pytestmark = [pytest.mark.parametrize("cell", CELLS), pytest.mark.parametrize("engine", ["numpy", "torch"])]


def run(problem, name, batch):
    engine = make_engine(name, problem.network, problem.parameters)
    return engine.loss_and_gradient(batch), engine.parameters.gradient.copy()


def assert_same(problem, ours, theirs, tolerance=1e-12):
    assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
    assert problem.mismatch(ours[1], theirs[1]) <= tolerance


def rows(batch, chosen, stop=None):
    """Return some sequences of a batch, up to a step."""
    fields = {
        name: value[chosen, :stop] if name in ("inputs", "targets", "weights", "feedback") else value[chosen]
        for name, value in vars(batch).items()
        if isinstance(value, np.ndarray)
    }
    return replace(batch, **fields)


@pytest.fixture
def problem(make_problem, cell):
    """Return a problem with everything in it: padded sequences, weights, feedback, initial states."""
    options = {"residual": True, "weights": "random", "feedback": True, "delay": 2, "initial": True}
    return make_problem(cell, (4, 4), (3,), **options, T=9, B=5)


def test_outputs_up_to_a_step_do_not_change_with_the_inputs_after_it(problem, engine):
    engine = make_engine(engine, problem.network, problem.parameters)
    inputs = problem.batch.inputs
    before = engine.predict(inputs)
    for t in (1, 4, 8):
        changed = inputs.copy()
        changed[:, t:] += 1
        after = engine.predict(changed)
        np.testing.assert_allclose(after[:, :t], before[:, :t], rtol=1e-14)
        assert (after[:, t:] != before[:, t:]).any(axis=2).all()


def test_padded_steps_do_not_count(problem, engine):
    batch = problem.batch
    padded = np.arange(9) >= batch.lengths[:, None]
    assert padded.any()
    inputs, targets = batch.inputs.copy(), batch.targets.copy()
    inputs[padded], targets[padded] = 1e3, -1e3
    changed = replace(batch, inputs=inputs, targets=targets, feedback=batch.feedback ^ padded)
    assert_same(problem, run(problem, engine, changed), run(problem, engine, batch))


def test_a_padded_batch_is_the_weighted_mean_of_its_sequences_without_padding(problem, engine):
    batch = problem.batch
    shares = batch.weights.sum(axis=1) / batch.weights.sum()
    single = [run(problem, engine, rows(batch, [n], length)) for n, length in enumerate(batch.lengths)]
    loss = sum(share * loss for share, (loss, _) in zip(shares, single, strict=True))
    gradient = sum(share * gradient for share, (_, gradient) in zip(shares, single, strict=True))
    assert_same(problem, run(problem, engine, batch), (loss, gradient))


def test_the_order_of_a_batch_does_not_matter(problem, engine):
    order = np.random.default_rng(0).permutation(5)
    assert (order != np.arange(5)).any()
    assert_same(problem, run(problem, engine, rows(problem.batch, order)), run(problem, engine, problem.batch))
    engine = make_engine(engine, problem.network, problem.parameters)
    inputs = problem.batch.inputs
    np.testing.assert_allclose(engine.predict(inputs[order]), engine.predict(inputs)[order], rtol=1e-13)


def test_the_scale_of_the_weights_does_not_matter_and_none_are_ones(problem, engine):
    batch = problem.batch
    assert_same(
        problem,
        run(problem, engine, replace(batch, weights=7 * batch.weights)),
        run(problem, engine, batch),
    )
    ones = replace(batch, weights=np.ones((5, 9)))
    assert_same(problem, run(problem, engine, replace(batch, weights=None)), run(problem, engine, ones))


def test_the_loss_is_the_weighted_mean_square_of_the_predictions_error(problem, engine):
    batch = replace(problem.batch, feedback=None, initial_state=None)
    error = make_engine(engine, problem.network, problem.parameters).predict(batch.inputs) - batch.targets
    expected = (error**2).mean(axis=2)[batch.weights > 0] @ batch.weights[batch.weights > 0] / batch.weights.sum()
    assert run(problem, engine, batch)[0] == pytest.approx(expected, rel=1e-12)


def test_the_categorical_loss_is_the_mean_surprise_and_never_overflows(make_problem, cell, engine):
    problem = make_problem(cell, features=4, output="categorical")
    batch = problem.batch
    logits = make_engine(engine, problem.network, problem.parameters).predict(batch.inputs)
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    surprise = -np.log(shares[batch.targets == 1]).mean()
    assert run(problem, engine, batch)[0] == pytest.approx(surprise, rel=1e-12)
    problem.parameters.views["head.0.weight"][...] *= 1e5
    loss, gradient = run(problem, engine, batch)
    assert 10 < loss < np.inf
    assert np.isfinite(gradient).all()


def test_feedback_reads_what_the_forecast_yields(problem, engine):
    made = make_engine(engine, problem.network, problem.parameters)
    inputs, delay, history = problem.batch.inputs, 2, 5
    forecast = np.stack(list(islice(made.stream(inputs[:, :history], delay), 9 - history + delay)), axis=1)
    # the outputs along a window whose end is fed back: the value at step t is forecast at t - delay
    outputs = np.concatenate([made.predict(inputs[:, : history - delay]), forecast], axis=1)
    assert outputs.shape == inputs.shape
    fed = np.broadcast_to(np.arange(9) >= history, (5, 9))
    along = Batch(inputs, outputs, None, fed, delay)
    assert made.loss_and_gradient(along) < 1e-25
    assert made.loss_and_gradient(replace(along, delay=1)) > 1e-6


def test_nothing_is_left_over_from_the_batch_before(make_problem, problem, cell, engine):
    batch, made = problem.batch, make_engine(engine, problem.network, problem.parameters)
    batches = [
        batch,
        replace(batch, weights=None, feedback=None),
        replace(batch, inputs=np.full_like(batch.inputs, np.nan)),
        replace(batch, weights=(np.arange(9) == 8) * np.ones((5, 1)), feedback=None),
        replace(batch, initial_state=None),
        make_problem(cell, T=4, B=2).batch,
        rows(batch, slice(3)),
        batch,
    ]
    for each in batches:
        expected = run(problem, engine, each)
        np.testing.assert_array_equal(made.loss_and_gradient(each), expected[0])
        np.testing.assert_array_equal(made.parameters.gradient, expected[1])
        made.predict(np.full_like(each.inputs, 9.0))


def test_two_forecasts_at_once_do_not_disturb_each_other(problem, engine):
    made = make_engine(engine, problem.network, problem.parameters)
    inputs = problem.batch.inputs
    alone = [list(islice(made.stream(sign * inputs, 2), 6)) for sign in (1, -1)]
    together = list(islice(zip(made.stream(inputs, 2), made.stream(-inputs, 2), strict=True), 6))
    np.testing.assert_array_equal(np.array(together).swapaxes(0, 1), alone)


def test_a_prediction_read_before_it_is_made_is_refused(problem, engine):
    batch = replace(problem.batch, feedback=np.arange(9) >= np.full((5, 1), 1))
    with pytest.raises(ValueError, match="step 1 cannot read a prediction made 2 steps before"):
        run(problem, engine, batch)


@pytest.mark.parametrize("view", ["broadcast", "strided", "float32"])
def test_any_view_of_the_data_will_do(problem, engine, view):
    inputs = problem.batch.inputs
    views = {
        "broadcast": np.broadcast_to(inputs[:1], inputs.shape),
        "strided": np.repeat(inputs, 2, axis=1)[::2, ::2],
        "float32": inputs.astype(np.float32),
    }
    made = make_engine(engine, problem.network, problem.parameters)
    expected = made.predict(views[view].astype(np.float64).copy())
    np.testing.assert_allclose(made.predict(views[view]), expected, rtol=1e-14)
