"""The training loop, the same for both engines and every optimizer."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, Sampler
from lstmcast.errors import InvalidError
from lstmcast.network.engine import TrainingEngine
from lstmcast.stop import Stopped
from lstmcast.training.checkpoints import Checkpoint, check_like, flatten, unflatten
from lstmcast.training.optimizers import OptimizerSection
from lstmcast.training.schedules import Schedule, ScheduleSection
from lstmcast.training.section import TrainingSection

# a loss this many times the first one, or the targets' mean square, has left for good
DIVERGED = 1e4
# numbers of state computed in training until compiling pays: those of some five seconds on one core, for it takes one
# and saves a quarter of the rest. A step of a layer takes as long as it takes for CALLS more.
PAYS, CALLS = 10**8, 300


class Diverged(Exception):  # noqa: N818  (an expected event)
    """The loss or the gradient left the finite numbers, or the loss rose out of sight."""


@dataclass(frozen=True)
class Record:
    """One step: ``loss`` and ``gradient_norm`` are those of its first evaluation, before the parameters move.

    ``stage`` counts from 0, which is left out.
    """

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    validation: float | None = None
    stage: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields that are set; a validation that is no finite number is None."""
        fields = {key: value for key, value in vars(self).items() if value is not None}
        return {key: value if np.isfinite(value) else None for key, value in fields.items()}


class Closure:
    """The loss and gradient of one batch at the present parameters, whenever an optimizer asks.

    Attributes:
        first: loss and norm of the gradient of the first evaluation.
        evaluations: how many there were.
    """

    def __init__(self, trainer: Trainer, batch: Batch, stop: Callable[[], bool]) -> None:
        self.first: tuple[float, float] | None = None
        self.evaluations = 0
        self._trainer, self._batch, self._stop = trainer, batch, stop

    def __call__(self) -> float:
        """Return the loss; write its gradient, clipped, to the parameter's ``grad``.

        Raises:
            Diverged: if the loss or gradient is not finite, or out of sight.
            Stopped: if it is time to.
        """
        loss = self.trial()
        try:
            norm = self._trainer.check(loss, self._batch, first=self.first is None)
        except Diverged:
            if self.first is None or not self._trainer.line_search:
                raise
            # a trial point too far away: high ground, from which the line search turns back
            self._trainer.engine.parameters.gradient[:] = 0
            return DIVERGED * (1 + abs(self.first[0]))
        self.first = self.first or (loss, norm)
        self._trainer.clip()
        return loss

    def trial(self) -> float:
        """Return the loss, whatever it is; write its gradient."""
        self.pause()
        self.evaluations += 1
        return self._trainer.engine.loss_and_gradient(self._batch)

    def curvature(self) -> Array:
        """Return the loss's Gauss-Newton matrix ``(P, P)``."""
        from lstmcast.network.gauss_newton import gauss_newton_matrix

        engine = self._trainer.engine
        return gauss_newton_matrix(engine.network, engine.parameters, self._batch, self.pause)

    def bending(self, direction: Array) -> Array:
        """Return 2 Jᵀ r̈ ``(P,)``: how the residuals bend along a direction ``(P,)``."""
        from lstmcast.network.gauss_newton import bending

        self.pause()
        engine = self._trainer.engine
        return bending(engine.network, engine.parameters, self._batch, direction)

    def pause(self) -> None:
        """Stop if it is time to."""
        if self._stop():
            raise Stopped


