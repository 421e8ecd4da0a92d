from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcast.arrays import Array
from lstmcast.data import Series
from lstmcast.data.dataset import Dataset
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


def test_the_time_column_is_checked_and_not_used(file: Path) -> None:
    assert np.array_equal(build(file, time_column="year").train, build(file).train)
    with pytest.raises(InvalidError, match="no column is named 'yeer'"):
        build(file, time_column="yeer")


@pytest.mark.parametrize("row", [0, 75])
@pytest.mark.parametrize("value", [1e200, -1e308])
def test_values_too_large_to_compute_with_are_refused(file: Path, row: int, value: float) -> None:
    changed = VALUES.copy()
    changed[row] = value
    with pytest.raises(InvalidError, match="data: the values reach from"):
        build(save(file, changed))


def test_files_and_windows_that_do_not_fit(file: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        build(tmp_path / "none.csv")
    build(file, timesteps=51)
    with pytest.raises(InvalidError, match="does not fit into the training part, which has 52"):
        build(file, timesteps=52)
    with pytest.raises(InvalidError, match="each part needs at least one"):
        build(file, validation_share=0.5, test_share=0.5)
