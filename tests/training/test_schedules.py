"""Learning rates: torch's own schedulers, the closed forms, and what the settings promise."""

from __future__ import annotations

from math import cos, pi

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as torchs

from lstmcast.training.optimizers import SGD
from lstmcast.training.schedules import Constant, Cosine, Exponential, OneCycle, Plateau, Step

RATE = 1e-3
STEPS = 39


@pytest.fixture
def rates(make_trainer, go):
    """Return the learning rate of every step of a training."""

    def run(schedule, steps=STEPS, **options):
        trainer = make_trainer(SGD(kind="sgd", learning_rate=RATE), schedule, **{"steps": steps} | options)
        return [record.learning_rate for record in go(trainer, steps)]

    return run


def half_cosine(start, end, share):
    return end + (start - end) * (1 + cos(pi * share)) / 2


CLOSED_FORMS = {
    "constant": (Constant(kind="constant"), lambda _k, _steps: RATE),
    "step": (Step(kind="step", step_size=4, gamma=0.5), lambda k, _steps: RATE * 0.5 ** (k // 4)),
    "exponential": (Exponential(kind="exponential", gamma=0.9), lambda k, _steps: RATE * 0.9**k),
    "cosine": (
        Cosine(kind="cosine", final_learning_rate=1e-5),
        lambda k, steps: half_cosine(RATE, 1e-5, k / steps),
    ),
    "plateau": (Plateau(kind="plateau"), lambda _k, _steps: RATE),
}


@pytest.mark.parametrize("kind", CLOSED_FORMS)
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_rates_are_a_linear_rise_and_then_the_closed_form(rates, kind, warmup):
    schedule, closed_form = CLOSED_FORMS[kind]
    rise = [RATE * (k + 1) / (warmup + 1) for k in range(warmup)]
    expected = rise + [closed_form(k, STEPS - warmup) for k in range(STEPS - warmup)]
    np.testing.assert_allclose(rates(schedule.model_copy(update={"warmup_steps": warmup})), expected, rtol=1e-9)


def test_one_cycle_rises_to_the_rate_and_falls(rates):
    # the highest rate falls on a whole step: 0.3 (39 + 1) - 1
    found, peak = rates(OneCycle(kind="one_cycle")), 11
    first = RATE / 25
    rise = [half_cosine(first, RATE, k / peak) for k in range(peak)]
    fall = [half_cosine(RATE, first / 1e4, (k - peak) / (STEPS - peak)) for k in range(peak, STEPS)]
    np.testing.assert_allclose(found, rise + fall, rtol=1e-9)
    assert np.argmax(found) == peak
    assert found[peak] == pytest.approx(RATE, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "build"),
    [
        (Step(kind="step", step_size=4, gamma=0.5), lambda o: torchs.StepLR(o, 4, 0.5)),
        (Exponential(kind="exponential", gamma=0.9), lambda o: torchs.ExponentialLR(o, 0.9)),
        (Cosine(kind="cosine"), lambda o: torchs.CosineAnnealingLR(o, STEPS)),
        (OneCycle(kind="one_cycle", rise=0.4), lambda o: torchs.OneCycleLR(o, RATE, STEPS + 1, pct_start=0.4)),
        (
            Exponential(kind="exponential", gamma=0.9, warmup_steps=4),
            lambda o: torchs.SequentialLR(o, [torchs.LinearLR(o, 0.2, 1, 4), torchs.ExponentialLR(o, 0.9)], [4]),
        ),
    ],
    ids=["step", "exponential", "cosine", "one_cycle", "exponential-warm"],
)
def test_rates_are_those_of_torchs_scheduler(rates, schedule, build):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], RATE, momentum=0.9)
    scheduler, expected = build(optimizer), []
    for _ in range(STEPS):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates(schedule) == expected


def test_the_rate_ends_at_the_final_one(make_trainer, go):
    schedule = Cosine(kind="cosine", final_learning_rate=1e-5, warmup_steps=3)
    trainer = make_trainer(SGD(kind="sgd", learning_rate=RATE), schedule, steps=200)
    last = go(trainer, 200)[-1].learning_rate
    assert last == pytest.approx(1e-5, abs=1e-4 * RATE)
    assert trainer._schedule.learning_rate == pytest.approx(1e-5, rel=1e-9)


def test_a_length_of_its_own_is_that_of_a_training_as_long(rates):
    for schedule in (Cosine(kind="cosine"), OneCycle(kind="one_cycle")):
        own = schedule.model_copy(update={"length": 30})
        assert rates(own, 20) == rates(schedule, 30)[:20]


@pytest.mark.parametrize("kind", ["cosine", "one_cycle"])
def test_a_schedule_shorter_than_the_training_stays_at_its_end(rates, kind):
    schedule = {"cosine": Cosine, "one_cycle": OneCycle}[kind](kind=kind, length=5)
    found = rates(schedule, 12)
    assert max(found[5:]) <= min(found[:5])


def test_epochs_are_steps(make_trainer, go):
    # 3 rows of 22 windows, in batches of 16: 5 to an epoch
    trainer = make_trainer(SGD(kind="sgd", learning_rate=RATE), Cosine(kind="cosine"), steps=None, epochs=2)
    expected = [half_cosine(RATE, 0, k / 10) for k in range(10)]
    found = [record.learning_rate for record in go(trainer, 10)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert trainer.finished


METRICS = [5.0, 4.0, 4.5, 4.4, 3.9999, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 2.0]


@pytest.mark.parametrize("patience", [0, 2])
def test_a_plateau_makes_the_rate_fall_as_torchs_does(rates, patience):
    schedule = Plateau(kind="plateau", factor=0.5, patience=patience, threshold=0.01)
    found = rates(schedule, 24, validation={"every": 2}, validate=iter(METRICS).__next__)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], RATE)
    scheduler = torchs.ReduceLROnPlateau(optimizer, factor=0.5, patience=patience, threshold=0.01)
    expected = []
    for metric in METRICS:
        expected += 2 * [optimizer.param_groups[0]["lr"]]
        scheduler.step(metric)
    assert found == expected
    assert found[-1] < RATE


def test_a_plateau_after_a_warm_up_begins_from_the_full_rate(rates):
    schedule = Plateau(kind="plateau", factor=0.5, patience=1, warmup_steps=3)
    found = rates(schedule, 9, validation={"every": 2}, validate=lambda: 1.0)
    np.testing.assert_allclose(found, RATE * np.array([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.5]), rtol=1e-12)


def test_no_rate_is_above_the_optimizers(make_trainer, go, schedule):
    trainer = make_trainer(SGD(kind="sgd", learning_rate=RATE), schedule, steps=STEPS, validation={"every": 3})
    found = [record.learning_rate for record in go(trainer, STEPS)]
    assert all(0 < rate <= RATE * (1 + 1e-12) for rate in found)
    assert max(found) == pytest.approx(RATE, rel=0.02)
