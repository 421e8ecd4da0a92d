"""Forecasts past the end of a series, in the user's units: step by step, or as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.series import TimeSeries
from lstmcast.experiment.own_data import Start, start_after_file, start_after_series, start_after_training
from lstmcast.experiment.trained import Trained
from lstmcast.files import SCHEMA_VERSION
from lstmcast.forecasting.intervals import band, calibrate, widen
from lstmcast.forecasting.table import csv_rows, series_label

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

# names of a band's two columns
BAND = ("lower", "upper")
# steps of a forecast that are written together
CHUNK = 1000


@dataclass(frozen=True)
class Margins:
    """By how much the bands of each step are widened: ``values`` (steps, F) for the probability ``level``."""

    level: float
    values: Array


def prepare(
    trained: Trained,
    steps: int,
    data: Path | TimeSeries | None = None,
    columns: Sequence[str] | None = None,
    level: float | None = None,
) -> tuple[Start, Margins | None]:
    """Find where a forecast of ``steps`` steps starts, and the margins of its band.

    Args:
        trained: the run.
        steps: how many there are to be.
        data: a CSV file or a series to continue; None: the run's own.
        columns: of the file; None: those of the run's own names.
        level: the probability with which the band is to hold the truth; None: no band.

    Raises:
        LstmcastError: if the data do not fit the run, or too little is known to calibrate the band.
    """
    margins = None
    if data is None or level is not None:
        dataset = trained.dataset()
        if level is not None:
            margins = Margins(level, calibrate(trained.forecaster, dataset.test, steps, level))
        if data is None:
            return start_after_training(trained, dataset), margins
    assert data is not None
    if isinstance(data, Path):
        return start_after_file(trained, data, columns), margins
    return start_after_series(trained, data, "data"), margins


def steps_of(trained: Trained, start: Start, margins: Margins | None = None) -> Iterator[Array]:
    """Yield the forecast of one step after another: ``(N, F, 1)``, or with its band ``(N, F, 3)``.

    Without margins it has no end.

    Raises:
        InvalidError: if the history is shorter than the network needs.
    """
    bins, scale = trained.forecaster.bins, trained.scaler.scale
    paths = map(trained.scaler.invert, start.forecaster.stream_paths(trained.scaler.apply(start.history)))
    if margins is None:
        return (step.mean(axis=1)[..., None] for step in paths)
    half_bin = scale * (bins.width / 2 if bins else 0.0)
    return (
        widen(band(step, margins.level, half_bin), margin * scale)
        for step, margin in zip(paths, margins.values, strict=False)
    )


@dataclass(frozen=True)
class Forecast:
    """A forecast of some steps of N series with F columns, in the user's units.

    Attributes:
        array: ``(N, steps, F, Q)``: the forecast, and where there is a band (Q = 3) its lower and upper bounds.
        columns: the names of the F columns.
        title: what a picture is called.
        start: what it starts from.
        level: the probability with which the band is to hold the truth; None where there is none.
    """

    array: Array
    columns: tuple[str, ...]
    title: str
    start: Start
    level: float | None = None

    @property
    def values(self) -> Array:
        """The forecast, ``(N, steps, F)``."""
        return self.array[..., 0]

    @property
    def lower(self) -> Array | None:
        """The lower bound of the band, ``(N, steps, F)``; None where there is none."""
        return None if self.level is None else self.array[..., 1]

    @property
    def upper(self) -> Array | None:
        """The upper bound of the band, ``(N, steps, F)``; None where there is none."""
        return None if self.level is None else self.array[..., 2]

    @property
    def history(self) -> Array:
        """The known values that the forecast continues, ``(N, L, F)``."""
        return self.start.history

    @cached_property
    def times(self) -> list[str] | None:
        """The time of each step, written as in the data; None where there are no times."""
        times = times_of(self.start)
        return None if times is None else list(islice(times, self.array.shape[1]))

    @property
    def labels(self) -> list[str]:
        """The name of each of the N F series, as in the files that ``lstmcast predict`` writes."""
        return labels_of(self.start, self.columns)

    def steps(self) -> Iterator[Array]:
        """Yield it as `steps_of` does."""
        yield from self.array.swapaxes(0, 1)

    def by_label(self) -> dict[str, Array]:
        """Return the forecast as ``series``, perhaps ``lower`` and ``upper``, each ``(N F, steps)``."""
        N, steps, F, Q = self.array.shape
        flat = self.array.transpose(0, 2, 1, 3).reshape(N * F, steps, Q)
        return {name: flat[..., k] for k, name in enumerate(("series", *BAND)[:Q])}

    def as_json(self, run: str) -> dict[str, Any]:
        """Return the JSON document's fields; a number that is not finite becomes None."""
        return {
            "schema_version": SCHEMA_VERSION,
            "run": run,
            "future": self.array.shape[1],
            "labels": self.labels,
            **{name: _numbers(values) for name, values in self.by_label().items()},
            **({"times": self.times} if self.times else {}),
        }

    def save_npz(self, file: BinaryIO) -> None:
        """Write the arrays of `by_label`, ``labels`` and perhaps ``times`` as NumPy's .npz."""
        arrays = {**self.by_label(), **({"times": np.array(self.times)} if self.times else {})}
        np.savez(file, labels=np.array(self.labels), **arrays)  # type: ignore[arg-type]

    def to_frame(self) -> pandas.DataFrame:
        """Return the forecast as a pandas frame, one row a step of a series.

        The index is the time where it is known and else the step, 1 for the first; with several series ``series``
        stands before it. Columns are those of the data; with a band ``<column>_lower`` and ``<column>_upper`` follow.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        import pandas

        N, steps, F, Q = self.array.shape
        names = [column + end for column in self.columns for end in ("", "_lower", "_upper")[:Q]]
        frame = pandas.DataFrame(self.array.reshape(N * steps, F * Q), columns=names)
        index: Any = pandas.RangeIndex(1, steps + 1, name="step")
        if self.times and self.start.clock:
            numbers = self.start.clock.step.unit == "number"
            index = pandas.Index(
                pandas.to_numeric(self.times) if numbers else pandas.to_datetime(self.times), name="time"
            )
        if N > 1:
            index = pandas.MultiIndex.from_product([range(N), index], names=["series", index.name])
        return frame.set_index(index)

    def plot(self) -> Figure:
        """Draw the forecast after the end of the known values, as a matplotlib figure."""
        from lstmcast.reports import plots

        return plots.forecast(self.history, self.array, self.columns, self.title, self.level, self.start.clock)


def whole(trained: Trained, start: Start, steps: int, margins: Margins | None = None) -> Forecast:
    """Return a forecast of ``steps`` steps.

    Raises:
        InvalidError: if the history is shorter than the network needs.
    """
    array = np.stack(list(islice(steps_of(trained, start, margins), steps)), axis=1)
    return Forecast(array, trained.columns, trained.run.name, start, margins.level if margins else None)


def labels_of(start: Start, columns: tuple[str, ...]) -> list[str]:
    """Name each of the N F series in a table."""
    N, _, F = start.history.shape
    return [series_label(n, f, N, columns) for n in range(N) for f in range(F)]


def times_of(start: Start) -> Iterator[str] | None:
    """Yield the times of the steps after the history, without end; None where there are no times."""
    clock, known = start.clock, start.history.shape[1]
    if clock is None:
        return None
    return (clock.write(step) for step in count(known))


def csv_text(steps: Iterator[Array], start: Start, columns: tuple[str, ...], *, bands: bool) -> Iterator[str]:
    """Yield the rows series, step, value, perhaps the band and the time, `CHUNK` steps at a time."""
    labels, times = labels_of(start, columns), times_of(start)
    yield ",".join(("series", "step", "value", *(BAND if bands else ()), *(["time"] if times else []))) + "\n"
    numbered = enumerate(steps, start=1)
    while chunk := list(islice(numbered, CHUNK)):
        rows: list[tuple[object, ...]] = []
        for step, values in chunk:
            time = [next(times)] if times else []
            rows += [
                (label, step, *row, *time)
                for label, row in zip(labels, values.reshape(len(labels), -1).tolist(), strict=True)
            ]
        yield csv_rows(rows)


def _numbers(values: Array) -> Any:
    """Return nested lists for JSON; what is not finite is None."""
    finite = np.isfinite(values)
    return values.tolist() if finite.all() else np.where(finite, values.astype(object), np.array(None)).tolist()
