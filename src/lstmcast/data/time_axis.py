"""A time column: whether its rows follow one another at one distance, and where they lie."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data import time_format
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
        form: the format of the times, as of ``datetime.strptime``; empty: ISO 8601, or numbers.
    """

    row: int
    text: str
    step: Step
    day: int = 1
    form: str = ""

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
        return time_format.read(self.text, self.form) if self.form else _parse(self.text)

    def _written(self, time: datetime) -> str:
        if self.form:
            of_day = "%H" in self.form or "%I" in self.form
            unit = timedelta(seconds=1 if "%S" in self.form else 60) if of_day else timedelta(days=1)
            return time_format.write(time if "%f" in self.form else time + unit / 2, self.form)
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
        notes: what the user should know of the times.
    """

    steps: Array
    origin: float = 0.0
    clock: Clock | None = None
    notes: tuple[str, ...] = ()


def read_times(path: Path, column: str, texts: Sequence[str], lines: Sequence[int], form: str = "") -> TimeAxis:
    """Read a time column: dates and times in a format that is known or given, months, or numbers; else labels.

    Times that name no zone are taken as UTC.

    Args:
        path: the file, for messages.
        column: the column's name, for messages.
        texts: its fields.
        lines: the line in the file of each.
        form: the format of its fields, as of ``datetime.strptime``; empty: ISO 8601, numbers, or one of those of
            ``time_format.py``.

    Raises:
        InvalidError: if a time is missing, does not come after the one before, or lies between two steps; if it can be
            read in two ways.
    """
    where = f"column {shorten(repr(column))}"
    if len(texts) < 2:
        return TimeAxis(np.arange(len(texts)))
    if not form and _in_iso_or_numbers(texts):
        months = len(texts[0]) == 6 and all(time_format.read(text, time_format.YEAR_AND_MONTH) for text in texts)
        with suppress(InvalidError) if months else nullcontext():
            return _axis(path, where, texts, lines, "")
        return _axis(path, where, texts, lines, time_format.YEAR_AND_MONTH)
    forms = [form] if form else time_format.formats_of(texts)
    if not forms and any(time_format.read(texts[0], known) for known in time_format.FORMATS):
        # all but some rows are times: which
        _refuse_odd(path, where, texts, lines)
    if not forms:
        note = (
            f"{path}: {where} is not read as times ({shorten(repr(texts[0]))}): order and gaps of the rows are not"
            " checked; data.time_format tells how its times are written"
        )
        return TimeAxis(np.arange(len(texts)), notes=(note,))
    return _only_regular(path, where, texts, lines, forms)


def _refuse_odd(path: Path, where: str, texts: Sequence[str], lines: Sequence[int]) -> None:
    """Name the first row that no format reads which reads all rows above it.

    Raises:
        InvalidError: always.
    """
    kept = [form for form in time_format.FORMATS if time_format.read(texts[0], form)]
    for text, line in zip(texts, lines, strict=True):
        left = [form for form in kept if time_format.read(text, form)]
        if not left:
            raise _no_time(path, line, where, text, texts[0])
        kept = left


def _only_regular(path: Path, where: str, texts: Sequence[str], lines: Sequence[int], forms: Sequence[str]) -> TimeAxis:
    """Return the axis of the only format, or of the only one under which no row is missing or out of order.

    Raises:
        InvalidError: if there is none, or more than one.
    """
    if len(forms) == 1:
        return _axis(path, where, texts, lines, forms[0])
    regular = []
    for form in forms:
        with suppress(InvalidError):
            axis = _axis(path, where, texts, lines, form)
            if axis.steps[-1] == len(texts) - 1:
                regular.append(axis)
    if len(regular) == 1:
        return regular[0]
    raise _ambiguous(path, where, texts, lines, forms)


def _ambiguous(
    path: Path, where: str, texts: Sequence[str], lines: Sequence[int], forms: Sequence[str]
) -> InvalidError:
    row = next(k for k, text in enumerate(texts) if len({time_format.read(text, form) for form in forms}) > 1)
    ways = [f"{time_format.read(texts[row], form):%Y-%m-%d}" for form in forms]
    return InvalidError(
        f"{path}:{lines[row]}: {where}: {shorten(texts[row])} can be read as {' or '.join(ways)}",
        f"say which: data.time_format={forms[0]} or {forms[1]}",
    )


def _no_time(path: Path, line: int, where: str, text: str, like: str) -> InvalidError:
    return InvalidError(
        f"{path}:{line}: {where} holds {shorten(repr(text))}, which is no time like {shorten(repr(like))}"
    )


def seconds_of(path: Path, column: str, texts: Sequence[str], lines: Sequence[int], form: str = "") -> Array | None:
    """Return the seconds since 1970, or the numbers, of a time column ``(L,)``; None if they are labels.

    Arguments and errors are those of `read_times`, but for the order of the rows.
    """
    where = f"column {shorten(repr(column))}"
    if not form and not _in_iso_or_numbers(texts):
        forms = time_format.formats_of(texts)
        if not forms:
            return None
        if len(forms) > 1:
            raise _ambiguous(path, where, texts, lines, forms)
        form = forms[0]
    return _seconds(_read_all(path, where, texts, lines, form))


def _in_iso_or_numbers(texts: Sequence[str]) -> bool:
    return bool(texts) and (_parse(texts[0]) is not None or _number(texts[0]) is not None)


def _read_all(
    path: Path, where: str, texts: Sequence[str], lines: Sequence[int], form: str
) -> list[datetime] | list[float]:
    """Read all rows in a format; empty: ISO 8601 or numbers."""

    def read(text: str) -> datetime | float | None:
        if form:
            return time_format.read(text, form)
        return _number(text) if numbers else _parse(text)

    numbers = not form and _parse(texts[0]) is None
    found: list[Any] = []
    for text, line in zip(texts, lines, strict=True):
        time = read(text)
        if time is None:
            raise _no_time(path, line, where, text, form if form and read(texts[0]) is None else texts[0])
        found.append(time)
    return found


def _seconds(times: list[datetime] | list[float]) -> Array:
    return np.array([time.timestamp() if isinstance(time, datetime) else time for time in times])


def _at_local_times(dates: list[datetime]) -> list[datetime]:
    """Take dates that are at the same time of each local day as they are: summer time moves the clock, not the row."""
    if len({date.utcoffset() for date in dates}) > 1 and len({date.time() for date in dates}) == 1:
        return [date.replace(tzinfo=UTC) for date in dates]
    return dates


def _axis(path: Path, where: str, texts: Sequence[str], lines: Sequence[int], form: str) -> TimeAxis:
    """Return the axis of times in a format; empty: ISO 8601 or numbers."""
    read = _read_all(path, where, texts, lines, form)
    dates = _at_local_times([time for time in read if isinstance(time, datetime)])
    times = _seconds(dates or read)
    if (np.diff(times) <= 0).any():
        raise _out_of_order(path, where, texts, lines, times)
    months, day = _months(dates) if dates else (None, 1)
    times = times if months is None else months
    distances = np.diff(times)
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
    unit: Literal["second", "month", "number"] = "number" if not dates else "second" if months is None else "month"
    clock = _clock(Clock(int(after[-1]), texts[-1], Step(size, unit), day, form), dates)
    return TimeAxis(after.astype(np.int64), float(times[0] / size), clock)


def _out_of_order(path: Path, where: str, texts: Sequence[str], lines: Sequence[int], times: Array) -> InvalidError:
    """Name the first row that does not come after the one before, and what to do about it."""
    distances = np.diff(times)
    row = int(np.argmax(distances <= 0))
    what, hint = "lies before that", "sort the rows by time: data.sort=true does"
    if distances[row] == 0:
        what = "repeats the time"
        hint = "leave out one of the two rows; local times with daylight saving repeat an hour: use UTC"
    elif (distances < 0).all():
        hint = "the rows run from the newest to the oldest: data.sort=true turns them round"
    elif (distances < 0).sum() < len(distances) / 2 and times[row + 1] <= times[0]:
        hint = "are there several series one below the other? give each a file, or a column, of its own"
    return InvalidError(f"{path}:{lines[row + 1]}: {where}: {shorten(texts[row + 1])} {what} of the row above", hint)


def _clock(clock: Clock, dates: Sequence[datetime]) -> Clock | None:
    """Return a clock that can write its own last row, in ISO 8601 if need be; None if there is none."""
    if clock.form and clock.write(clock.row) != clock.text:
        # a form that cannot be written back, as 1/2/2020
        midnight = all(date.time() == time() for date in dates)
        text = dates[-1].date().isoformat() if midnight else dates[-1].isoformat()
        clock = replace(clock, text=text, form="")
    # there are more ways to write a time than are written here
    return clock if clock.write(clock.row) == clock.text else None


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


def _months(dates: Sequence[datetime]) -> tuple[Array | None, int]:
    """Return the months since the year 0 if all dates are the same day of a month, or all the last, else None.

    Beside them that day, or `LAST_DAY`.
    """
    last = all(date.day == monthrange(date.year, date.month)[1] for date in dates)
    days = {(LAST_DAY if last else date.day, date.time()) for date in dates}
    months = np.array([12 * date.year + date.month - 1 for date in dates], dtype=np.float64)
    return months if len(days) == 1 and (np.diff(months) > 0).all() else None, next(iter(days))[0]
