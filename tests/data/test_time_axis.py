from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lstmcast.data.time_axis import TimeAxis, read_times
from lstmcast.errors import InvalidError

HOURS = [f"2010-01-01T{hour:02}:00" for hour in range(6)]


def read(texts: list[str]) -> TimeAxis:
    return read_times(Path("f.csv"), "time", texts, range(2, 2 + len(texts)))


@pytest.mark.parametrize(
    ("texts", "steps", "origin"),
    [
        (HOURS, range(6), 40 * 365.25 * 24),
        ([HOURS[0], *HOURS[2:]], [0, 2, 3, 4, 5], 40 * 365.25 * 24),
        ([text.replace("T", " ") + ":00Z" for text in HOURS], range(6), 40 * 365.25 * 24),
        (["2010-01-01T00:00+01:00", "2010-01-01T00:00Z", "2010-01-01T01:00Z"], range(3), 40 * 365.25 * 24 - 1),
        (["1700", "1701", "1702"], range(3), 1700),
        (["1700", "1701", "1704", "1705"], [0, 1, 4, 5], 1700),
        (["0.33", "0.67", "1.0", "1.33"], range(4), 0.99),
        (["-20", "-10", "0", "10"], range(4), -2),
        (["2010-01", "2010-02", "2010-03", "2010-05"], [0, 1, 2, 4], 12 * 2010),
        (["2010-01-31", "2010-02-28", "2010-03-31"], range(3), 12 * 2010),
        (["2010-01-15", "2010-02-15", "2010-03-15"], range(3), 12 * 2010),
        (["2010-01-01", "2011-01-01", "2012-01-01", "2013-01-01"], range(4), 2010),
        (["20100101", "20100102", "20100104", "20100105"], [0, 1, 3, 4], 40 * 365.25),
        (["Monday", "Tuesday", "Monday"], range(3), 0),
        (["", "2010-01-01", ""], range(3), 0),
        (["2010-01-01"], [0], 0),
    ],
)
def test_where_the_rows_lie(texts: list[str], steps: list[int], origin: float) -> None:
    axis = read(texts)
    assert axis.steps.tolist() == list(steps)
    assert axis.origin == pytest.approx(origin, rel=1e-3)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([*HOURS[:3], HOURS[1]], "f.csv:5: column 'time': 2010-01-01T01:00 lies before that of the row above"),
        ([*HOURS[:3], HOURS[2]], "f.csv:5: column 'time': 2010-01-01T02:00 repeats the time of the row above"),
        ([*HOURS[:3], "2010-01-01T02:30", *HOURS[3:]], "f.csv:5: column 'time': 2010-01-01T02:30 lies 0.5 steps after"),
        (["1", "2", "3", "4.5", "5.5"], "f.csv:5: column 'time': 4.5 lies 1.5 steps after"),
        (["3", "2", "1"], "f.csv:3: column 'time': 2 lies before"),
        ([*HOURS[:2], "soon"], "f.csv:4: column 'time' holds 'soon', which is no time like '2010-01-01T00:00'"),
        (["1", "nan"], "f.csv:3: column 'time' holds 'nan'"),
        (["1000", "1_001"], "f.csv:3: column 'time' holds '1_001'"),
        (["2010-02", "2010-01", "2010-03"], "f.csv:3: column 'time': 2010-01 lies before"),
    ],
)
def test_times_that_do_not_follow_one_another(texts: list[str], message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read(texts)
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (HOURS, "1 hour"),
        (["2010-01-01", "2010-01-08"], "7 days"),
        (["2010-01-01T00:00:00", "2010-01-01T00:00:00.5"], "0.5 seconds"),
        (["2010-01", "2010-04"], "3 months"),
        (["2010-01-01", "2011-01-01"], "1 year"),
        (["1700", "1701"], "1"),
        (["Monday", "Tuesday"], "None"),
    ],
)
def test_the_distance_of_the_rows_has_a_name(texts: list[str], name: str) -> None:
    clock = read(texts).clock
    assert str(clock and clock.step) == name


@pytest.mark.parametrize(
    ("texts", "following"),
    [
        (HOURS, ["2010-01-01T06:00", "2010-01-01T07:00"]),
        (["2010-12-31 23:30:00Z", "2010-12-31 23:45:00Z"], ["2011-01-01 00:00:00Z", "2011-01-01 00:15:00Z"]),
        (["2010-01-01T00:00+0100", "2010-01-01T01:00+0100"], ["2010-01-01T02:00+0100"]),
        (["2010-01-01T00:00:00.0", "2010-01-01T00:00:00.5"], ["2010-01-01T00:00:01.0", "2010-01-01T00:00:01.5"]),
        (["2010-01-01T00:00:00", "2010-01-01T00:00:20", "2010-01-01T00:00:41"], ["2010-01-01T00:01:02"]),
        (["2010-02-27", "2010-02-28"], ["2010-03-01"]),
        (["20100227", "20100228"], ["20100301"]),
        (
            ["2010-01-01T00:00:04.700", "2010-01-01T00:00:04.800"],
            ["2010-01-01T00:00:04.900", "2010-01-01T00:00:05.000"],
        ),
        (["2009-01-28", "2009-02-28"], ["2009-03-28", "2009-04-28"]),
        (["2010-08-30", "2010-09-30"], ["2010-10-30", "2010-11-30", "2010-12-30", "2011-01-30", "2011-02-28"]),
        (["1700035880123", "1700035940123"], ["1700036000123"]),
        (["1700035880123456789", "1700035940123456789"], ["1700036000123456789"]),
        (["2010-01-31", "2010-02-28"], ["2010-03-31", "2010-04-30"]),
        (["2010-01-15", "2010-02-15"], ["2010-03-15"]),
        (["2010-11", "2010-12"], ["2011-01"]),
        (["2007-02-28", "2008-02-29"], ["2009-02-28"]),
        (["1700", "1701"], ["1702"]),
        (["1.0", "1.5"], ["2", "2.5"]),
        (["9998-01-01", "9999-01-01"], ["", ""]),
    ],
)
def test_the_times_to_come_are_written_as_those_before(texts: list[str], following: list[str]) -> None:
    axis = read(texts)
    assert axis.clock is not None
    steps = range(len(texts), len(texts) + len(following))
    assert [axis.clock.write(step) for step in steps] == following
    assert axis.clock.write(len(texts) - 1) == texts[-1]


@pytest.mark.parametrize(
    "texts", [["Monday", "Tuesday"], ["2010-W01-1", "2010-W02-1"], ["2010-01-01T11", "2010-01-01T12"]]
)
def test_what_is_written_otherwise_tells_no_time(texts: list[str]) -> None:
    assert read(texts).clock is None


@pytest.mark.parametrize("days", [1, 7])
def test_days_and_weeks_over_years(days: int) -> None:
    dates = [(date(1995, 1, 31) + timedelta(days=days * row)).isoformat() for row in range(800)]
    assert read(dates).steps.tolist() == list(range(800))
    assert read(dates[:400] + dates[403:]).steps.tolist() == [*range(400), *range(403, 800)]


def test_the_phase_of_a_wave_does_not_depend_on_where_a_file_begins() -> None:
    start = datetime(2010, 1, 1)
    texts = [(start + timedelta(hours=hour)).isoformat() for hour in range(5000)]
    whole, late = read(texts), read(texts[1234:])
    assert late.origin - whole.origin == pytest.approx(1234, abs=1e-6)
    assert whole.origin % 24 == pytest.approx(0, abs=1e-6)
    assert np.array_equal(late.steps, np.arange(5000 - 1234))
