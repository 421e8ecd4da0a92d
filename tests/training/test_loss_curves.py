"""The two engines take the same path under every optimizer."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from lstmcast.training.optimizers import OptimizerSection
from lstmcast.training.schedules import ScheduleSection


def kinds_of(settings):
    return {get_args(section.model_fields["kind"].annotation)[0] for section in get_args(get_args(settings)[0])}


def test_every_optimizer_and_schedule_is_under_test(kinds):
    assert kinds == (kinds_of(OptimizerSection), kinds_of(ScheduleSection))


def test_the_engines_losses_agree_step_by_step(make_trainer, go, optimizer):
    # second-order methods amplify rounding from step to step
    steps = {"lbfgs": 10, "levenberg_marquardt": 3}.get(optimizer.kind, 100)
    options = {"steps": steps, "fixed_batch": optimizer.kind == "levenberg_marquardt"}
    ours, theirs = (make_trainer(optimizer, engine=engine, **options) for engine in ("numpy", "torch"))
    curve, expected = ([[r.loss, r.gradient_norm] for r in go(trainer, steps)] for trainer in (ours, theirs))
    np.testing.assert_allclose(curve, expected, rtol=1e-8)
    np.testing.assert_allclose(ours.engine.parameters.values, theirs.engine.parameters.values, rtol=1e-7, atol=1e-9)
    assert curve[-1][0] < 0.9 * curve[0][0]


def test_the_engines_losses_agree_through_rollouts(make_trainer, go):
    options = {"rollout": {"steps": 4}, "initial_state_std": 0.1, "clip": {"norm": 0.1}, "segments": True}
    curves = [[r.loss for r in go(make_trainer(engine=e, steps=100, **options), 100)] for e in ("numpy", "torch")]
    np.testing.assert_allclose(*curves, rtol=1e-8)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_seed_decides_the_path(make_trainer, go, engine):
    first, again, other = (go(make_trainer(engine=engine, seed=seed), 5) for seed in (0, 0, 1))
    assert first == again
    assert first[0].loss != other[0].loss


def test_a_step_of_sgd_is_the_learning_rate_times_the_gradient(make_trainer, go):
    trainer = make_trainer()
    before = trainer.engine.parameters.values.copy()
    (record,) = go(trainer, 1)
    moved, gradient = trainer.engine.parameters.values - before, trainer.engine.parameters.gradient
    np.testing.assert_allclose(moved, -record.learning_rate * gradient, rtol=1e-12, atol=1e-15)
    assert record.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-14)
