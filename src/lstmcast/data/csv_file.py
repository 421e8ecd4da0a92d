"""Reading numbers from a stranger's CSV file."""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.user_file import read_text, shorten
from lstmcast.errors import InvalidError

MAX_BYTES = 512 * 2**20
# Python's float() would also take 1_000, full-width digits, nan and infinity
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
DECIMAL_POINT = "decimals need a point, not a comma: 1.5 for 1,5"
QUOTED = re.compile(r'"[^"]*"')


# what people write where there is no value
GAPS = {"", "na", "nan", "null", "none", "n/a", "-"}


@dataclass(frozen=True)
class Table:
    """Columns of a CSV file.

    Attributes:
        values: ``(L, F)`` in float64, in the order of the columns asked for; NaN where there is a gap.
        times: the time column's fields; None if there is none.
        lines: the line in the file of each row.
    """

    values: Array
    times: list[str] | None
    lines: list[int]


def read_table(
    path: Path, columns: list[str], time_column: str | None = None, *, gaps: bool = False, timed: bool = True
) -> Table:
    """Read ``columns`` of a CSV file with a header line, in UTF-8, separated by commas, semicolons or tabs.

    Args:
        path: the file.
        columns: names of the columns.
        time_column: name of a column of times, if there is one.
        gaps: whether a value may be missing.
        timed: whether the time column, if named, must be there.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if the file is not such a CSV file, a column is missing, or a value is no finite number.
    """
    text = read_text(path, MAX_BYTES)
    try:
        return _parse(path, io.StringIO(text), columns, time_column, gaps=gaps, timed=timed)
    except csv.Error as error:
        raise InvalidError(f"{path}: not a CSV file: {error}") from None


def _parse(
    path: Path, lines: Iterator[str], columns: list[str], time_column: str | None, *, gaps: bool, timed: bool
) -> Table:
    first = next(lines, "")
    separator = max(",;\t", key=QUOTED.sub("", first).count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    if not any(header):
        raise InvalidError(f"{path}:1: no header line; the first line must name the columns")
    if not timed and time_column not in header:
        time_column = None
    wanted = [*columns, *([time_column] if time_column else [])]
    for name in wanted:
        if header.count(name) != 1:
            found = "more than one column is" if name in header else "no column is"
            near = difflib.get_close_matches(name, header, n=1)
            asked = ", which is data.time_column" if name == time_column else ""
            hint = "train with data.time_column=null where a file has no times" if asked else None
            raise InvalidError(
                f"{path}:1: {found} named {shorten(repr(name))}{asked};"
                f" the columns are {shorten(', '.join(map(repr, header)), 500)}",
                f"did you mean {near[0]!r}?" if near and name not in header else hint,
            )
    if len(set(columns)) < len(columns):
        raise InvalidError(f"data.columns: {shorten(', '.join(columns))}: a column is named twice")
    where = [header.index(name) for name in columns]
    values: list[list[float]] = []
    numbers: list[int] = []
    times: list[str] | None = [] if time_column else None
    reader = csv.reader(lines, delimiter=separator)
    blank = 0
    for row in reader:
        line = reader.line_num + 1
        if not row:
            blank = blank or line
            continue
        if blank:
            raise InvalidError(f"{path}:{blank}: an empty line among the rows")
        if len(row) != len(header):
            comma = separator == "," and len(row) > len(header)
            raise InvalidError(
                f"{path}:{line}: {len(row)} values under {len(header)} column names", DECIMAL_POINT if comma else None
            )
        values.append([_number(path, line, header[index], row[index].strip(), gaps) for index in where])
        numbers.append(line)
        if times is not None and time_column:
            times.append(row[header.index(time_column)].strip())
    if not values:
        raise InvalidError(f"{path}: a header line and no rows")
    return Table(np.array(values), times, numbers)


def _number(path: Path, line: int, column: str, text: str, gaps: bool) -> float:
    if NUMBER.fullmatch(text):
        value = float(text)
        if np.isfinite(value):
            return value
    if text.lower() in GAPS:
        if gaps:
            return math.nan
        raise InvalidError(
            f"{path}:{line}: column {shorten(repr(column))} has no value ({text!r})",
            "fill the gap, or train with data.missing=interpolate, which does",
        )
    raise InvalidError(
        f"{path}:{line}: column {shorten(repr(column))} holds {shorten(repr(text))}, which is no finite decimal number",
        DECIMAL_POINT if DECIMAL_COMMA.fullmatch(text) else None,
    )
