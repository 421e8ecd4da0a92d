"""The user's own series: columns of a CSV file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from pydantic import Field

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, ChangedSampler, Sampler, WindowSampler
from lstmcast.data.covariates import Covariates, CovariateSection
from lstmcast.data.csv_file import Table, read_table
from lstmcast.data.dataset import MAX_MAGNITUDE, Borders, Dataset, Scaler, check_window
from lstmcast.data.time_axis import Clock, TimeAxis, read_times, seconds_of
from lstmcast.data.user_file import shorten
from lstmcast.errors import InvalidError, counted
from lstmcast.sections import Section, Seed

Missing: TypeAlias = Literal["error", "interpolate"]
# more steps than this many times the rows are a mistake in the times, and would fill the memory
MAX_FILL = 10
# a value so many robust standard deviations off, and so often exactly the same, is likely a code
FAR_OFF, REPEATED = 20, 3


@dataclass(frozen=True)
class TimeSeries:
    """What a CSV file holds, one row a step.

    Attributes:
        values: ``(L, F)``, without gaps.
        origin: the first row's time in steps; see `TimeAxis`.
        clock: tells the time of any step, if there is a column of times.
        notes: what was filled in, for people.
    """

    values: Array
    origin: float
    clock: Clock | None
    notes: tuple[str, ...]


def read_series(
    path: Path,
    columns: list[str],
    time_column: str | None,
    missing: Missing,
    *,
    timed: bool = True,
    form: str = "",
    sort: bool = False,
    missing_values: Sequence[float] = (),
) -> TimeSeries:
    """Read columns of a CSV file as a series with one distance between its rows.

    Args:
        path: the file.
        columns: names of the columns.
        time_column: name of the column of times.
        missing: what to do about gaps.
        timed: whether the time column, if named, must be there.
        form: the format of the times; see `read_times`.
        sort: whether to bring the rows into the order of their times first.
        missing_values: numbers that stand for a missing value.

    Raises:
        NotFoundError: if the file does not exist.
        InvalidError: if a column is missing or holds anything but numbers; if times are out of order, or some are
            missing and ``missing`` is "error"; or if a column begins or ends with a gap.
    """
    table = read_table(path, columns, time_column, gaps=missing == "interpolate", timed=timed)
    coded = np.isin(table.values, missing_values)
    for row, f in np.argwhere(coded)[:1] if missing == "error" else ():
        raise InvalidError(
            f"{path}:{table.lines[row]}: column {shorten(repr(columns[f]))} has no value:"
            f" {table.values[row, f]:g} stands for a missing one (data.missing_values)",
            "fill the gap, or train with data.missing=interpolate, which does",
        )
    table.values[coded] = np.nan
    for row, f in np.argwhere(np.abs(table.values) > MAX_MAGNITUDE)[:1]:
        raise InvalidError(
            f"{path}:{table.lines[row]}: column {shorten(repr(columns[f]))} holds {table.values[row, f]:g};"
            f" values must lie within ±{MAX_MAGNITUDE:g}",
            "choose a larger unit, or mend the value",
        )
    axis = TimeAxis(np.arange(len(table.values)))
    if table.times and time_column:
        if sort:
            table = _sorted(path, table, time_column, form)
        axis = read_times(path, time_column, table.times or [], table.lines, form)
    left_out = np.flatnonzero(np.diff(axis.steps) > 1)
    if missing == "error" and len(left_out):
        row = left_out[0] + 1
        absent = axis.steps[row] - axis.steps[row - 1] - 1
        assert table.times is not None
        step = axis.clock and axis.clock.step
        hour = step and step.unit == "second" and round(absent * step.size) == 3600
        raise InvalidError(
            f"{path}:{table.lines[row]}: column {shorten(repr(time_column))}: {counted(absent, 'row')}"
            f" {'is' if absent == 1 else 'are'} missing between"
            f" {shorten(table.times[row - 1])} and {shorten(table.times[row])}",
            ("local times with daylight saving skip an hour: use UTC; else " if hour else "")
            + "fill them in, or train with data.missing=interpolate, which does; without a time column rows count as"
            " evenly spaced",
        )
    length = int(axis.steps[-1]) + 1
    if length > MAX_FILL * len(table.values):
        raise InvalidError(
            f"{path}: {length:,} steps from the first to the last time, and only {len(table.values):,} rows"
        )
    every = np.arange(length)
    values, notes = np.empty((len(every), len(columns))), [*axis.notes, *_likely_codes(path, columns, table.values)]
    for f, name in enumerate(columns):
        known = ~np.isnan(table.values[:, f])
        for end, row in (("begins", 0), ("ends", -1)):
            if not known[row]:
                raise InvalidError(
                    f"{path}:{table.lines[row]}: column {shorten(repr(name))} {end} with a gap, which has no value on"
                    " one of its sides to interpolate from",
                    "leave out the rows before the first and after the last value",
                )
        steps = axis.steps[known]
        values[:, f] = np.interp(every, steps, table.values[known, f])
        if len(steps) < len(every):
            filled, longest = len(every) - len(steps), int(np.diff(steps).max()) - 1
            notes.append(
                f"{path}: column {name!r}: {filled:,} of {len(every):,} values are missing and interpolated,"
                f" at most {longest:,} in a row"
            )
    return TimeSeries(values, axis.origin, axis.clock, tuple(notes))


def _likely_codes(path: Path, columns: Sequence[str], values: Array) -> Iterator[str]:
    """Name numbers that look like codes of a missing value: exactly repeated, and far from all others."""
    for name, column in zip(columns, values.T, strict=True):
        known = column[~np.isnan(column)]
        middle = np.median(known) if len(known) else 0.0
        deviation = 1.4826 * np.median(np.abs(known - middle)) if len(known) else 0.0
        far = known[np.abs(known - middle) > FAR_OFF * deviation] if deviation else known[:0]
        for value, count in zip(*np.unique(far, return_counts=True), strict=True):
            if count >= REPEATED:
                off = abs(value - middle) / deviation
                yield (
                    f"{path}: column {name!r}: {counted(int(count), 'value')} of exactly {value:g} lie {off:,.0f}"
                    " deviations off; if that stands for a missing value:"
                    f" data.missing_values=[{value:g}] data.missing=interpolate"
                )


def _sorted(path: Path, table: Table, time_column: str, form: str) -> Table:
    """Bring the rows of a table into the order of their times."""
    assert table.times is not None
    seconds = seconds_of(path, time_column, table.times, table.lines, form)
    if seconds is None:
        raise InvalidError(
            f"{path}: column {shorten(repr(time_column))} is not read as times, which data.sort needs",
            "data.time_format tells how they are written",
        )
    order = np.argsort(seconds, kind="stable")
    return Table(table.values[order], [table.times[k] for k in order], [table.lines[k] for k in order])


class Series(Section):
    """One or several columns of a CSV file, standardised by the training part, split in time order."""

    kind: Literal["series"]
    path: str = Field(min_length=1, description="the CSV file; relative to the config's own folder")
    columns: list[str] = Field(min_length=1, description="the columns to forecast")
    time_column: str | None = Field(
        None, description="times, checked for order and gaps: dates in ISO 8601, months or numbers; or mere labels"
    )
    time_format: str | None = Field(
        None,
        min_length=2,
        description="how times are written, as of datetime.strptime (%d/%m/%Y); null: found, if there is one way",
    )
    sort: bool = Field(False, description="bring the rows into the order of their times first")
    missing: Missing = Field("error", description="what to do about missing values and rows; interpolate: linearly")
    missing_values: list[float] = Field([], description="numbers that stand for a missing value, such as -9999")
    covariates: CovariateSection | None = Field(None, description="what is known in advance: periodic parts")
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
        series = read_series(
            Path(self.path),
            self.columns,
            self.time_column,
            self.missing,
            form=self.time_format or "",
            sort=self.sort,
            missing_values=self.missing_values,
        )
        values = series.values
        borders = Borders.cut(len(values), self.validation_share, self.test_share)
        check_window("data.timesteps", "training part", borders.train, self.timesteps, self.horizon)
        with np.errstate(over="ignore", invalid="ignore"):  # `Dataset` refuses what overflows
            scaler = Scaler.fit(values[: borders.train])
            rows = scaler.apply(values)[None]
        train = rows[:, : borders.train]
        constant = [self.columns[f] for f in np.flatnonzero(np.ptp(values[: borders.train], axis=0) == 0)]
        still = tuple(f"{self.path}: column {name!r} does not vary in the training part" for name in constant)
        covariates, inputs = None, train
        if self.covariates:
            covariates = Covariates.fit(self.covariates, series.origin, train[0])
            inputs = covariates.inputs_of(train, np.arange(borders.train))

        def values_alone(batch: Batch) -> Batch:
            return replace(batch, targets=batch.targets[..., : len(self.columns)])

        def sampler(rows: Array = inputs, *, batch_size: int | None, **settings: Any) -> Sampler:
            # a short series has few windows: a batch is then all of them, as with other programs' loaders
            count = len(rows) * (rows.shape[1] - self.timesteps - self.horizon + 1)
            windows = WindowSampler(
                rows,
                self.timesteps,
                self.horizon,
                batch_size=min(batch_size or count, count),
                shuffle=self.shuffle,
                drop_last=self.drop_last,
                **settings,
            )
            # what is known in advance is read, not forecast
            return ChangedSampler(windows, values_alone) if covariates else windows

        return Dataset(
            columns=tuple(self.columns),
            scaler=scaler,
            train=train,
            validation=borders.validation_held(rows),
            test=borders.test_held(rows),
            context=self.timesteps + self.horizon - 1,
            horizon=self.horizon,
            shortest=self.timesteps,
            longest=self.timesteps,
            sampler=sampler,
            covariates=covariates,
            clock=series.clock,
            notes=series.notes + still,
        )
