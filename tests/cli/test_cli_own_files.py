"""Other people's files, from the command line: read as they are meant, or refused with a remedy that works."""

import csv
import io
from datetime import date, timedelta

import numpy as np
import pytest

SMALL = ("training.steps=2", "training.batch_size=8")


def write(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.fixture
def newest_first(tmp_path):
    """Return a file of weeks, American dates, newest first: the price rises from 100 to 400."""
    weeks = [date(2015, 1, 5) + timedelta(weeks=k) for k in range(300)]
    rows = [f"{week:%m/%d/%Y},{100 + k}" for k, week in enumerate(weeks)]
    return write(tmp_path / "weeks.csv", "Week,price", rows[::-1])


def train(cli, folder, file, column, time, *options):
    given = (f"data.path={file}", f"data.columns=[{column}]", f"data.time_column={time}", *SMALL, *options)
    return cli("train", "--config", "sunspots", *given, "--output-dir", folder / "outputs", "--name", "r")


def forecast(cli, folder, *options):
    outcome = cli("predict", "r", "--future", 3, "--output-dir", folder / "outputs", *options).done()
    return list(csv.DictReader(io.StringIO(outcome.out)))


def test_a_file_that_runs_newest_first_is_refused_and_can_be_sorted(cli, tmp_path, newest_first):
    train(cli, tmp_path, newest_first, "price", "Week").refused(5, "weeks.csv:3", "lies before that", "data.sort=true")
    train(cli, tmp_path, newest_first, "price", "Week", "data.sort=true").done()
    rows = forecast(cli, tmp_path)
    assert [row["time"] for row in rows] == ["10/05/2020", "10/12/2020", "10/19/2020"]
    assert float(rows[0]["value"]) > 380
    own = forecast(cli, tmp_path, "--data", newest_first)
    assert [row["time"] for row in own] == [row["time"] for row in rows]


def test_labels_get_a_warning(cli, tmp_path):
    days = ["Mon", "Tue", "Wed", "Thu", "Fri"] * 40
    file = write(tmp_path / "days.csv", "day,y", [f"{day},{np.sin(k):.4f}" for k, day in enumerate(days)])
    assert "is not read as times ('Mon')" in train(cli, tmp_path, file, "y", "day").done().err


def test_a_code_for_missing_values_gets_a_warning_whose_remedy_works(cli, tmp_path):
    values = [f"{-9999 if k % 50 == 7 else 10 + np.sin(k / 3):.4g}" for k in range(300)]
    file = write(tmp_path / "level.csv", "t,level", [f"{k},{value}" for k, value in enumerate(values)])
    said = train(cli, tmp_path, file, "level", "t").done().err
    assert "6 values of exactly -9999 lie" in said
    remedy = said.partition("missing value: ")[2].splitlines()[0].split()
    assert remedy == ["data.missing_values=[-9999]", "data.missing=interpolate"]
    outcome = cli(
        *("train", "--config", "sunspots", f"data.path={file}", "data.columns=[level]", "data.time_column=t", *SMALL),
        *(*remedy, "--output-dir", tmp_path / "outputs", "--name", "mended"),
    ).done()
    assert "6 of 300 values are missing and interpolated" in outcome.err
    assert "exactly" not in outcome.err
    outcome = train(cli, tmp_path, file, "level", "t", "data.missing_values=[-9999]", "data.missing=error")
    outcome.refused(5, "level.csv:9", "-9999 stands for a missing one")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("#Sold", "[#Sold]"),
        ("#Sold", '["#Sold"]'),
        ("% share", "[% share]"),
        ("0", "[0]"),
        ("pm2.5", "pm2.5"),
        ("气温", "[气温]"),
        ("a, b", '["a, b"]'),
        ("true", "[true]"),
    ],
)
def test_names_are_text(cli, tmp_path, name, given):
    quoted = f'"{name}"' if "," in name else name
    file = write(tmp_path / "f.csv", f"t,{quoted}", [f"{k},{np.sin(k):.4f}" for k in range(200)])
    options = (f"data.path={file}", f"data.columns={given}", "data.time_column=t", "--dry-run")
    cli("train", "--config", "sunspots", *options).done()


def test_an_override_that_is_not_yaml_says_how_to_quote(cli):
    cli("train", "--config", "sunspots", "model.cell=[#x").refused(2, "model.cell=[#x", "put quotes around")


@pytest.mark.parametrize("option", ["data.sort=true", "data.time_format=%d/%m/%Y"])
def test_what_needs_times_says_so(cli, option):
    outcome = cli("train", "--config", "sunspots", "data.time_column=null", option, "--dry-run")
    outcome.refused(2, option.partition("=")[0], "there are no times")


def test_a_short_series_trains_with_the_shipped_batch_size(cli, tmp_path):
    file = write(tmp_path / "short.csv", "year,y", [f"{1900 + k},{100 + 10 * np.sin(k / 2):.2f}" for k in range(100)])
    options = (f"data.path={file}", "data.columns=[y]", "data.time_column=year", "training.steps=3")
    cli("train", "--config", "sunspots", *options, "--output-dir", tmp_path, "--name", "short").done()
    assert len((tmp_path / "short" / "metrics.jsonl").read_text().splitlines()) == 3
