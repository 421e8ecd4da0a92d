"""The user's own series: columns of a CSV file."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lstmcast.data.batches import WindowSampler
from lstmcast.data.csv_file import read_columns
from lstmcast.data.dataset import Borders, Dataset, Scaler, check_window
from lstmcast.settings import Section, Seed


class Series(Section):
    """One or several columns of a CSV file, standardised by the training part, split in time order."""

    kind: Literal["series"]
    path: str = Field(min_length=1, description="the CSV file; relative to the config's own folder")
    columns: list[str] = Field(min_length=1, description="the columns to forecast")
    time_column: str | None = Field(None, description="a column of labels, checked to exist and otherwise unused")
    timesteps: int = Field(gt=0, description="steps in a training window; a forecast reads as many")
    horizon: int = Field(1, gt=0, description="steps from an input to its target")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share of the series, between train and test")
    test_share: float = Field(0.2, gt=0, lt=1, description="share of the series, at its end")
    shuffle: bool = Field(True, description="draw the windows in a new random order in each epoch")
    drop_last: bool = Field(False, description="leave out an epoch's incomplete last batch")

    def build(self, seed: Seed, future: int) -> Dataset:  # noqa: ARG002  (nothing is drawn, nothing lies beyond)
        """Read the file.

        Raises:
            NotFoundError: if the file does not exist.
            InvalidError: if a column is missing or holds anything but numbers, or a window does not fit.
        """
        values = read_columns(Path(self.path), self.columns, self.time_column)
        borders = Borders.cut(len(values), self.validation_share, self.test_share)
        check_window("training part", borders.train, self.timesteps, self.horizon)
        with np.errstate(over="ignore", invalid="ignore"):  # `Dataset` refuses what overflows
            scaler = Scaler.fit(values[: borders.train])
            rows = scaler.apply(values)[None]
        train = rows[:, : borders.train]
        return Dataset(
            columns=tuple(self.columns),
            scaler=scaler,
            train=train,
            validation=borders.validation_held(rows),
            test=borders.test_held(rows),
            context=self.timesteps + self.horizon - 1,
            horizon=self.horizon,
            shortest=self.timesteps,
            sampler=partial(
                WindowSampler,
                rows=train,
                timesteps=self.timesteps,
                horizon=self.horizon,
                shuffle=self.shuffle,
                drop_last=self.drop_last,
            ),
        )
