import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from lstmcast.reports import tables
from lstmcast.reports.records import Record
from lstmcast.runs import Run


def text(table, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def cells(table):
    rows = [line.split("│")[1:-1] for line in text(table).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row] for row in rows]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "-"), (0.0, "0"), (1 / 3, "0.3333"), (1234567.0, "1.235e+06"), (math.inf, "inf"), (math.nan, "nan")],
)
def test_numbers(value, expected):
    assert tables.number(value) == expected


def test_scores_list_every_forecast_and_star_the_best(evaluation):
    rows = cells(tables.scores(evaluation))
    scores = [evaluation.model, *evaluation.baselines.values()]
    assert [row[0] for row in rows] == [score.label for score in scores]
    for column, h in enumerate((1, 10, 100), start=2):
        errors = [score.rollout[h] for score in scores]
        assert [float(row[column].removesuffix(" *")) for row in rows] == [pytest.approx(e, rel=1e-3) for e in errors]
        starred = [error for row, error in zip(rows, errors, strict=True) if row[column].endswith("*")]
        assert starred == [min(errors)]
    assert float(rows[0][1].removesuffix(" *")) == pytest.approx(evaluation.model.next_step, rel=1e-3)
    skills = [1 - scores[0].rollout[100] / score.rollout[100] for score in scores[1:]]
    assert [row[-1] for row in rows] == ["", *("< -9" if skill < -9 else f"{skill:.2f}" for skill in skills)]


def test_scores_survive_a_diverged_forecast(diverged):
    rows = cells(tables.scores(diverged(math.inf)))
    assert rows[0][-2] == "inf"
    assert {row[-1] for row in rows[1:]} == {"-"}


def test_scores_say_where_they_start_and_in_which_unit(evaluation):
    assert "origins" not in text(tables.scores(evaluation))
    assert "3 origins" in text(tables.scores(replace(evaluation, origins=[60, 70, 80])))
    assert "standard deviations" not in text(tables.scores(evaluation))
    several = replace(evaluation, columns={"a": {}, "b": {}})
    assert "standard deviations" in text(tables.scores(several))


def test_listing_prints_text_as_it_is():
    table = tables.listing(("name", "what"), [("[red]x[/red]", "a :smile: b"), ("y", "[/]")])
    assert cells(table) == [["[red]x[/red]", "a :smile: b"], ["y", "[/]"]]


def test_listing_folds_and_cuts_nothing():
    name = "".join(chr(65 + k % 26) for k in range(100))
    lines = [line.strip("│ ") for line in text(tables.listing(("name",), [(name,)]), width=40).splitlines()]
    assert name in "".join(lines)


def record(name, **manifest):
    return Record(Run(Path(name)), manifest)


@pytest.mark.parametrize("manifest", [{}, {"rollout": None, "next_step": None}, {"rollout": {"rmse": {}}}])
def test_rows_of_runs_without_scores(manifest):
    table = tables.runs([record("x", **manifest, status="running")])
    assert cells(table) == [["x", "running", "", "-", "-", "", ""]]


def test_rows_of_finished_runs():
    manifest = {
        "status": "finished",
        "created": "2020-01-02T03:04:05.678+00:00",
        "config": "waves",
        "overrides": ["seed=3", "model.cell=gru"],
        "next_step": {"rmse": 0.25},
        "rollout": {"rmse": {"1": 0.1, "1000": None}},
        "verdict_kind": "dies_out",
    }
    rows = [record("x", **manifest), record("text", next_step={"cross_entropy": 2.5})]
    assert cells(tables.runs(rows)) == [
        ["x", "finished", "2020-01-02 03:04", "0.25", "- @1,000", "dies out", "waves seed=3 model.cell=gru"],
        ["text", "?", "", "2.5 nats", "-", "", ""],
    ]
    assert cells(tables.runs(rows, "rollout.rmse@1"))[0][2] == "0.1"


def test_names_of_runs_stay_on_one_line():
    name = "a-name-of-forty-characters-" + "x" * 13
    table = tables.runs([record(name, status="finished", config="waves", overrides=["optimizer.learning_rate=0.001"])])
    assert name in text(table, width=120)
