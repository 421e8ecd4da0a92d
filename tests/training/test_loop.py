"""The training loop: clipping, averaging, rollouts, validation, divergence, and how a training ends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from lstmcast.stop import Stopped
from lstmcast.training.divergence import Diverged
from lstmcast.training.loop import fit
from lstmcast.training.optimizers import SGD, Adam


def sgd(rate):
    return SGD(kind="sgd", learning_rate=rate)


@pytest.fixture
def first_move(make_trainer, go):
    """Return the first step of SGD with rate 0.5, the gradient it was taken from, and its record."""

    def move(**options):
        plain, trainer = make_trainer(sgd(0.5)), make_trainer(sgd(0.5), **options)
        go(plain, 1)
        before = trainer.engine.parameters.values.copy()
        (record,) = go(trainer, 1)
        return trainer.engine.parameters.values - before, plain.engine.parameters.gradient, record

    return move


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_clipping_by_norm_shortens_the_step_and_keeps_its_direction(first_move, engine):
    moved, gradient, record = first_move(clip={"norm": 0.1}, engine=engine)
    assert np.linalg.norm(moved) <= 0.5 * 0.1 * (1 + 1e-12)
    np.testing.assert_allclose(moved, -0.5 * 0.1 * gradient / np.linalg.norm(gradient), rtol=1e-4, atol=1e-9)
    # what is reported is the gradient's norm before it is clipped
    assert record.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
    assert record.gradient_norm > 0.1


def test_clipping_by_value_clamps_each_element(first_move):
    moved, gradient, _ = first_move(clip={"value": 0.05})
    assert np.abs(gradient).max() > 0.05 > np.abs(gradient).min()
    np.testing.assert_allclose(moved, -0.5 * np.clip(gradient, -0.05, 0.05), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("clip", [{"norm": 1e3}, {"value": 1e3}], ids=str)
def test_clipping_leaves_a_small_gradient_alone(make_trainer, go, clip):
    assert go(make_trainer(clip=clip), 5) == go(make_trainer(), 5)


def test_the_average_of_the_parameters_is_the_recursion(make_trainer, go):
    trainer = make_trainer(weight_average=0.9)
    average = trainer.engine.parameters.values.copy()
    for _ in range(6):
        go(trainer, 1)
        present = trainer.engine.parameters.values.copy()
        average = 0.9 * average + 0.1 * present
        arrays = trainer.parameters().arrays
        assert list(arrays) == list(trainer.engine.parameters.views)
        np.testing.assert_allclose(np.concatenate([a.ravel() for a in arrays.values()]), average, rtol=1e-12)
        np.testing.assert_array_equal(trainer.engine.parameters.values, present)
        assert (average != present).any()


def test_averaging_changes_what_is_validated_but_not_the_training(make_trainer, go):
    seen = []
    options = {"validation": {"every": 1}}
    plain = make_trainer(**options)
    averaged = make_trainer(
        **options,
        weight_average=0.5,
        validate=lambda: seen.append(averaged.engine.parameters.values.copy()) or 1.0,
    )
    assert [r.loss for r in go(plain, 5)] == [r.loss for r in go(averaged, 5)]
    np.testing.assert_array_equal(plain.engine.parameters.values, averaged.engine.parameters.values)
    final = np.concatenate([array.ravel() for array in averaged.parameters().arrays.values()])
    np.testing.assert_array_equal(seen[-1], final)


def test_without_averaging_the_parameters_are_the_present_ones(make_trainer, go):
    trainer = make_trainer()
    go(trainer, 2)
    arrays = trainer.parameters().arrays
    np.testing.assert_array_equal(
        np.concatenate([a.ravel() for a in arrays.values()]), trainer.engine.parameters.values
    )
    go(trainer, 1)
    assert any((arrays[name] != view).any() for name, view in trainer.engine.parameters.views.items())


def outputs_on_its_own(engine, inputs, fed):
    """Return the outputs along ``inputs`` (T, F) whose last ``fed`` steps are the network's own forecasts."""
    history = inputs[None, : len(inputs) - fed]
    forecasts = [y[0] for y in islice(engine.stream(history), fed + 1)]
    return np.concatenate([engine.predict(history)[0, :-1], forecasts])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("segments", [False, True], ids=["windows", "segments"])
