"""Reading numbers from a stranger's CSV file."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.user_file import read_text, shorten
from lstmcast.errors import InvalidError

MAX_BYTES = 512 * 2**20
# Python's float() would also take 1_000, full-width digits, nan and infinity
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
QUOTED = re.compile(r'"[^"]*"')


def read_columns(path: Path, columns: list[str], time_column: str | None = None) -> Array:
    """Read ``columns`` of a CSV file with a header line, in UTF-8, separated by commas, semicolons or tabs.

    Returns:
        ``(L, F)`` in float64, in the order of ``columns``.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if the file is not such a CSV file, a column is missing, or a value is no finite number.
    """
    text = read_text(path, MAX_BYTES)
    try:
        return _parse(path, io.StringIO(text), columns, time_column)
    except csv.Error as error:
        raise InvalidError(f"{path}: not a CSV file: {error}") from None


def _parse(path: Path, lines: Iterator[str], columns: list[str], time_column: str | None) -> Array:
    first = next(lines, "")
    separator = max(",;\t", key=QUOTED.sub("", first).count)
    header = [name.strip() for name in next(csv.reader([first], delimiter=separator), [])]
    if not any(header):
        raise InvalidError(f"{path}:1: no header line; the first line must name the columns")
    wanted = [*columns, *([time_column] if time_column else [])]
    for name in wanted:
        if header.count(name) != 1:
            found = "more than one column is" if name in header else "no column is"
            near = difflib.get_close_matches(name, header, n=1)
            raise InvalidError(
                f"{path}:1: {found} named {shorten(repr(name))};"
                f" the columns are {shorten(', '.join(map(repr, header)), 500)}",
                f"did you mean {near[0]!r}?" if near and name not in header else None,
            )
    if len(set(columns)) < len(columns):
        raise InvalidError(f"data.columns: {shorten(', '.join(columns))}: a column is named twice")
    where = [header.index(name) for name in columns]
    values: list[list[float]] = []
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
            raise InvalidError(f"{path}:{line}: {len(row)} values under {len(header)} column names")
        values.append([_number(path, line, header[index], row[index].strip()) for index in where])
    if not values:
        raise InvalidError(f"{path}: a header line and no rows")
    return np.array(values)


def _number(path: Path, line: int, column: str, text: str) -> float:
    if NUMBER.fullmatch(text):
        value = float(text)
        if np.isfinite(value):
            return value
    if text == "" or text.lower() in {"na", "nan", "null", "none", "n/a", "-"}:
        raise InvalidError(
            f"{path}:{line}: column {shorten(repr(column))} has no value ({text!r})",
            "fill the gap or leave the row out",
        )
    raise InvalidError(
        f"{path}:{line}: column {shorten(repr(column))} holds {shorten(repr(text))}, which is no finite decimal number"
    )
