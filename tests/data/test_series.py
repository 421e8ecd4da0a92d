from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcast.arrays import Array
from lstmcast.data.dataset import Dataset
from lstmcast.data.series import Series, read_series
from lstmcast.errors import InvalidError, NotFoundError

VALUES = np.random.default_rng(0).normal([50, -3], [10, 0.1], (80, 2))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path / "series.csv", VALUES)


def save(file: Path, values: Array) -> Path:
    lines = (f"{year},{a!r},{b!r}" for year, (a, b) in enumerate(values.tolist(), 1900))
    file.write_text("\n".join(["year,a,b", *lines]))
    return file


def build(file: Path, **options: Any) -> Dataset:
    defaults = {"columns": ["a", "b"], "timesteps": 5, "validation_share": 0.1, "test_share": 0.25}
    return Series(kind="series", path=str(file), **(defaults | options)).build(0, 100)


def test_the_columns_are_standardised_and_cut_in_time_order(file: Path) -> None:
    dataset = build(file)
    assert dataset.columns == ("a", "b")
    assert dataset.train.shape == (1, 52, 2)
    np.testing.assert_allclose(dataset.train.mean(axis=(0, 1)), 0, atol=1e-13)
    np.testing.assert_allclose(dataset.train.std(axis=(0, 1)), 1)
    np.testing.assert_allclose(dataset.scaler.invert(dataset.test.rows[0]), VALUES, rtol=1e-14)
    assert dataset.validation is not None
    assert (dataset.validation.origin, dataset.validation.known, dataset.test.origin) == (52, 60, 60)


@pytest.mark.parametrize("row", [52, 60, 79])
def test_what_is_held_out_does_not_reach_the_scaler_or_the_training(file: Path, row: int) -> None:
    before = build(file)
    changed = VALUES.copy()
    changed[row] = 1e6
    after = build(save(file, changed))
    assert np.array_equal(before.scaler.mean, after.scaler.mean)
    assert np.array_equal(before.scaler.scale, after.scaler.scale)
    assert np.array_equal(before.train, after.train)
    assert not np.array_equal(before.test.rows, after.test.rows)


def test_what_is_trained_on_does_reach_the_scaler(file: Path) -> None:
    changed = VALUES.copy()
    changed[51] = 1e6
    assert not np.array_equal(build(file).scaler.mean, build(save(file, changed)).scaler.mean)


def test_columns_in_the_order_asked_for(file: Path) -> None:
    both, swapped = build(file), build(file, columns=["b", "a"])
    assert np.array_equal(both.train[..., ::-1], swapped.train)
    assert swapped.columns == ("b", "a")


def with_rows(file: Path, change: Callable[[list[str]], list[str]]) -> Path:
    header, *rows = file.read_text().splitlines()
    file.write_text("\n".join([header, *change(rows)]))
    return file


def test_a_gap_in_time_is_an_error_that_names_it_or_is_interpolated(file: Path) -> None:
    full = build(file)
    with_rows(file, lambda rows: rows[:20] + rows[23:])
    assert build(file).train.shape == (1, 50, 2)
    with pytest.raises(
        InvalidError, match=r"series.csv:22: column 'year': 3 rows are missing between 1919 and 1923"
    ) as e:
        build(file, time_column="year")
    assert "data.missing=interpolate" in str(e.value.hint)
    filled = build(file, time_column="year", missing="interpolate")
    values, expected = (d.scaler.invert(d.test.rows[0]) for d in (filled, full))
    for k in range(3):
        weight = (k + 1) / 4
        np.testing.assert_allclose(values[20 + k], (1 - weight) * VALUES[19] + weight * VALUES[23])
    np.testing.assert_allclose(np.delete(values, [20, 21, 22], 0), np.delete(expected, [20, 21, 22], 0))
    assert filled.notes == tuple(
        f"{file}: column '{name}': 3 of 80 values are missing and interpolated, at most 3 in a row" for name in "ab"
    )
    assert full.notes == ()


def test_missing_values_are_an_error_or_interpolated_column_by_column(file: Path) -> None:
    def drop(rows: list[str]) -> list[str]:
        return [f"{row.rsplit(',', 1)[0]},NA" if 10 <= n < 12 else row for n, row in enumerate(rows)]

    with_rows(file, drop)
    with pytest.raises(InvalidError, match=r"series.csv:12: column 'b' has no value \('NA'\)"):
        build(file)
    values = (dataset := build(file, missing="interpolate")).scaler.invert(dataset.test.rows[0])
    np.testing.assert_allclose(values[:, 0], VALUES[:, 0])
    np.testing.assert_allclose(values[10:12, 1], np.interp([10, 11], [9, 12], VALUES[[9, 12], 1]))
    assert dataset.notes == (f"{file}: column 'b': 2 of 80 values are missing and interpolated, at most 2 in a row",)
    # a word is no gap
    with_rows(file, lambda rows: [rows[0].rsplit(",", 1)[0] + ",many", *rows[1:]])
    with pytest.raises(InvalidError, match=r"series.csv:2: column 'b' holds 'many'"):
        build(file, missing="interpolate")


