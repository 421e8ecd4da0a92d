"""Segments with a random start and end inside one sine, so that lengths vary."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from lstmcast.data.batches import SegmentSampler
from lstmcast.data.dataset import Borders, Dataset, Scaler, check_window
from lstmcast.data.signal import Signal
from lstmcast.errors import InvalidError
from lstmcast.sections import Section, Seed


class RandomSegments(Section):
    """Random segments of one sine sin(t / scale); batches are padded and masked."""

    kind: Literal["random_segments"]
    length: int = Field(2000, gt=0, le=100_000_000, description="steps of the sine")
    scale: float = Field(20.0, ge=1e-9, le=1e9, description="steps per radian: the period is 2π scale steps")
    min_timesteps: int = Field(2, gt=0, description="steps of the shortest segment")
    max_timesteps: int = Field(100, gt=0, description="steps of the longest segment")
    horizon: int = Field(1, gt=0, description="steps from an input to its target")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of the sine, between train and test")
    test_share: float = Field(0.4, gt=0, lt=1, description="share of the sine, at its end")
    signal: Signal = Field(Signal(), description="departures from a pure sine")

    def build(self, seed: Seed, future: int) -> Dataset:  # noqa: ARG002  (the test part holds the truth)
        """Sample the sine and cut it in time order.

        Raises:
            InvalidError: if the lengths contradict each other, or a segment does not fit.
        """
        if self.min_timesteps > self.max_timesteps:
            raise InvalidError(
                f"data: min_timesteps {self.min_timesteps} is more than max_timesteps {self.max_timesteps}"
            )
        borders = Borders.cut(self.length, self.validation_share, self.test_share)
        check_window("data.max_timesteps", "training part", borders.train, self.max_timesteps, self.horizon)
        angle = np.arange(self.length) / self.scale
        rows = self.signal.sample(angle[:, None], np.random.default_rng(seed))[:, :, None]
        train = rows[:, : borders.train]
        return Dataset(
            columns=("value",),
            scaler=Scaler.identity(1),
            train=train,
            validation=borders.validation_held(rows),
            test=borders.test_held(rows),
            context=self.max_timesteps + self.horizon - 1,
            horizon=self.horizon,
            shortest=self.min_timesteps,
            longest=self.max_timesteps,
            sampler=partial(
                SegmentSampler, rows=train, horizon=self.horizon, minimum=self.min_timesteps, maximum=self.max_timesteps
            ),
        )
