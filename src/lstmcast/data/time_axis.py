"""A time column: whether its rows follow one another at one distance, and where they lie."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.csv_file import NUMBER
from lstmcast.data.user_file import shorten
from lstmcast.errors import InvalidError

# a distance may be off by this share of a step: clocks are rounded
TOLERANCE = 0.1
# the usual way to write a time: its separator, hours to perhaps fractions of seconds, and its zone
CLOCK = re.compile(r"\d{4}-\d\d-\d\d([T ])(\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)

WHOLE = re.compile(r"-?[1-9]\d*|0", re.ASCII)
LAST_DAY = 31
NAMED_SECONDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}


@dataclass(frozen=True)
class Step:
    """The distance of two rows in time: so many seconds or months, or a number where times are numbers."""

    size: float
    unit: Literal["second", "month", "number"]

    def is_like(self, other: Step) -> bool:
        """Whether rows are as far apart here as there."""
        return self.unit == other.unit and abs(self.size / other.size - 1) <= TOLERANCE

    def __str__(self) -> str:
        """Name it, as in "15 minutes"."""
        if self.unit == "number":
            return f"{self.size:.6g}"
        if self.unit == "month":
            name, count = ("year", self.size / 12) if self.size % 12 == 0 else ("month", self.size)
        else:
            # a clock's rounding is no reason to call an hour 60 minutes
            near = ((name, self.size / seconds) for name, seconds in NAMED_SECONDS.items())
            name, count = next((pair for pair in near if pair[1] > 1 - 1e-6), ("second", self.size))
        return f"{count:.6g} {name}" + ("" if f"{count:.6g}" == "1" else "s")


@dataclass(frozen=True)
class Clock:
    """Tells the time of any step, written as a file's time column writes its last row's.

    Attributes:
        row: the last row's place, in steps after the first.
        text: its time, as it stands in the file.
        step: the distance of two rows.
        day: of the month, where rows are months apart; `LAST_DAY`: the last one, however many there are.
    """

    row: int
    text: str
    step: Step
    day: int = 1

    def write(self, row: int) -> str:
        """Return the time that many steps after the first row; empty where no calendar reaches."""
        after, last = (row - self.row) * self.step.size, self._last
        if last is None and self.step.size.is_integer() and WHOLE.fullmatch(self.text):
            return str(int(self.text) + round(after))
        if last is None:
            return f"{float(self.text) + after:.15g}" if after else self.text
        try:
            if self.step.unit == "month":
                year, month = divmod(12 * last.year + last.month - 1 + round(after), 12)
                day = min(self.day, monthrange(year, month + 1)[1])
                return self._written(last.replace(year=year, month=month + 1, day=day))
            return self._written(last + timedelta(seconds=after))
        except (OverflowError, ValueError):
            return ""

    @cached_property
    def _last(self) -> datetime | None:
        return _parse(self.text)

    def _written(self, time: datetime) -> str:
        if len(self.text) <= len("2010-01-01"):
            day = (time + timedelta(hours=12)).date().isoformat()  # the nearest, for rows lie roughly a unit apart
            return day[: len(self.text)] if "-" in self.text else day.replace("-", "")
        parts = CLOCK.fullmatch(self.text)
        if parts is None:
            return ""
        separator, clock, zone = parts.groups(default="")
        digits = len(clock) - len("00:00:00.")
        smallest = timedelta(minutes=1) if digits < -1 else timedelta(seconds=10.0 ** -max(digits, 0))
        written = (time + smallest / 2).replace(tzinfo=None).isoformat(separator, "microseconds")
        return written[: len("2010-01-01T") + len(clock)] + zone


@dataclass(frozen=True)
class TimeAxis:
    """Where rows lie in time.

    Attributes:
        steps: ``(L,)``, whole steps after the first row: 0, 1, 2, … where no row is missing.
        origin: the first row's distance in steps from the time zero: from 1970 in UTC, from the year 0 in months,
            or from the number 0; 0 where times are mere labels.
        clock: tells the time of any step; None where times are mere labels.
    """

    steps: Array
    origin: float = 0.0
    clock: Clock | None = None


def read_times(path: Path, column: str, texts: Sequence[str], lines: Sequence[int]) -> TimeAxis:
    """Read a time column: dates and times in ISO 8601 (taken as UTC), months, or numbers; else labels.

    Args:
        path: the file, for messages.
        column: the column's name, for messages.
        texts: its fields.
        lines: the line in the file of each.

    Raises:
        InvalidError: if a time is missing, does not come after the one before, or lies between two steps.
    """
    rows = np.arange(len(texts))
    read = _date if _date(texts[0]) is not None else _number if _number(texts[0]) is not None else None
    if read is None or len(texts) < 2:
        return TimeAxis(rows)
    where = f"column {shorten(repr(column))}"
    found: list[float] = []
    for text, line in zip(texts, lines, strict=True):
        time = read(text)
        if time is None:
            like = shorten(repr(texts[0]))
            raise InvalidError(f"{path}:{line}: {where} holds {shorten(repr(text))}, which is no time like {like}")
        found.append(time)
    times = np.array(found)
    distances = np.diff(times)
    for row in np.flatnonzero(distances <= 0)[:1]:
        what = "repeats the time" if distances[row] == 0 else "lies before that"
        raise InvalidError(
            f"{path}:{lines[row + 1]}: {where}: {shorten(texts[row + 1])} {what} of the row above",
            "sort the rows by time; local times with daylight saving repeat an hour: use UTC",
        )
    months, day = _months(texts) if read is _date else (None, 1)
    if months is not None:
        times, distances = months, np.diff(months)
    ratio = distances / np.median(distances)
    steps = np.rint(ratio)
    for row in np.flatnonzero((np.abs(ratio - steps) > TOLERANCE) | (steps < 1))[:1]:
        raise InvalidError(
            f"{path}:{lines[row + 1]}: {where}: {shorten(texts[row + 1])} lies {ratio[row]:.4g} steps after the row"
            " above; a step is the usual distance of two rows",
            "bring the series to one distance between rows, or leave out the time column to ignore its times",
        )
    after = np.concatenate([[0], np.cumsum(steps)])
    size = float((times[-1] - times[0]) / after[-1])
    unit: Literal["second", "month", "number"] = (
        "number" if read is _number else "second" if months is None else "month"
    )
    clock = Clock(int(after[-1]), texts[-1], Step(size, unit), day)
    # there are more ways to write a time than are written here
    known = clock.write(clock.row) == texts[-1]
    return TimeAxis(after.astype(np.int64), float(times[0] / size), clock if known else None)


def _date(text: str) -> float | None:
    """Return the seconds since 1970."""
    parsed = _parse(text)
    return None if parsed is None else parsed.timestamp()


def _parse(text: str) -> datetime | None:
    try:
        # a month alone is no ISO date to Python
        parsed = datetime.fromisoformat(f"{text}-01" if len(text) == 7 and text[4] == "-" else text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _number(text: str) -> float | None:
    value = float(text) if NUMBER.fullmatch(text) else np.nan
    return value if np.isfinite(value) else None


def _months(texts: Sequence[str]) -> tuple[Array | None, int]:
    """Return the months since the year 0 if all dates are the same day of a month, or all the last, else None.

    Beside them that day, or `LAST_DAY`.
    """
    dates = [date for date in map(_parse, texts) if date is not None]
    last = all(date.day == monthrange(date.year, date.month)[1] for date in dates)
    days = {(LAST_DAY if last else date.day, date.time()) for date in dates}
    months = np.array([12 * date.year + date.month - 1 for date in dates], dtype=np.float64)
    return months if len(days) == 1 and (np.diff(months) > 0).all() else None, next(iter(days))[0]
