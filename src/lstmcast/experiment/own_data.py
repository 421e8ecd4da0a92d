"""Where a forecast starts: at the end of the run's own series, or of one that the user brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.dataset import MAX_MAGNITUDE, Dataset
from lstmcast.data.series import Series, TimeSeries, read_series
from lstmcast.data.time_axis import TOLERANCE, Clock, read_times
from lstmcast.errors import InvalidError, UsageError
from lstmcast.experiment.trained import Trained
from lstmcast.forecasting.rollout import Forecaster

# training standard deviations beyond which values are likely in other units
FAR_OFF = 20


@dataclass(frozen=True)
class Start:
    """The known values that a forecast continues.

    Attributes:
        history: ``(N, L, F)``, in the user's units.
        forecaster: the network, at the history's place in time.
        clock: tells the time of any step; None where there are no times.
        notes: what the user should know of the data.
    """

    history: Array
    forecaster: Forecaster
    clock: Clock | None
    notes: tuple[str, ...] = ()


def start_after_training(trained: Trained, dataset: Dataset) -> Start:
    """Start at the end of the series that the run was trained on."""
    history = trained.scaler.invert(dataset.test.rows[:, : dataset.test.known])
    return Start(history, trained.forecaster, dataset.clock, dataset.notes)


def start_after_file(trained: Trained, path: Path, columns: Sequence[str] | None) -> Start:
    """Start at the end of a CSV file.

    Args:
        trained: the run.
        path: the file.
        columns: its columns, one for each of the run's; None: those of the run's own names.

    Raises:
        UsageError: if there are more or fewer columns than the run forecasts.
        NotFoundError: if there is no such file.
        InvalidError: if it cannot be read, or its rows do not fit the run's.
    """
    names = list(columns or trained.columns)
    if sorted(names) == sorted(trained.columns):
        names = list(trained.columns)  # the run's own names, in the run's own order
    if len(names) != len(trained.columns):
        raise UsageError(
            f"--column: the run forecasts {len(trained.columns)} columns together"
            f" ({', '.join(trained.columns)}), here are {len(names)}"
        )
    time_column = _time_column(trained)
    timed, generator = trained.forecaster.covariates is not None, trained.config.generator
    if isinstance(generator, Series):
        series = read_series(
            path,
            names,
            time_column,
            generator.missing,
            timed=timed,
            form=generator.time_format or "",
            sort=generator.sort,
            missing_values=generator.missing_values,
        )
    else:
        series = read_series(path, names, time_column, "error", timed=timed)
    return start_after_series(trained, series, str(path))


def start_after_series(trained: Trained, series: TimeSeries, name: str) -> Start:
    """Start at the end of a series.

    Args:
        trained: the run.
        series: one with as many columns as the run forecasts.
        name: of the series, for messages.

    Raises:
        InvalidError: if its rows are at other distances than the run's, or have no times and known periods need them.
    """
    time_column, covariates = _time_column(trained), trained.forecaster.covariates
    notes, origin = list(series.notes), series.origin
    if series.clock and trained.step:
        step = series.clock.step
        if not step.is_like(trained.step):
            raise InvalidError(
                f"{name}: rows are {step} apart; the run was trained on rows {trained.step} apart",
                "give rows as far apart as the run's, or train a run on these",
            )
        # the run's own step: the file's is as exact as its clock
        origin *= step.size / trained.step.size
    elif trained.step and covariates is not None:
        raise InvalidError(
            f"{name}: column {time_column!r} does not tell when its rows are, which the run's known periods need",
            "give at least two rows, with times like those that the run was trained on",
        )
    elif trained.step:
        notes.append(f"{name}: no times in a column {time_column!r}: missing rows would not be noticed")
    forecaster = trained.forecaster
    if covariates is not None:
        if time_column is None:
            notes.append(f"{name}: its first row counts as the time of the run's first row: no data.time_column")
        off = (origin - covariates.origin + 0.5) % 1 - 0.5
        if trained.step and abs(off) > TOLERANCE:
            notes.append(f"{name}: rows lie {off:+.2g} steps beside those of the run; known periods are moved along")
        forecaster = replace(forecaster, covariates=replace(covariates, origin=origin))
    history = series.values[None]
    notes += _odd(trained.scaler.apply(history), forecaster)
    return Start(history, forecaster, series.clock, tuple(notes))


def series_of(data: Any, names: tuple[str, ...], columns: Sequence[str] | None = None) -> Path | TimeSeries:
    """Take data as Python programs have them: the path of a file, a pandas frame or series, or an array.

    Args:
        data: an array is ``(L,)`` or ``(L, F)``; a DatetimeIndex gives the times of a frame or a series.
        names: of the run's columns.
        columns: of a frame, one for each of the run's; None: those of the run's names, or all if they are as many.

    Raises:
        InvalidError: if a column is missing, or a value is none, or times are out of order.
    """
    if isinstance(data, str | Path):
        return Path(data)
    clock, origin = None, 0.0
    if hasattr(data, "index") and hasattr(data, "to_numpy"):
        if data.ndim == 2:
            chosen = list(columns or (names if set(names) <= set(data.columns) else data.columns))
            if absent := [name for name in chosen if name not in data.columns]:
                raise InvalidError(f"data: no column {absent[0]!r}; there are {', '.join(map(str, data.columns))}")
            data = data[chosen]
        if data.index.dtype.kind == "M":
            axis = read_times(Path("data"), "index", [time.isoformat() for time in data.index], range(1, len(data) + 1))
            if axis.steps[-1] != len(data) - 1:
                raise InvalidError("data: rows are missing between its times", "fill them in: data.asfreq(…)")
            clock, origin = axis.clock, axis.origin
        data = data.to_numpy()
    values = np.asarray(data, dtype=np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != len(names) or not len(values):
        raise InvalidError(
            f"data: has the shape {np.shape(data)}; the run forecasts {len(names)} columns ({', '.join(names)})",
            "give an array (rows, columns)",
        )
    for row, f in np.argwhere(~(np.abs(values) <= MAX_MAGNITUDE))[:1]:
        raise InvalidError(
            f"data: row {row} of column {names[f]!r} is {values[row, f]:g}; values must lie within ±{MAX_MAGNITUDE:g}"
        )
    return TimeSeries(values, origin, clock, ())


def _time_column(trained: Trained) -> str | None:
    generator = trained.config.generator
    return generator.time_column if isinstance(generator, Series) else None


def _odd(scaled: Array, forecaster: Forecaster) -> list[str]:
    """Say what is odd about values in training standard deviations, ``(1, L, F)``."""
    notes = []
    off = float(np.abs(scaled).max())
    if off > FAR_OFF:
        notes.append(f"--data: values up to {off:,.0f} training standard deviations off: are these the run's units?")
    if scaled.shape[1] < forecaster.context:
        notes.append(
            f"--data: {scaled.shape[1]} rows; the network was trained to read {forecaster.context} before it forecasts"
        )
    return notes
