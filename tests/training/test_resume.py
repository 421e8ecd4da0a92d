"""A training that was saved and taken up again ends bit-equal to one that never stopped."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from lstmcast.network.processes import Processes
from lstmcast.stop import Stopped
from lstmcast.training import trainer as trainer_module
from lstmcast.training.checkpoints import Checkpoint
from lstmcast.training.divergence import Diverged
from lstmcast.training.optimizers import LBFGS, SGD

STEPS = 8


@pytest.fixture
def resumes(make_trainer, go, tmp_path):
    """Return a check: straight through, and through a file at step ``at``, to the same bits."""

    def check(*parts, at=STEPS // 2, **options):
        options = {"steps": STEPS, "initial_state_std": 0.1, "validation": {"every": 2}} | options
        straight, first, second = (make_trainer(*parts, **options) for _ in range(3))
        expected = go(straight, STEPS)
        records = go(first, at)
        first.state().save(tmp_path / "state")
        second.engine.parameters.values[:] = np.nan
        second.restore(Checkpoint.load(tmp_path / "state", first.largest_state))
        records += go(second, STEPS - at)
        assert records == expected
        assert second.finished
        assert (second.step, second.selection.best) == (straight.step, straight.selection.best)
        np.testing.assert_array_equal(second.engine.parameters.values, straight.engine.parameters.values)
        for name, array in straight.parameters().arrays.items():
            np.testing.assert_array_equal(second.parameters().arrays[name], array)

    return check


def test_every_optimizer_resumes_under_every_schedule(resumes, optimizer, schedule):
    resumes(optimizer, schedule, weight_average=0.8, clip=None if optimizer.kind == "lbfgs" else {"norm": 0.5})


def test_every_optimizer_resumes_with_torch(resumes, optimizer):
    resumes(optimizer, engine="torch", segments=True)


@pytest.mark.parametrize("at", range(STEPS + 1))
def test_it_resumes_from_every_step(resumes, optimizer, at):
    resumes(optimizer, at=at)


@pytest.mark.parametrize(
    "options",
    [
        {"segments": True, "rollout": {"steps": 3, "start": 0.6}},
        {"batch_size": None},
        {
            "rollout": {
                "start": 0.2,
                "curriculum": [{"start": 0.4, "steps": 2, "timesteps": 6}],
                "sampling": 0.5,
                "teacher_forcing": 0.2,
            },
            "input_noise_std": 0.1,
            "fixed_batch": True,
        },
        {"steps": None, "epochs": 1, "batch_size": 9},
        {"early_stopping": {"patience": 100}},
        {"dtype": np.float32, "weight_average": 0.5},
    ],
    ids=["segments", "full-batch", "curriculum", "epochs", "early-stopping", "float32"],
)
def test_it_resumes_with_every_way_to_draw_and_end(resumes, options):
    resumes(**options)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("pays", [1, 3, 5])
def test_it_compiles_at_the_same_step_again(resumes, make_trainer, go, monkeypatch, processes, pays):
    pytest.importorskip("numba")
    kinds, made = [], []

    class Watched(Processes):
        def __init__(self, engine, count):
            super().__init__(engine, count)
            made.append(self)

        def compile(self):
            assert super().compile()
            kinds.append(type(self._engine._cell).__name__)

    probe = make_trainer(steps=STEPS)
    go(probe, 1)
    monkeypatch.setattr(trainer_module, "PAYS", pays * probe.computed)
    resumes(wrap=lambda engine: Watched(engine, processes))
    # straight through; then before or after the training is taken up, where it is told again
    assert kinds == ["CompiledLSTM"] * (3 if pays < STEPS // 2 else 2)
    for engine in made:
        engine.close()


def test_a_later_stage_begins_compiled(make_trainer, go, monkeypatch):
    first, second = make_trainer(steps=2), make_trainer(steps=2)
    monkeypatch.setattr(trainer_module, "PAYS", 1)
    told = []
    second.engine.compile = lambda: told.append(second.step)
    go(first, 2)
    second.follow(first)
    go(second, 2)
    assert told == [0]


def test_a_step_that_was_undone_does_not_count(make_trainer, go):
    trainer = make_trainer(LBFGS(kind="lbfgs", max_iterations=4), steps=4)
    go(trainer, 1)
    computed, asked = trainer.computed, iter([False, False, True])
    with pytest.raises(Stopped):
        trainer.next(lambda: next(asked))
    assert trainer.computed == computed > 0


def test_the_stopped_patience_is_taken_up_again(make_trainer, go, tmp_path):
    options = {"steps": 50, "validation": {"every": 1}, "early_stopping": {"patience": 3}}
    first = make_trainer(validate=iter([1.0, 2.0, 2.0]).__next__, **options)
    go(first, 3)
    first.state().save(tmp_path / "state")
    second = make_trainer(validate=iter([2.0]).__next__, **options)
    second.restore(Checkpoint.load(tmp_path / "state", first.largest_state))
    assert not second.finished
    go(second, 1)
    assert second.finished


def test_a_training_that_diverges_after_it_was_taken_up_rolls_back_as_far(make_trainer, go, tmp_path):
    fast = SGD(kind="sgd", learning_rate=1e6)
    straight, resumed = (make_trainer(fast, batch_size=None) for _ in range(2))
    go(straight, 1)
    straight.state().save(tmp_path / "state")
    resumed.restore(Checkpoint.load(tmp_path / "state", straight.largest_state))
    for trainer in (straight, resumed):
        with pytest.raises(Diverged):
            go(trainer, 1)
        trainer.roll_back()
    np.testing.assert_array_equal(resumed.engine.parameters.values, straight.engine.parameters.values)


def test_a_state_does_not_change_with_the_training_that_goes_on(make_trainer, go):
    trainer = make_trainer(weight_average=0.9)
    go(trainer, 2)
    state = trainer.state()
    before = {name: array.copy() for name, array in state.arrays.items()}
    go(trainer, 2)
    for name, array in before.items():
        np.testing.assert_array_equal(state.arrays[name], array, err_msg=name)


def stop_at(evaluation):
    """Return a ``stop`` that says so once, before the given evaluation of the loss."""
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return asked == evaluation

    return stop


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("evaluation", range(1, 6))
def test_a_step_that_is_stopped_within_is_undone_to_the_bit(make_trainer, go, optimizer, evaluation, done):
    options = {"segments": True, "initial_state_std": 0.1, "weight_average": 0.9}
    straight, stopped = (make_trainer(optimizer, **options) for _ in range(2))
    expected = go(straight, 6)
    records = go(stopped, done)
    before = stopped.state()
    try:
        records.append(stopped.next(stop_at(evaluation)))
    except Stopped:
        after = stopped.state()
        # the limit is the same for the same batch
        assert {**after.facts, "limit": None} == {**before.facts, "limit": None}
        for name, array in before.arrays.items():
            np.testing.assert_array_equal(after.arrays[name], array, err_msg=name)
    else:
        # only lbfgs evaluates more than once
        assert evaluation > 1
        assert optimizer.kind != "lbfgs" or evaluation > 4
    records += go(stopped, 6 - len(records))
    assert records == expected
    np.testing.assert_array_equal(stopped.engine.parameters.values, straight.engine.parameters.values)


def digest(trainer, records, path):
    """Return the SHA-256 of the parameters, the optimizer's and all other state, and of the metrics."""
    trainer.state().save(path)
    metrics = json.dumps([record.as_json() for record in records]).encode()
    return hashlib.sha256(path.read_bytes() + metrics).hexdigest()


@pytest.mark.fault
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_every_step_of_everything_resumes_to_the_same_sha256(
    make_trainer, go, tmp_path, optimizer, schedule, engine, everything, count
):
    if not everything:
        pytest.skip("FAULTS=all; the tests above take one step of each")
    options = {"steps": STEPS, "initial_state_std": 0.1, "validation": {"every": 2}, "weight_average": 0.8}
    options |= {"engine": engine, "rollout": {"steps": 3, "start": 0.5}}
    straight = make_trainer(optimizer, schedule, **options)
    records = []
    for step in range(STEPS):
        straight.state().save(tmp_path / str(step))
        records += go(straight, 1)
    expected = digest(straight, records, tmp_path / "end")
    for step in range(STEPS):
        resumed = make_trainer(optimizer, schedule, **options)
        resumed.restore(Checkpoint.load(tmp_path / str(step), resumed.largest_state))
        assert digest(resumed, records[:step] + go(resumed, STEPS - step), tmp_path / "again") == expected
    count("resumes, bit-equal", STEPS)
