"""Every optimizer and every schedule, and trainers of a small network on sines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lstmcast.arrays import Array
from lstmcast.data.batches import SegmentSampler, WindowSampler
from lstmcast.network.description import Network
from lstmcast.network.make_engine import make_engine
from lstmcast.network.parameters import Parameters
from lstmcast.training import optimizers, schedules
from lstmcast.training.section import TrainingSection
from lstmcast.training.trainer import Record, Trainer

OPTIMIZERS = {
    "adam": optimizers.Adam(kind="adam", learning_rate=0.01, weight_decay=1e-4),
    "adamw": optimizers.AdamW(kind="adamw", learning_rate=0.01),
    "sgd": optimizers.SGD(kind="sgd", learning_rate=0.1),
    "sgd-nesterov": optimizers.SGD(kind="sgd", learning_rate=0.05, momentum=0.9, nesterov=True),
    "rmsprop": optimizers.RMSprop(kind="rmsprop", learning_rate=3e-3),
    "rmsprop-momentum": optimizers.RMSprop(kind="rmsprop", learning_rate=1e-3, momentum=0.9),
    "lbfgs": optimizers.LBFGS(kind="lbfgs", max_iterations=4, history_size=5),
    "lbfgs-no-search": optimizers.LBFGS(kind="lbfgs", learning_rate=0.1, line_search="none", max_iterations=4),
    "levenberg_marquardt": optimizers.LevenbergMarquardt(kind="levenberg_marquardt"),
}
SCHEDULES = {
    "constant": schedules.Constant(kind="constant"),
    "constant-warm": schedules.Constant(kind="constant", warmup_steps=3),
    "step": schedules.Step(kind="step", step_size=3, gamma=0.5),
    "step-warm": schedules.Step(kind="step", step_size=3, gamma=0.5, warmup_steps=3),
    "exponential": schedules.Exponential(kind="exponential", gamma=0.9),
    "exponential-warm": schedules.Exponential(kind="exponential", gamma=0.9, warmup_steps=3),
    "cosine": schedules.Cosine(kind="cosine", final_learning_rate=1e-4),
    "cosine-warm": schedules.Cosine(kind="cosine", final_learning_rate=1e-4, warmup_steps=3),
    "one_cycle": schedules.OneCycle(kind="one_cycle"),
    "plateau": schedules.Plateau(kind="plateau", factor=0.5, patience=0, threshold=0.5),
    "plateau-warm": schedules.Plateau(kind="plateau", factor=0.5, patience=0, threshold=0.5, warmup_steps=3),
}


@pytest.fixture(params=OPTIMIZERS)
def optimizer(request):
    return OPTIMIZERS[request.param]


@pytest.fixture(params=SCHEDULES)
def schedule(request):
    return SCHEDULES[request.param]


@pytest.fixture(scope="session")
def kinds():
    """Return the kinds that the fixtures `optimizer` and `schedule` cover."""
    return {settings.kind for settings in OPTIMIZERS.values()}, {settings.kind for settings in SCHEDULES.values()}


@pytest.fixture(scope="session")
def rows():
    """Return four sines of different phase, ``(4, 30, 1)``."""
    return np.sin(np.arange(30) / 3 + np.arange(4)[:, None])[:, :, None]


@pytest.fixture(scope="session")
def make_trainer(rows) -> Callable[..., Trainer]:
    """Return a maker of trainers of a small network; further options are the training section's.

    The tests find the trainer's parts in its attributes ``engine`` and ``sampler``.
    """
    default = rows

    def make(
        optimizer: Any = OPTIMIZERS["sgd"],
        schedule: Any = SCHEDULES["constant"],
        *,
        rows: Array = default,
        engine: str = "numpy",
        segments: bool = False,
        batch_size: int | None = 16,
        validate: Callable[[], float] | None = None,
        seed: int = 0,
        drop_last: bool = False,
        dtype: Any = np.float64,
        wrap: Callable[[Any], Any] = lambda engine: engine,
        **options: Any,
    ) -> Trainer:
        network = Network("lstm", 1, (3, 3), (), 1)
        parameters = Parameters(network, dtype, shared=True)
        parameters.initialize(network, np.random.default_rng([seed, 0]))
        made = make_engine(engine, network, parameters)
        common = {"batch_size": batch_size, "seed": [seed, 1], "last_step": False, "warmup": 0}
        sampler = (
            SegmentSampler(rows[:3], 1, 5, 9, **common)
            if segments
            else WindowSampler(rows[:3], 8, 1, **common, shuffle=True, drop_last=drop_last)
        )

        def held_out() -> float:
            return float(np.sqrt(np.mean((made.predict(rows[3:, :-1]) - rows[3:, 1:]) ** 2)))

        training = TrainingSection(**({"steps": 12} | options))
        trained = wrap(made)
        trainer = Trainer(trained, sampler, optimizer, schedule, training, seed, validate or held_out)
        trainer.engine, trainer.sampler = trained, sampler
        return trainer

    return make


@pytest.fixture(scope="session")
def go() -> Callable[[Trainer, int], list[Record]]:
    """Return the loop: so many steps."""

    def run(trainer: Trainer, steps: int) -> list[Record]:
        records = []
        for _ in range(steps):
            records.append(trainer.next(lambda: False))
            trainer.selection.improved(records[-1].validation)
        return records

    return run
