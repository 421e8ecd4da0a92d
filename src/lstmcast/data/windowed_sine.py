"""One long sampled sine, cut into short windows with the target after each."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from lstmcast.data.batches import WindowSampler
from lstmcast.data.dataset import Borders, Dataset, Held, Scaler, check_window
from lstmcast.data.signal import Signal
from lstmcast.sections import Section, Seed


class WindowedSine(Section):
    """A series sin(ω t) on a grid of t, in windows; the target lies ``horizon`` steps after a window's end."""

    kind: Literal["windowed_sine"]
    length: int = Field(50_000, gt=0, le=100_000_000, description="points on the grid")
    duration: float = Field(10.0, gt=0, le=1e9, description="the grid covers t in [0, duration]")
    angular_frequency: float = Field(10.0, gt=0, le=1e9, description="ω, in radians per unit of t")
    timesteps: int = Field(10, gt=0, description="steps in a window")
    horizon: int = Field(1, gt=0, description="steps from a window's last value to its target")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of the series, between train and test")
    test_share: float = Field(0.4, gt=0, lt=1, description="share of the series, at its end")
    shuffle: bool = Field(True, description="draw the windows in a new random order in each epoch")
    drop_last: bool = Field(False, description="leave out an epoch's incomplete last batch")
    signal: Signal = Field(Signal(), description="departures from a pure sine")

    def build(self, seed: Seed, future: int) -> Dataset:  # noqa: ARG002  (the test part holds the truth)
        """Sample the series and cut it in time order; no window crosses a border.

        Raises:
            InvalidError: if a part is shorter than a window.
        """
        angle = self.angular_frequency * np.linspace(0.0, self.duration, self.length)
        rows = self.signal.sample(angle[:, None], np.random.default_rng(seed))[:, :, None]
        borders = Borders.cut(self.length, self.validation_share, self.test_share)
        check_window("data.timesteps", "training part", borders.train, self.timesteps, self.horizon)

        def held(start: int, end: int) -> Held:
            check_window("data.timesteps", "part held out", end - start, self.timesteps, self.horizon)
            # the network's first window begins at the border; baselines may look back across it
            first = start + self.timesteps + self.horizon - 1
            return Held(rows[:, :end], origin=first, scored_from=first, known=end)

        train = rows[:, : borders.train]
        return Dataset(
            columns=("value",),
            scaler=Scaler.identity(1),
            train=train,
            validation=held(borders.train, borders.validation) if self.validation_share else None,
            test=held(borders.validation, borders.length),
            context=self.timesteps + self.horizon - 1,
            horizon=self.horizon,
            shortest=self.timesteps,
            longest=self.timesteps,
            sampler=partial(
                WindowSampler,
                rows=train,
                timesteps=self.timesteps,
                horizon=self.horizon,
                shuffle=self.shuffle,
                drop_last=self.drop_last,
            ),
        )