class Trainer:
    """All that changes during training, and the steps that change it.

    The parameters and their gradient are one vector each, shared between the engine and a torch
    parameter: every optimizer of ``torch.optim`` drives either engine.
    """

    def __init__(
        self,
        engine: TrainingEngine,
        sampler: Sampler,
        optimizer: OptimizerSection,
        schedule: ScheduleSection,
        training: TrainingSection,
        seed: int,
        validate: Callable[[], float] | None = None,
        stage: int = 0,
    ) -> None:
        """Make a trainer; ``validate`` measures the engine's present parameters, less is better."""
        self.step = 0
        self.stage = stage
        # steps of the stages before this one
        self.before = 0
        # numbers of state that all these steps have computed, and whether the engine has been told that they are many
        self.computed = 0
        self._compiled = False
        self.best: float | None = None
        self.steps = training.steps or (
            training.epochs * sampler.batches_per_epoch if training.epochs and sampler.batches_per_epoch else None
        )
        # the last validation that improved enough to count, and how many have not since
        self._reference: float | None = None
        self.waited = 0
        # divergences that a lower learning rate was tried after
        self.retried = 0
        self._milestone: int | None = None
        self._limit: float | None = None
        self._lowest: tuple[float, Array] | None = None
        self.engine, self._sampler, self._training, self._validate = engine, sampler, training, validate
        self._values, self._gradient = engine.parameters.values, engine.parameters.gradient
        self._average: Array | None = self._values.copy() if training.weight_average else None
        self._random = np.random.default_rng([seed, 2, stage])
        self._kept = self._draw() if training.fixed_batch else None
        self._parameter = torch.nn.Parameter(torch.from_numpy(self._values))
        self._parameter.grad = torch.from_numpy(self._gradient)
        self._build = optimizer.build
        self._optimizer = optimizer.build(self._parameter)
        self._schedule = Schedule(schedule, self._optimizer, self.steps)
        self.line_search = getattr(optimizer, "line_search", "none") != "none"
        self._searches = optimizer.kind in ("lbfgs", "levenberg_marquardt")

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or early stopping has waited long enough."""
        early = self._training.early_stopping
        return self.step == self.steps or (early is not None and self.waited >= early.patience)

    @property
    def rollouts_from(self) -> int | None:
        """The step after which it runs through the network's own predictions; None: never."""
        rollout = self._training.rollout
        starts = [milestone.start for milestone in rollout.milestones if milestone.steps] if rollout else []
        return math.ceil(starts[0] * (self.steps or 0)) if starts else None

    def next(self, stop: Callable[[], bool]) -> Record:
        """Do one step, and validate if it is time to.

        Raises:
            Diverged: if the loss or gradient is not finite or out of sight; the step is undone.
            Stopped: if ``stop`` says so within the step; the step is undone.
        """
        # between steps alone, and remembered with them: a training that is resumed computes the same to the bit
        if self.computed >= PAYS and not self._compiled:
            self._compiled = True
            self.engine.compile()
        before = self._undo_point()
        batch = self._fed(self._kept or self._draw())
        closure = Closure(self, batch, stop)
        group = self._optimizer.param_groups[0]
        scheduled = group["lr"]
        group["lr"] = learning_rate = scheduled * self._rate_factor
        try:
            self._optimizer.step(closure)
            if not np.isfinite(self._values).all():
                raise Diverged("the parameters left the finite numbers")
        except (Diverged, Stopped):
            self._undo(before)
            raise
        finally:
            group["lr"] = scheduled
        assert closure.first is not None
        loss, norm = closure.first
        if self._lowest is None or loss < self._lowest[0]:
            self._lowest = loss, before[0]
        self._schedule.step()
        self.step += 1
        N, T, _ = batch.inputs.shape
        self.computed += closure.evaluations * T * sum(CALLS + N * H for H in self.engine.network.hidden_sizes)
        if self._average is not None and self._training.weight_average:
            self._average += (1 - self._training.weight_average) * (self._values - self._average)
        return self._validated(Record(self.total, loss, norm, learning_rate, stage=self.stage or None))

    @property
    def _rate_factor(self) -> float:
        retries = self._training.retries
        return retries.factor**self.retried if retries else 1.0

    def retry(self) -> bool:
        """After a divergence, go back to the lowest loss with a new optimizer and a lower rate, if that is allowed."""
        retries = self._training.retries
        if retries is None or self.retried == retries.times:
            return False
        self.retried += 1
        self.roll_back()
        new = self._build(self._parameter).state_dict()["state"]
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": new})
        return True

    @property
    def total(self) -> int:
        """Steps done, those of the stages before included."""
        return self.before + self.step

    def follow(self, before: Trainer) -> None:
        """Begin with the parameters that another stage ended with, after its steps."""
        with before.averaged():
            self._values[:] = before._values
        if self._average is not None:
            self._average[:] = self._values
        self.before, self.computed, self.best = before.total, before.computed, before.best

    def _draw(self) -> Batch:
        batch, training, random = self._sampler.next(), self._training, self._random
        if training.initial_state_std:
            shape = (len(batch.inputs), self.engine.network.state_size)
            batch = replace(batch, initial_state=training.initial_state_std * random.standard_normal(shape))
        if training.input_noise_std:
            inputs = batch.inputs.copy()
            # what is known for certain stays so: the covariates after the values
            values = inputs[:, :, : self.engine.network.output_size]
            values += training.input_noise_std * random.standard_normal(values.shape)
            batch = replace(batch, inputs=inputs)
        return batch

    def _fed(self, batch: Batch) -> Batch:
        """Cut the windows as the present milestone says, and mark the inputs at which predictions are fed back."""
        rollout = self._training.rollout
        if rollout is None:
            return batch
        milestones = rollout.milestones
        begun = sum(self.step >= milestone.start * (self.steps or 0) for milestone in milestones)
        if begun != self._milestone:
            # losses through longer rollouts are larger: those before are no measure for them
            self._milestone, self._lowest = begun, None
        if not begun:
            return batch
        milestone = milestones[begun - 1]
        batch = batch.cut(milestone.timesteps)
        if not milestone.steps:
            return batch
        N, T, _ = batch.inputs.shape
        lengths = np.full(N, T) if batch.lengths is None else batch.lengths
        feedback = np.arange(T) >= lengths[:, None] - milestone.steps
        if rollout.sampling < 1:
            feedback &= self._random.random((N, T)) < rollout.sampling
        if rollout.teacher_forcing:
            feedback[: round(rollout.teacher_forcing * N)] = False
        return replace(batch, feedback=feedback)

    def check(self, loss: float, batch: Batch, *, first: bool) -> float:
        """Return the gradient's norm.

        Raises:
            Diverged: if the loss or the gradient is not finite, or the ``first`` loss of a step out of sight.
        """
        with np.errstate(over="ignore"):
            norm = float(np.linalg.norm(self._gradient))
        if not np.isfinite(loss):
            raise Diverged(f"the loss is {loss}")
        if not np.isfinite(norm):
            raise Diverged(f"the gradient's norm is {norm}")
        if self._limit is None:
            self._limit = DIVERGED * max(loss, float(np.mean(batch.targets**2)))
        # a line search may look far ahead; what counts is where it begins
        if first and not loss <= self._limit:
            raise Diverged(f"the loss is {loss:.3g}, over {DIVERGED:,.0f} times what it was at the start")
        return norm

    def clip(self) -> None:
        """Clip the gradient as the config says."""
        clip = self._training.clip
        if clip and clip.norm is not None:
            torch.nn.utils.clip_grad_norm_([self._parameter], clip.norm)
        if clip and clip.value is not None:
            torch.nn.utils.clip_grad_value_([self._parameter], clip.value)

    def _validated(self, record: Record) -> Record:
        validation, early = self._training.validation, self._training.early_stopping
        if validation is None or self._validate is None or (self.step % validation.every and not self.finished):
            return record
        with self.averaged():
            metric = self._validate()
        self._schedule.validated(metric)
        wanted = float("inf") if self._reference is None else self._reference - (early.min_delta if early else 0.0)
        if metric < wanted:
            self._reference, self.waited = metric, 0
        else:
            self.waited += 1
        return replace(record, validation=metric)

    def improved(self, record: Record) -> bool:
        """Whether this record's parameters are the best so far; if so, remember its metric."""
        if record.validation is None or not record.validation < (float("inf") if self.best is None else self.best):
            return False
        self.best = record.validation
        return True

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged parameters, if there are any, in the place of the present ones for a while."""
        if self._average is None:
            yield
            return
        present = self._values.copy()
        self._values[:] = self._average
        try:
            yield
        finally:
            self._values[:] = present

    def _undo_point(self) -> tuple[Array, Any, dict[str, Any], Any]:
        # first-order methods evaluate before they change anything
        optimizer = copy.deepcopy(self._optimizer.state_dict()) if self._searches else None
        return self._values.copy(), optimizer, self._sampler.state(), self._random.bit_generator.state

    def _undo(self, point: tuple[Array, Any, dict[str, Any], Any]) -> None:
        values, optimizer, sampler, random = point
        self._values[:] = values
        if optimizer is not None:
            self._optimizer.load_state_dict(optimizer)
        self._sampler.restore(sampler)
        self._random.bit_generator.state = random

    def roll_back(self) -> None:
        """Return to the parameters with the lowest loss seen, after a divergence without validation."""
        if self._lowest is not None:
            self._values[:] = self._lowest[1]
            if self._average is not None:
                self._average[:] = self._lowest[1]

    def parameters(self) -> Checkpoint:
        """Return the parameters that forecasts use, by their names."""
        with self.averaged():
            return Checkpoint({name: view.copy() for name, view in self.engine.parameters.views.items()})

    def state(self) -> Checkpoint:
        """Return all that decides the steps to come."""
        arrays: dict[str, Array] = {"values": self._values.copy()}
        if self._average is not None:
            arrays["average"] = self._average.copy()
        if self._lowest is not None:
            arrays["lowest"] = self._lowest[1]
        state = self._optimizer.state_dict()
        facts = {
            "step": self.step,
            "before": self.before,
            "computed": self.computed,
            "best": self.best,
            "reference": self._reference,
            "waited": self.waited,
            "retried": self.retried,
            "milestone": self._milestone,
            "limit": self._limit,
            "lowest": self._lowest[0] if self._lowest else None,
            "optimizer": flatten(state["state"].get(0, {}), "optimizer", arrays),
            "group": flatten(state["param_groups"][0], "group", arrays),
            "schedule": self._schedule.state(),
            "sampler": self._sampler.state(),
            "random": self._random.bit_generator.state,
        }
        return Checkpoint(arrays, facts)

    @property
    def largest_state(self) -> int:
        """An upper bound of the bytes in the arrays of `state`."""
        history: int = 2 * max(group.get("history_size", 0) for group in self._optimizer.param_groups)
        return (self._values.nbytes + 8) * (8 + history)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from `state`: the steps to come are the same to the bit.

        Raises:
            InvalidError: if it is no state of such a training.
        """
        try:
            fresh = self.state().facts
            check_like(checkpoint.facts | {"optimizer": {}}, fresh | {"optimizer": {}}, "state")
            if not 0 <= checkpoint.facts["step"] <= (self.steps or checkpoint.facts["step"]):
                raise ValueError(f"state.step: {checkpoint.facts['step']} is not one of the training's")
            if not 0 <= checkpoint.facts["group"]["lr"] < float("inf"):
                raise ValueError("state.group.lr: no learning rate")
            settings = [{**facts["group"], "lr": None} for facts in (fresh, checkpoint.facts)]
            if json.dumps(settings[0]) != json.dumps(settings[1]):
                raise ValueError("state.group: not the settings of the config's optimizer")
            self._restore(checkpoint)
            again = self.state()
            if (
                json.dumps(again.facts) != json.dumps(checkpoint.facts)
                or again.arrays.keys() != checkpoint.arrays.keys()
            ):
                raise ValueError("more than a state of this training")
            for name, array in again.arrays.items():
                if array.dtype != checkpoint.arrays[name].dtype or array.shape != checkpoint.arrays[name].shape:
                    raise ValueError(f"{name} has another type or shape")
            self._try_optimizer()
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidError(f"does not fit the run's config: {type(error).__name__}: {error}") from None

    def _try_optimizer(self) -> None:
        """Take one step with a copy of the optimizer's state: it raises if anything in that is missing or misshapen."""
        probe = torch.nn.Parameter(self._parameter.detach().clone())
        optimizer = self._build(probe)
        optimizer.load_state_dict(copy.deepcopy(self._optimizer.state_dict()))
        optimizer.step(_Probe(probe))

    def _restore(self, checkpoint: Checkpoint) -> None:
        facts, arrays = checkpoint.facts, checkpoint.arrays
        self.step, self.before, self.best = facts["step"], facts["before"], facts["best"]
        self.computed = facts["computed"]
        self._milestone, self.retried = facts["milestone"], facts["retried"]
        self._reference, self.waited, self._limit = facts["reference"], facts["waited"], facts["limit"]
        self._lowest = None if facts["lowest"] is None else (facts["lowest"], arrays["lowest"])
        self._values[:] = arrays["values"]
        if self._average is not None:
            self._average[:] = arrays["average"]
        self._optimizer.load_state_dict(
            {
                "state": {0: unflatten(facts["optimizer"], arrays)} if facts["optimizer"] else {},
                "param_groups": [unflatten(facts["group"], arrays)],
            }
        )
        self._schedule.restore(facts["schedule"])
        self._sampler.restore(facts["sampler"])
        self._random.bit_generator.state = facts["random"]


