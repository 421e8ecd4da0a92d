"""The batches of a training: drawn, with noise, cut and fed back as the present milestone says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, Sampler
from lstmcast.network.description import Network
from lstmcast.training.section import TrainingSection


class Feeding:
    """The stream of batches that a stage trains on.

    Attributes:
        milestone: how many milestones of the rollouts have begun; None before the first batch.
    """

    def __init__(self, sampler: Sampler, training: TrainingSection, network: Network, seed: int, stage: int) -> None:
        self.milestone: int | None = None
        self._sampler, self._training, self._network = sampler, training, network
        self._random = np.random.default_rng([seed, 2, stage])
        self._kept = self._draw() if training.fixed_batch else None

    def next(self, step: int, steps: int | None) -> Batch:
        """Return the batch of a step, counted from 0, of so many steps (None: nobody knows how many)."""
        batch, rollout = self._kept or self._draw(), self._training.rollout
        if rollout is None:
            return batch
        milestones = rollout.milestones
        self.milestone = sum(step >= milestone.start * (steps or 0) for milestone in milestones)
        if not self.milestone:
            return batch
        milestone = milestones[self.milestone - 1]
        batch = batch.cut(milestone.timesteps)
        return replace(batch, feedback=self._feedback(batch, milestone.steps)) if milestone.steps else batch

    def _feedback(self, batch: Batch, steps: int) -> Array:
        """Mark the inputs ``(N, T)`` at which predictions are fed back: the last ``steps`` of each sequence."""
        rollout = self._training.rollout
        assert rollout is not None
        N, T, _ = batch.inputs.shape
        lengths = np.full(N, T) if batch.lengths is None else batch.lengths
        feedback: Array = np.arange(T) >= lengths[:, None] - steps
        if rollout.sampling < 1:
            feedback &= self._random.random((N, T)) < rollout.sampling
        if rollout.teacher_forcing:
            feedback[: round(rollout.teacher_forcing * N)] = False
        return feedback

    def _draw(self) -> Batch:
        batch, training, random = self._sampler.next(), self._training, self._random
        if training.initial_state_std:
            shape = (len(batch.inputs), self._network.state_size)
            batch = replace(batch, initial_state=training.initial_state_std * random.standard_normal(shape))
        if training.input_noise_std:
            inputs = batch.inputs.copy()
            # covariates, after the values, are known for certain
            values = inputs[:, :, : self._network.output_size]
            values += training.input_noise_std * random.standard_normal(values.shape)
            batch = replace(batch, inputs=inputs)
        return batch

    def state(self) -> dict[str, Any]:
        """Return what decides the batches to come, but for the milestone."""
        return {"sampler": self._sampler.state(), "random": self._random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self._sampler.restore(state["sampler"])
        self._random.bit_generator.state = state["random"]


def rollouts_from(training: TrainingSection, steps: int | None) -> int | None:
    """Return the step after which training runs through the network's own predictions; None: never."""
    rollout = training.rollout
    starts = [milestone.start for milestone in rollout.milestones if milestone.steps] if rollout else []
    return math.ceil(starts[0] * (steps or 0)) if starts else None
