from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcast.data.dataset import Dataset
from lstmcast.data.windowed_sine import WindowedSine
from lstmcast.errors import InvalidError


def build(**options: Any) -> Dataset:
    return WindowedSine(kind="windowed_sine", **options).build(0, 0)


@pytest.mark.parametrize("horizon", [1, 4])
def test_targets_are_the_sine_a_horizon_after_the_window(horizon: int) -> None:
    dataset = build(length=101, duration=5.0, angular_frequency=3.0, timesteps=7, horizon=horizon, shuffle=False)
    batch = dataset.sampler(batch_size=None, seed=[0], last_step=True, warmup=0).next()
    start = np.arange(len(batch.inputs))
    grid = 5.0 / 100  # between two points
    np.testing.assert_allclose(batch.inputs[:, 0, 0], np.sin(3 * grid * start), atol=1e-14)
    np.testing.assert_allclose(batch.targets[:, -1, 0], np.sin(3 * grid * (start + 6 + horizon)), atol=1e-14)
    assert np.array_equal(batch.weights, np.tile([0, 0, 0, 0, 0, 0, 1], (len(start), 1)))
    assert dataset.context == 7 + horizon - 1


def test_the_defaults_are_a_series_of_50000_points() -> None:
    dataset = build()
    assert dataset.train.shape == (1, 30_000, 1)
    assert np.array_equal(dataset.test.rows[0, :, 0], np.sin(10.0 * np.linspace(0, 10, 50_000)))


def test_no_scored_window_begins_before_the_border() -> None:
    dataset = build(length=100, timesteps=8, horizon=3, validation_share=0.2, test_share=0.3)
    validation = dataset.validation
    assert validation is not None
    assert dataset.train.shape[1] == 50
    assert (validation.scored_from, validation.known, validation.rows.shape[1]) == (50 + 8 + 3 - 1, 70, 70)
    assert (dataset.test.scored_from, dataset.test.known, dataset.test.rows.shape[1]) == (70 + 8 + 3 - 1, 100, 100)
    assert np.shares_memory(dataset.train, dataset.test.rows)


@pytest.mark.parametrize(
    ("fits", "too_much", "part"),
    [
        ({"timesteps": 49, "test_share": 0.5}, {"timesteps": 50, "test_share": 0.5}, "training part"),
        ({"timesteps": 19, "test_share": 0.2}, {"timesteps": 20, "test_share": 0.2}, "part held out"),
        ({"timesteps": 9, "validation_share": 0.1}, {"timesteps": 10, "validation_share": 0.1}, "part held out"),
    ],
)
def test_every_part_holds_a_window(fits: dict[str, Any], too_much: dict[str, Any], part: str) -> None:
    build(length=100, **fits)
    with pytest.raises(InvalidError, match=f"does not fit into the {part}"):
        build(length=100, **too_much)
