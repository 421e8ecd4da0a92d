"""The forms in which people write times: read where they are clear, refused where they are not, written back."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from lstmcast.data.time_axis import read_times
from lstmcast.errors import InvalidError

START = datetime(2020, 1, 20, 22, 0, 0)


def read(texts, form=""):
    return read_times(Path("f.csv"), "time", texts, range(2, 2 + len(texts)), form)


def written(form, step, count=40):
    return [(START + k * step).strftime(form) for k in range(count)]


DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FORMS = [
    ("%d/%m/%Y", DAY, "1 day", "29/02/2020"),
    ("%m/%d/%Y", DAY, "1 day", "02/29/2020"),
    ("%d.%m.%Y", DAY, "1 day", "29.02.2020"),
    ("%d-%m-%Y", DAY, "1 day", "29-02-2020"),
    ("%Y/%m/%d", DAY, "1 day", "2020/02/29"),
    ("%d.%m.%y", DAY, "1 day", "29.02.20"),
    ("%b %d %Y", DAY, "1 day", "Feb 29 2020"),
    ("%d %B %Y", DAY, "1 day", "29 February 2020"),
    ("%B %d, %Y", DAY, "1 day", "February 29, 2020"),
    ("%d-%b-%Y", DAY, "1 day", "29-Feb-2020"),
    ("%d/%m/%Y %H:%M", HOUR, "1 hour", "22/01/2020 14:00"),
    ("%m/%d/%Y %I:%M %p", HOUR, "1 hour", "01/22/2020 02:00 PM"),
    ("%d.%m.%Y %H:%M:%S", HOUR, "1 hour", "22.01.2020 14:00:00"),
    ("%Y-%m-%d %H:%M:%S UTC", HOUR, "1 hour", "2020-01-22 14:00:00 UTC"),
    ("%Y/%m/%d %H:%M:%S", HOUR, "1 hour", "2020/01/22 14:00:00"),
]


@pytest.mark.parametrize(("form", "step", "name", "following"), FORMS)
def test_a_form_is_read_checked_and_written(form, step, name, following):
    texts = written(form, step)
    axis = read(texts)
    assert axis.steps.tolist() == list(range(40))
    assert str(axis.clock.step) == name
    assert axis.clock.write(40) == following
    assert not axis.notes
    assert read(texts, form).clock.write(40) == following
    with pytest.raises(InvalidError, match=r"f.csv:3: .* lies before that of the row above") as raised:
        read(texts[::-1])
    assert "data.sort=true" in raised.value.hint
    with pytest.raises(InvalidError, match=r"f.csv:7: .* repeats the time"):
        read([*texts[:5], texts[4], *texts[5:]])
    assert read([*texts[:5], *texts[7:]]).steps.tolist() == [*range(5), *range(7, 40)]
    with pytest.raises(InvalidError, match=r"f.csv:12: .* holds 'soon', which is no time like"):
        read([*texts[:10], "soon", *texts[10:]])


@pytest.mark.parametrize(
    ("texts", "step", "following"),
    [
        (["2019Q3", "2019Q4", "2020Q1"], "3 months", "2020Q2"),
        (["Q4 2019", "Q1 2020", "Q2 2020"], "3 months", "Q3 2020"),
        (["Nov 2019", "Dec 2019", "Jan 2020"], "1 month", "Feb 2020"),
        (["11/2019", "12/2019", "01/2020"], "1 month", "02/2020"),
        (["199011", "199012", "199101"], "1 month", "199102"),
        # every reading as days is torn: these are the first days of months
        ([f"01/{month:02}/2020" for month in range(1, 13)] + ["01/01/2021"], "1 month", "01/02/2021"),
        # cannot be written back as they stand: in ISO 8601
        (["1/30/2020", "1/31/2020", "2/1/2020"], "1 day", "2020-02-02"),
        # summer time begins: the same time of each local day
        (
            ["2021-03-27T00:00:00+01:00", "2021-03-28T00:00:00+01:00", "2021-03-29T00:00:00+02:00"],
            "1 day",
            "2021-03-30T00:00:00+02:00",
        ),
    ],
)
def test_the_calendar_continues(texts, step, following):
    axis = read(texts)
    assert axis.steps.tolist() == list(range(len(texts)))
    assert str(axis.clock.step) == step
    assert axis.clock.write(len(texts)) == following


def test_what_can_be_read_in_two_ways_is_refused_and_can_be_told():
    texts = [f"{day:02}/03/2020" for day in range(1, 10)]
    with pytest.raises(InvalidError, match="01/03/2020 can be read as 2020-03-01 or 2020-01-03") as raised:
        read(texts)
    assert "data.time_format=%d/%m/%Y or %m/%d/%Y" in raised.value.hint
    assert read(texts, "%d/%m/%Y").clock.write(9) == "10/03/2020"
    assert str(read(texts, "%m/%d/%Y").clock.step) == "1 month"
    with pytest.raises(InvalidError, match="holds '01/03/2020', which is no time like '%Y'"):
        read(texts, "%Y")


def test_labels_are_said_to_be_labels():
    (note,) = read(["Monday", "Tuesday", "Wednesday"]).notes
    assert "not read as times ('Monday')" in note
    assert "data.time_format" in note


def test_several_series_below_one_another_are_noticed():
    texts = written("%d/%m/%Y", DAY)
    with pytest.raises(InvalidError) as raised:
        read(texts + texts)
    assert "several series" in raised.value.hint
