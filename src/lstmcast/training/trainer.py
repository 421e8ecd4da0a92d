"""One training step after another, the same for both engines and every optimizer."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, Sampler
from lstmcast.errors import InvalidError
from lstmcast.network.engine import TrainingEngine
from lstmcast.stop import Stopped
from lstmcast.training.averaging import WeightAverage
from lstmcast.training.checkpoints import Checkpoint, check_like, flatten, unflatten
from lstmcast.training.divergence import DIVERGED, Diverged, Divergence
from lstmcast.training.feeding import Feeding, rollouts_from
from lstmcast.training.optimizers import OptimizerSection
from lstmcast.training.schedules import Schedule, ScheduleSection
from lstmcast.training.section import TrainingSection
from lstmcast.training.selection import Selection

# numbers of state computed in training until compiling pays: those of some five seconds on one core, for it takes one
# and saves a quarter of the rest. A step of a layer takes as long as it takes for CALLS more.
PAYS, CALLS = 10**8, 300


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
        self.steps = training.steps or (
            training.epochs * sampler.batches_per_epoch if training.epochs and sampler.batches_per_epoch else None
        )
        self.selection = Selection(training.early_stopping)
        self.divergence = Divergence()
        self.engine, self._training, self._validate = engine, training, validate
        self._values, self._gradient = engine.parameters.values, engine.parameters.gradient
        self._feeding = Feeding(sampler, training, engine.network, seed, stage)
        self._average = WeightAverage(self._values, training.weight_average)
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
        return self.step == self.steps or self.selection.ended

    @property
    def rollouts_from(self) -> int | None:
        """The step after which it runs through the network's own predictions; None: never."""
        return rollouts_from(self._training, self.steps)

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
        before, milestone = self._undo_point(), self._feeding.milestone
        batch = self._feeding.next(self.step, self.steps)
        if self._feeding.milestone != milestone:
            # losses through longer rollouts are larger: those before are no measure for them
            self.divergence.lowest = None
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
        self.divergence.note(loss, before[0])
        self._schedule.step()
        self.step += 1
        N, T, _ = batch.inputs.shape
        self.computed += closure.evaluations * T * sum(CALLS + N * H for H in self.engine.network.hidden_sizes)
        self._average.follow()
        return self._validated(Record(self.total, loss, norm, learning_rate, stage=self.stage or None))

    @property
    def _rate_factor(self) -> float:
        retries = self._training.retries
        return retries.factor**self.divergence.retried if retries else 1.0

    def retry(self) -> bool:
        """After a divergence, go back to the lowest loss with a new optimizer and a lower rate, if that is allowed."""
        retries = self._training.retries
        if retries is None or self.divergence.retried == retries.times:
            return False
        self.divergence.retried += 1
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
        self._average.begin_at(self._values)
        self.before, self.computed, self.selection.best = before.total, before.computed, before.selection.best

    def check(self, loss: float, batch: Batch, *, first: bool) -> float:
        """Return the gradient's norm.

        Raises:
            Diverged: as `Divergence.check` says.
        """
        return self.divergence.check(loss, self._gradient, batch.targets, first=first)

    def clip(self) -> None:
        """Clip the gradient as the config says."""
        clip = self._training.clip
        if clip and clip.norm is not None:
            torch.nn.utils.clip_grad_norm_([self._parameter], clip.norm)
        if clip and clip.value is not None:
            torch.nn.utils.clip_grad_value_([self._parameter], clip.value)

    def _validated(self, record: Record) -> Record:
        validation = self._training.validation
        if validation is None or self._validate is None or (self.step % validation.every and not self.finished):
            return record
        with self.averaged():
            metric = self._validate()
        self._schedule.validated(metric)
        self.selection.measure(metric)
        return replace(record, validation=metric)

    def averaged(self) -> AbstractContextManager[None]:
        """Put the averaged parameters, if there are any, in the place of the present ones for a while."""
        return self._average.in_place()

    def _undo_point(self) -> tuple[Array, Any, dict[str, Any]]:
        # first-order methods evaluate before they change anything
        optimizer = copy.deepcopy(self._optimizer.state_dict()) if self._searches else None
        return self._values.copy(), optimizer, self._feeding.state()

    def _undo(self, point: tuple[Array, Any, dict[str, Any]]) -> None:
        values, optimizer, feeding = point
        self._values[:] = values
        if optimizer is not None:
            self._optimizer.load_state_dict(optimizer)
        self._feeding.restore(feeding)

    def roll_back(self) -> None:
        """Return to the parameters with the lowest loss seen, after a divergence without validation."""
        if self.divergence.lowest is not None:
            self._values[:] = self.divergence.lowest[1]
            self._average.begin_at(self._values)

    def parameters(self) -> Checkpoint:
        """Return the parameters that forecasts use, by their names."""
        with self.averaged():
            return Checkpoint({name: view.copy() for name, view in self.engine.parameters.views.items()})

    def state(self) -> Checkpoint:
        """Return all that decides the steps to come."""
        arrays: dict[str, Array] = {"values": self._values.copy()}
        if self._average.average is not None:
            arrays["average"] = self._average.average.copy()
        state = self._optimizer.state_dict()
        facts = {
            "step": self.step,
            "before": self.before,
            "computed": self.computed,
            **self.selection.state(),
            "milestone": self._feeding.milestone,
            **self.divergence.state(arrays),
            "optimizer": flatten(state["state"].get(0, {}), "optimizer", arrays),
            "group": flatten(state["param_groups"][0], "group", arrays),
            "schedule": self._schedule.state(),
            **self._feeding.state(),
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
                json.dumps(again.facts, sort_keys=True) != json.dumps(checkpoint.facts, sort_keys=True)
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
        self.step, self.before, self.computed = facts["step"], facts["before"], facts["computed"]
        self.selection.restore(facts)
        self.divergence.restore(facts, arrays)
        self._values[:] = arrays["values"]
        if self._average.average is not None:
            self._average.average[:] = arrays["average"]
        self._optimizer.load_state_dict(
            {
                "state": {0: unflatten(facts["optimizer"], arrays)} if facts["optimizer"] else {},
                "param_groups": [unflatten(facts["group"], arrays)],
            }
        )
        self._schedule.restore(facts["schedule"])
        self._feeding.milestone = facts["milestone"]
        self._feeding.restore(facts)


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
