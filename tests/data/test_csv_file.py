from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmcast.arrays import Array
from lstmcast.data.csv_file import read_table
from lstmcast.errors import InvalidError, NotFoundError


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Write a file and read columns of it."""

    def read(content: str | bytes, columns: list[str], time_column: str | None = None) -> Array:
        file = tmp_path / "data.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(file, columns, time_column).values

    return read


@pytest.mark.parametrize(
    "content",
    [
        "a,b\n1,2\n3,4\n",
        "a,b\n1,2\n3,4",
        "\ufeffa,b\n1,2\n3,4\n",
        "a;b\n1;2\n3;4\n",
        "a\tb\n1\t2\n3\t4\n",
        "a,b\r\n1,2\r\n3,4\r\n",
        "a,b\r1,2\r3,4\r",
        '"a","b"\n"1","2"\n"3","4"\n',
        " a , b \n 1 , 2 \n\t3, 4\n",
        "a,b\n1,2\n3,4\n\n\n",
        "b,text,a\n2,x,1\n4,,3\n",
        'b,"text, more",a\n2,"x,\ny",1\n4,"",3\n',
        "a,b\n+1,2.0\n.3e1,4.\n",
        'a;"b";"c, d"\n1;2;0\n3;4;0\n',
        '"c, d, e, f";a;b\n0;1;2\n0;3;4\n',
        'a;"c, d, e, f";b\n1;0;2\n3;0;4\n',
        '"c "", d";a;b\n0;1;2\n0;3;4\n',
    ],
)
def test_what_is_read(read: Any, content: str) -> None:
    values = read(content, ["a", "b"])
    assert values.dtype == np.float64
    assert values.tolist() == [[1, 2], [3, 4]]


def test_columns_come_in_the_order_asked_for(read: Any) -> None:
    assert read("a,b,c\n1,2,3\n", ["c", "a"]).tolist() == [[3, 1]]
    assert read("day,b\nMonday,2\n", ["b"], "day").tolist() == [[2]]


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_every_float_comes_back(read: Any, values: list[float], separator: str, end: str) -> None:
    lines = [f"x{separator}y", *(f"{value!r}{separator}{-value!r}" for value in values)]
    expected = np.array([values, [-value for value in values]]).T
    assert read(end.join(lines), ["x", "y"]).tobytes() == np.ascontiguousarray(expected).tobytes()


@pytest.mark.parametrize("text", ["", " ", "NaN", "nan", "NA", "n/a", "null", "None", "-"])
def test_a_gap_is_named_with_line_and_column(read: Any, text: str) -> None:
    with pytest.raises(InvalidError, match=r"data.csv:3: column 'b' has no value") as caught:
        read(f"a,b\n1,2\n3,{text}\n", ["a", "b"])
    assert "gap" in str(caught.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        *("1_000", "1 000", '"1,5"', "1.5.2", "１２", "٣", "−5", "--1", "1e", "e5", "0x10", "9" * 5000),
        *("1e999", "-1e999", "1e99999", "inf", "Infinity", "True", "five", "5 %", "2001-01-01", "12:30", "=1+1", "1\0"),
    ],
)
def test_what_is_no_number_is_named_with_line_and_column(read: Any, text: str) -> None:
    with pytest.raises(InvalidError, match=r"data.csv:3: column 'b' holds .*no finite decimal number") as caught:
        read(f"a,b\n1,2\n3,{text}\n4,5\n", ["b"])
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(("content", "line"), [("a;b\n1,5;2\n", 2), ("a,b\n1,2\n1,5,2,5\n", 3), ('a,b\n"1,5",2\n', 2)])
def test_a_decimal_comma_is_recognised(read: Any, content: str, line: int) -> None:
    with pytest.raises(InvalidError, match=f"data.csv:{line}: ") as caught:
        read(content, ["a", "b"])
    assert "point, not a comma" in str(caught.value.hint)


def test_other_columns_may_hold_anything(read: Any) -> None:
    assert read("a,b\nx,2\n,4\n", ["b"]).tolist() == [[2], [4]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "data.csv:1: no header line"),
        ("\ufeff", "data.csv:1: no header line"),
        ("\na,b\n1,2\n", "data.csv:1: no header line"),
        ("  \n1\n", "data.csv:1: no header line"),
        ("\t \t\n1\t2\t3\n", "data.csv:1: no header line"),
        ("a,b\n", "data.csv: a header line and no rows"),
        ("a,b\n\n\n", "data.csv: a header line and no rows"),
        ("a,b\n1,2\n3\n", "data.csv:3: 1 values under 2 column names"),
        ("a,b\n1,2,3\n", "data.csv:2: 3 values under 2 column names"),
        ("a,b\n1,2\n\n3,4\n", "data.csv:3: an empty line among the rows"),
        ('a,b\n"1,2\n3,4\n', "values under 2 column names"),
        ("a,a,b\n1,2,3\n", "data.csv:1: more than one column is named 'a'"),
        ("1,2\n3,4\n", "data.csv:1: no column is named 'a'; the columns are '1', '2'"),
        ('a,b\n"' + "1" * 200_000 + '",2\n', "data.csv: not a CSV file: field larger"),
        (b"a,b\n1,\xff\n", "data.csv: not UTF-8 text (byte 6)"),
        ("a,b\n1,2\n".encode("utf-16"), "data.csv: not UTF-8 text (byte 0)"),
        (b"a,b\n" + b"1,2\n" * 5000 + b"\xff", "data.csv: not UTF-8 text (byte 20004)"),
        (b"\xef\xbb\xbfa,b\n\xff", "data.csv: not UTF-8 text (byte 7)"),
    ],
)
def test_a_file_that_is_no_such_table(read: Any, content: str | bytes, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read(content, ["a", "b"])
    assert message in caught.value.message


@pytest.mark.parametrize(("columns", "time_column"), [(["sunspot"], None), (["year"], "sunspot")])
def test_a_missing_column_and_the_nearest_name(read: Any, columns: list[str], time_column: str | None) -> None:
    where = ", which is data.time_column" if time_column else ""
    with pytest.raises(InvalidError, match=f"named 'sunspot'{where}; the columns are 'year', 'sunspots'") as caught:
        read("year,sunspots\n1700,5\n", columns, time_column)
    assert caught.value.hint == "did you mean 'sunspots'?"


def test_a_file_without_times_is_told_what_asks_for_them(read: Any) -> None:
    with pytest.raises(InvalidError, match=r"no column is named 'year', which is data\.time_column") as caught:
        read("level\n5\n", ["level"], "year")
    assert "data.time_column=null" in str(caught.value.hint)


def test_a_column_cannot_be_asked_for_twice(read: Any) -> None:
    with pytest.raises(InvalidError, match=r"data.columns: a, a: a column is named twice"):
        read("a,b\n1,2\n", ["a", "a"])


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none.csv: no such file"):
        read_table(tmp_path / "none.csv", ["a"])
    with pytest.raises(InvalidError, match="not a regular file"):
        read_table(tmp_path, ["a"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidError, match="not a regular file"):
        read_table(tmp_path / "pipe", ["a"])


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000, "a\0b"])
def test_a_name_that_the_system_does_not_take(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFoundError):
        read_table(tmp_path / name, ["a"])


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    with file.open("wb") as large:
        large.truncate(2**30)  # of holes: nothing is written
    with pytest.raises(InvalidError, match=r"1,073,741,824 bytes; at most"):
        read_table(file, ["a"])