def test_rollout_training_feeds_back_the_last_steps_of_each_sequence(make_trainer, go, engine, segments):
    options = {"engine": engine, "segments": segments}
    batch = make_trainer(**options).sampler.next()
    trainer = make_trainer(**options, rollout={"steps": 3})
    lengths = [batch.inputs.shape[1]] * 16 if batch.lengths is None else batch.lengths
    assert (len(set(lengths)) > 1) == segments
    errors = [
        (outputs_on_its_own(trainer.engine, batch.inputs[n, :length], 3) - batch.targets[n, :length]) ** 2
        for n, length in enumerate(lengths)
    ]
    (record,) = go(trainer, 1)
    assert record.loss == pytest.approx(np.concatenate(errors).mean(), rel=1e-12)


def test_rollouts_begin_after_their_share_of_the_steps(make_trainer, go):
    twin, trainer = make_trainer(), make_trainer(steps=6, rollout={"steps": 3, "start": 0.5})
    fed = np.broadcast_to(np.arange(8) >= 5, (16, 8))
    for step in range(5):
        batch = twin.sampler.next()
        forced = trainer.engine.loss(batch)
        free = trainer.engine.loss(replace(batch, feedback=fed[: len(batch.inputs)]))
        assert forced != free
        assert go(trainer, 1)[0].loss == (free if step >= 3 else forced)


def drawn(trainer, monkeypatch, count=1):
    """Return the batches on which the next ``count`` steps compute their losses."""
    batches = []
    loss = trainer.engine.loss_and_gradient
    monkeypatch.setattr(trainer.engine, "loss_and_gradient", lambda batch: batches.append(batch) or loss(batch))
    for _ in range(count):
        trainer.next(lambda: False)
    return batches


def test_random_initial_states_have_the_deviation_asked_for(make_trainer, monkeypatch):
    trainer = make_trainer(initial_state_std=0.3, steps=100)
    states = np.concatenate([batch.initial_state for batch in drawn(trainer, monkeypatch, 100)])
    assert states.shape[1] == trainer.engine.network.state_size
    assert states.std() == pytest.approx(0.3, rel=0.02)
    assert np.abs(states.mean(axis=0)).max() < 0.05


def test_input_noise_reaches_the_inputs_alone(make_trainer, monkeypatch):
    options = {"batch_size": None, "steps": 50}
    (clean,) = drawn(make_trainer(**options), monkeypatch)
    batches = drawn(make_trainer(**options, input_noise_std=0.2), monkeypatch, 50)
    noise = np.stack([batch.inputs - clean.inputs for batch in batches])
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert abs(noise.mean()) < 0.01
    assert np.abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.02
    assert all(np.array_equal(batch.targets, clean.targets) for batch in batches)


def test_a_curriculum_lengthens_rollouts_and_windows(make_trainer, monkeypatch):
    later = [{"start": 0.25, "steps": 2}, {"start": 0.5, "steps": 3, "timesteps": 7}, {"start": 0.75, "steps": 6}]
    trainer = make_trainer(steps=8, rollout={"timesteps": 4, "curriculum": later})
    batches = drawn(trainer, monkeypatch, 8)
    assert [batch.inputs.shape[1] for batch in batches] == [4, 4, 8, 8, 7, 7, 8, 8]
    assert [batch.weights.shape[1] for batch in batches] == [4, 4, 8, 8, 7, 7, 8, 8]
    fed = [0 if batch.feedback is None else batch.feedback.sum(axis=1).tolist() for batch in batches]
    sizes = [len(batch.inputs) for batch in batches]
    assert fed == [0, 0, *([steps] * size for steps, size in zip([2, 2, 3, 3, 6, 6], sizes[2:], strict=True))]
    assert all(batch.feedback[:, -1].all() for batch in batches[2:])