@pytest.mark.parametrize(("row", "what"), [(0, "2: column 'b' begins with a gap"), (-1, "81: column 'b' ends with")])
def test_nothing_is_made_up_beyond_the_first_and_last_value(file: Path, row: int, what: str) -> None:
    def drop(rows: list[str]) -> list[str]:
        rows[row] = rows[row].rsplit(",", 1)[0] + ","
        return rows

    with_rows(file, drop)
    with pytest.raises(InvalidError, match=what):
        build(file, missing="interpolate")


def test_a_wrong_time_does_not_fill_the_memory(file: Path) -> None:
    with_rows(file, lambda rows: [*rows[:-1], rows[-1].replace("1979", "19790000000")])
    with pytest.raises(InvalidError, match="and only 80 rows"):
        build(file, time_column="year", missing="interpolate")


def test_known_periods_are_inputs_at_the_right_time_and_no_targets(file: Path) -> None:
    dataset = build(file, time_column="year", covariates={"periods": [11.0, 7.5], "subtract": True})
    assert dataset.covariates is not None
    batch = dataset.sampler(batch_size=None, seed=[0], last_step=False, warmup=0).next()
    assert (batch.inputs.shape[2], batch.targets.shape[2]) == (6, 2)
    assert len(batch.inputs) == 47
    values = dataset.covariates.restore(batch.inputs[..., :2], np.arange(47)[:, None] + np.arange(5))
    np.testing.assert_allclose(values[10], dataset.train[0, 10:15])
    np.testing.assert_allclose(batch.inputs[10, :, 2], np.sin(2 * np.pi * (1910 + np.arange(5)) / 11), atol=1e-9)
    np.testing.assert_allclose(batch.targets[10, :-1], batch.inputs[10, 1:, :2])
    assert np.array_equal(dataset.train, build(file).train)


def test_the_time_column_is_checked_and_not_used(file: Path) -> None:
    assert np.array_equal(build(file, time_column="year").train, build(file).train)
    with pytest.raises(InvalidError, match="no column is named 'yeer'"):
        build(file, time_column="yeer")


@pytest.mark.parametrize("row", [0, 75])
@pytest.mark.parametrize("value", [1e200, -1e308])
def test_values_too_large_to_compute_with_are_refused(file: Path, row: int, value: float) -> None:
    changed = VALUES.copy()
    changed[row] = value
    with pytest.raises(InvalidError) as caught:
        build(save(file, changed))
    assert f"series.csv:{row + 2}: column 'a' holds {value:g}; values must lie within" in caught.value.message


def test_a_column_that_does_not_vary_is_named(file: Path) -> None:
    changed = VALUES.copy()
    changed[:52, 1] = 0.1
    assert build(save(file, changed)).notes == (f"{file}: column 'b' does not vary in the training part",)


@pytest.mark.parametrize(("hours", "hinted"), [([0, 1, 3, 4], True), ([0, 1, 4, 5], False)])
def test_an_hour_that_is_skipped_may_be_daylight_saving(tmp_path: Path, hours: list[int], hinted: bool) -> None:
    file = tmp_path / "hours.csv"
    file.write_text("\n".join(["t,a", *(f"2024-03-31T{hour:02}:00,1" for hour in hours)]))
    with pytest.raises(InvalidError, match="missing between") as caught:
        build(file, columns=["a"], time_column="t")
    assert ("use UTC" in str(caught.value.hint)) == hinted


def test_files_and_windows_that_do_not_fit(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        build(tmp_path / "none.csv")
    build(file, timesteps=51)
    with pytest.raises(InvalidError, match="does not fit into the training part, which has 52"):
        build(file, timesteps=52)
    with pytest.raises(InvalidError, match="each part needs at least one"):
        build(file, validation_share=0.5, test_share=0.5)


def test_a_gap_in_times_that_are_written_in_another_way_is_one_too(tmp_path: Path) -> None:
    weeks = [week for week in range(1, 20) if week != 7]
    (tmp_path / "weeks.csv").write_text("week,a\n" + "".join(f"2010-W{week:02}-1,{week}\n" for week in weeks))
    with pytest.raises(InvalidError, match=r"weeks.csv:8: column 'week': 1 row is missing between 2010-W06-1 and"):
        read_series(tmp_path / "weeks.csv", ["a"], "week", "error")