class _Probe:
    """|θ|²/2, for any optimizer to step on."""

    def __init__(self, parameter: torch.nn.Parameter) -> None:
        self._parameter = parameter

    def __call__(self) -> float:
        theta = self._parameter.detach()
        self._parameter.grad = theta.clone()
        return float(theta.square().sum()) / 2

    trial = __call__

    def curvature(self) -> Array:
        return np.eye(len(self._parameter), dtype=self._parameter.detach().numpy().dtype)

    def bending(self, direction: Array) -> Array:
        return np.zeros_like(direction)


@dataclass(frozen=True)
class Outcome:
    """How a training ended: ``finished``, ``stopped`` or ``diverged``, and why."""

    status: str
    reason: str = ""


def fit(
    trainer: Trainer,
    *,
    on_record: Callable[[Record], None],
    save: Callable[[], None],
    save_best: Callable[[], None],
    due: Callable[[], bool],
    stop: Callable[[], bool],
) -> Outcome:
    """Train to the end, or until ``stop`` says so.

    Args:
        trainer: what is trained.
        on_record: called after every step.
        save: saves the trainer's state; called when ``due`` says so and at the end.
        save_best: saves the parameters; called when the validation metric is the best so far.
        due: whether it is time to save.
        stop: whether to stop; asked before every evaluation of the loss.
    """
    outcome = Outcome("finished")
    while not trainer.finished:
        try:
            record = trainer.next(stop)
        except Stopped as reason:
            outcome = Outcome("stopped", str(reason))
            break
        except Diverged as reason:
            if trainer.retry():
                continue
            tried = f", after {trainer.retried} retries with a lower learning rate" if trainer.retried else ""
            outcome = Outcome("diverged", f"at step {trainer.total + 1:,} {reason}{tried}")
            break
        on_record(record)
        if trainer.improved(record):
            save_best()
        if due():
            save()
    save()
    if outcome.status == "finished" and trainer.step != trainer.steps:
        return Outcome("finished", f"stopped early: no better validation for {trainer.waited} in a row")
    return outcome
