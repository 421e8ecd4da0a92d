"""Many sines of one period and random phases, as in PyTorch's example ``time_sequence_prediction``."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from pydantic import Field

from lstmcast.arrays import Array
from lstmcast.data.batches import WindowSampler
from lstmcast.data.dataset import Dataset, Held, Scaler, check_window
from lstmcast.data.signal import Signal
from lstmcast.errors import InvalidError
from lstmcast.sections import Section, Seed


class SineBank(Section):
    """Rows of sin((t + phase) / scale) with a next-step target at every step.

    With ``phase_seed: 2`` and the other defaults these are the very numbers of PyTorch's example.
    Source: https://github.com/pytorch/examples/tree/main/time_sequence_prediction
    """

    kind: Literal["sine_bank"]
    sequences: int = Field(100, gt=1, le=1_000_000, description="rows")
    length: int = Field(1000, gt=1, le=100_000_000, description="steps in a row")
    scale: float = Field(20.0, ge=1e-9, le=1e9, description="steps per radian: the period is 2π scale steps")
    phases: Literal["integer", "real"] = Field("integer", description="draw whole or real phases")
    phase_range: float | None = Field(None, gt=0, le=1e9, description="phases lie in ± this many steps; null: 4 scale")
    phase_seed: int | None = Field(
        None, ge=0, lt=2**32, description="draw whole phases as NumPy's legacy generator does from this seed"
    )
    test_sequences: int = Field(3, gt=0, description="the first rows are the test set")
    validation_sequences: int = Field(0, ge=0, description="the next rows are the validation set")
    timesteps: int | None = Field(None, gt=0, description="train on windows of this length; null: whole rows")
    horizon: int = Field(1, gt=0, description="steps from an input to its target")
    shuffle: bool = Field(True, description="draw the windows in a new random order in each epoch")
    drop_last: bool = Field(False, description="leave out an epoch's incomplete last batch")
    signal: Signal = Field(Signal(), description="departures from a pure sine")

    def _phases(self, random: np.random.Generator) -> Array:
        reach = 4 * self.scale if self.phase_range is None else self.phase_range
        # a reach below one step leaves the phase 0
        low, high = -int(reach), max(int(reach), 1)
        if self.phase_seed is not None:
            return np.random.RandomState(self.phase_seed).randint(low, high, self.sequences)
        if self.phases == "integer":
            return random.integers(low, high, self.sequences)
        return random.uniform(-reach, reach, self.sequences)

    def build(self, seed: Seed, future: int) -> Dataset:
        """Sample the rows, the held-out ones ``future`` steps beyond their end.

        Raises:
            InvalidError: if no row is left for training, or a window does not fit.
        """
        held_out = self.test_sequences + self.validation_sequences
        if held_out >= self.sequences:
            raise InvalidError(
                f"data: test_sequences {self.test_sequences} + validation_sequences {self.validation_sequences}"
                f" leave none of the {self.sequences} sequences for training"
            )
        timesteps = self.timesteps or max(1, self.length - self.horizon)
        check_window("data.timesteps", "row", self.length, timesteps, self.horizon)
        random = np.random.default_rng(seed)
        t = np.arange(self.length + future)[:, None]
        rows = self.signal.sample((t + self._phases(random)) / self.scale, random)[:, :, None]

        def held(start: int, end: int) -> Held:
            return Held(rows[start:end], origin=self.length, scored_from=self.horizon, known=self.length)

        train = rows[held_out:, : self.length]
        return Dataset(
            columns=("value",),
            scaler=Scaler.identity(1),
            train=train,
            validation=held(self.test_sequences, held_out) if self.validation_sequences else None,
            test=held(0, self.test_sequences),
            context=self.length - 1,
            horizon=self.horizon,
            shortest=timesteps,
            longest=timesteps,
            sampler=partial(
                WindowSampler,
                rows=train,
                timesteps=timesteps,
                horizon=self.horizon,
                shuffle=self.shuffle,
                drop_last=self.drop_last,
            ),
        )