def test_scheduled_sampling_and_teacher_forcing_mix_truth_in(make_trainer, monkeypatch):
    trainer = make_trainer(steps=40, rollout={"steps": 5, "sampling": 0.3, "teacher_forcing": 0.25}, drop_last=True)
    feedback = np.stack([batch.feedback for batch in drawn(trainer, monkeypatch, 40)])
    assert not feedback[:, :4].any()
    assert not feedback[:, :, :3].any()
    assert feedback[:, 4:, 3:].mean() == pytest.approx(0.3, abs=0.03)


def test_a_fixed_batch_is_the_first_one_all_along(make_trainer, monkeypatch):
    (first,) = drawn(make_trainer(input_noise_std=0.1), monkeypatch)
    for batch in drawn(make_trainer(input_noise_std=0.1, fixed_batch=True), monkeypatch, 3):
        np.testing.assert_array_equal(batch.inputs, first.inputs)


def test_a_stage_follows_another_with_its_averaged_parameters(make_trainer, go):
    first, second = make_trainer(weight_average=0.9, steps=3), make_trainer(steps=4, dtype=np.float32, seed=1)
    go(first, 3)
    first.selection.best = 0.25
    second.follow(first)
    for name, array in first.parameters().arrays.items():
        np.testing.assert_array_equal(second.parameters().arrays[name], array.astype(np.float32))
    assert [record.step for record in go(second, 2)] == [4, 5]
    assert second.selection.best == 0.25


def metrics(*values):
    return iter(values).__next__


@pytest.mark.parametrize(
    ("values", "early", "steps"),
    [
        ([3, 2, 2.5, 2.5, 2.5, 1], {"patience": 3}, 5),
        ([3, 2, 2.5, 1.9, 2, 2, 2, 0], {"patience": 3}, 7),
        ([3, 2.9, 2.8, 1], {"patience": 2, "min_delta": 0.5}, 3),
        (range(12, 0, -1), {"patience": 1, "min_delta": 0.5}, 12),
        ([float("nan")], {"patience": 2}, 2),
        ([float("inf"), 1], {"patience": 2}, 4),
    ],
    ids=["from-best", "again", "min_delta", "steady", "nan", "inf"],
)
def test_early_stopping_waits_as_long_as_it_is_told(make_trainer, go, values, early, steps):
    validate = metrics(*values, *12 * [values[-1]])
    trainer = make_trainer(steps=12, validation={"every": 1}, early_stopping=early, validate=validate)
    taken = 0
    while not trainer.finished:
        go(trainer, 1)
        taken += 1
    assert taken == steps


def test_validation_comes_every_so_many_steps_and_at_the_end(make_trainer, go):
    records = go(make_trainer(steps=8, validation={"every": 3}), 8)
    assert [record.step for record in records if record.validation is not None] == [3, 6, 8]
    assert all(("validation" in record.as_json()) == (record.step in (3, 6, 8)) for record in records)


@pytest.fixture
def run_fit():
    """Return `fit` with everything that it calls recorded."""

    def run(trainer, stop=lambda: False):
        log = {"records": [], "saves": 0, "best": []}

        def save():
            log["saves"] += 1

        outcome = fit(
            trainer,
            on_record=log["records"].append,
            save=save,
            save_best=lambda: log["best"].append((trainer.step, trainer.parameters().arrays)),
            due=lambda: False,
            stop=stop,
        )
        return outcome, log

    return run


def test_the_best_parameters_are_those_of_the_lowest_metric(make_trainer, go, run_fit):
    values = [3, 1, 2, 0.5, 0.5, float("nan"), 4]
    trainer = make_trainer(steps=7, validation={"every": 1}, validate=metrics(*values))
    outcome, log = run_fit(trainer)
    assert outcome.status == "finished"
    assert [step for step, _ in log["best"]] == [1, 2, 4]
    assert trainer.selection.best == 0.5
    twin = make_trainer(steps=7)
    go(twin, 4)
    for name, view in twin.engine.parameters.views.items():
        np.testing.assert_array_equal(log["best"][-1][1][name], view)


def test_a_training_ends_with_its_steps_and_is_saved(make_trainer, run_fit):
    outcome, log = run_fit(make_trainer(steps=5))
    assert outcome.status == "finished"
    assert [record.step for record in log["records"]] == [1, 2, 3, 4, 5]
    assert (log["saves"], log["best"]) == (1, [])


def test_a_training_that_is_stopped_says_so_and_is_saved(make_trainer, run_fit):
    trainer = make_trainer(steps=5)
    outcome, log = run_fit(trainer, stop=lambda: trainer.step == 3)
    assert outcome.status == "stopped"
    assert (trainer.step, len(log["records"]), log["saves"]) == (3, 3, 1)


def test_a_training_that_diverges_says_where_and_is_saved(make_trainer, run_fit):
    outcome, log = run_fit(make_trainer(sgd(1e6), steps=5))
    assert outcome.status == "diverged"
    assert outcome.reason.startswith("at step 2 the loss is ")
    assert (len(log["records"]), log["saves"]) == (1, 1)


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        (sgd(1e3), np.float64),
        (sgd(1e300), np.float64),
        (sgd(1e38), np.float32),
        (Adam(kind="adam", learning_rate=1e200), np.float64),
    ],
    ids=["1e3", "1e300", "float32", "adam"],
)
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_divergence_is_seen_before_the_parameters_are_spoilt(make_trainer, go, optimizer, dtype, engine):
    trainer = make_trainer(optimizer, engine=engine, dtype=dtype, batch_size=None, weight_average=0.9, steps=100)
    records, before = [], trainer.state()
    with suppress(Diverged):
        for _ in range(100):
            records += go(trainer, 1)
            before = trainer.state()
    assert 0 < len(records) < 100
    after = trainer.state()
    assert after.facts == before.facts
    assert all(np.isfinite(array).all() for array in after.arrays.values())
    # the step can be tried again, to the same end
    with pytest.raises(Diverged):
        go(trainer, 1)

    trainer.roll_back()
    lowest = min(record.loss for record in records)
    assert trainer.engine.loss_and_gradient(trainer.sampler.next()) == lowest
    for name, array in trainer.parameters().arrays.items():
        np.testing.assert_array_equal(array, trainer.engine.parameters.views[name])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_is_not_finite_never_reaches_the_parameters(make_trainer, go, optimizer, rows, bad):
    spoilt = rows.copy()
    spoilt[0, 9] = bad
    trainer = make_trainer(optimizer, rows=spoilt)
    before = trainer.engine.parameters.values.copy()
    with pytest.raises(Diverged, match="the loss is"):
        go(trainer, 1)
    np.testing.assert_array_equal(trainer.engine.parameters.values, before)
    assert trainer.step == 0


def test_a_gradient_that_is_not_finite_never_reaches_the_parameters(make_trainer, go, rows):
    # the loss still fits into float32, the square of the gradient does not
    trainer = make_trainer(rows=1.5e19 * (1 + 0.1 * rows), dtype=np.float32)
    before = trainer.engine.parameters.values.copy()
    with pytest.raises(Diverged, match="the gradient's norm is inf"):
        go(trainer, 1)
    np.testing.assert_array_equal(trainer.engine.parameters.values, before)


def test_a_training_that_does_well_is_not_taken_for_a_divergence(make_trainer, go, optimizer):
    losses = [record.loss for record in go(make_trainer(optimizer, steps=30), 30)]
    assert losses[-1] < losses[0]


def test_stop_is_asked_before_every_evaluation(make_trainer, optimizer):
    trainer = make_trainer(optimizer)
    before = trainer.engine.parameters.values.copy()
    with pytest.raises(Stopped):
        trainer.next(lambda: True)
    assert trainer.step == 0
    np.testing.assert_array_equal(trainer.engine.parameters.values, before)
