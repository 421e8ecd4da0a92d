from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmcast.data.dataset import Dataset
from lstmcast.data.random_segments import RandomSegments
from lstmcast.errors import InvalidError


def build(**options: Any) -> Dataset:
    return RandomSegments(kind="random_segments", **options).build(0, 0)


def test_segments_of_the_sine() -> None:
    dataset = build(length=300, scale=7.0, min_timesteps=4, max_timesteps=12, horizon=3)
    assert np.array_equal(dataset.test.rows[0, :, 0], np.sin(np.arange(300) / 7))
    assert dataset.train.shape == (1, 180, 1)
    assert (dataset.shortest, dataset.longest, dataset.context) == (4, 12, 14)
    batch = dataset.sampler(batch_size=500, seed=[0], last_step=False, warmup=0).next()
    assert batch.lengths is not None
    assert set(batch.lengths) == set(range(4, 13))
    # a segment runs on the sine: its angle grows by 1 / scale a step, and the targets' is 3 / scale ahead
    inside = np.arange(12) < batch.lengths[:, None]
    inputs, targets = batch.inputs[..., 0], batch.targets[..., 0]
    curvature = inputs[:, :-2] + inputs[:, 2:] - 2 * np.cos(1 / 7) * inputs[:, 1:-1]
    assert abs(curvature[inside[:, 2:]]).max() < 1e-12
    same = inside[:, 3:]
    assert np.array_equal(inputs[:, 3:][same], targets[:, :-3][same])
    assert np.array_equal(batch.weights, inside)


def test_it_has_no_epochs() -> None:
    assert build().sampler(batch_size=2, seed=[0], last_step=False, warmup=0).batches_per_epoch is None


def test_lengths_that_contradict_each_other_or_do_not_fit() -> None:
    build(min_timesteps=5, max_timesteps=5)
    with pytest.raises(InvalidError, match="min_timesteps 6 is more than max_timesteps 5"):
        build(min_timesteps=6, max_timesteps=5)
    build(length=100, max_timesteps=59)
    with pytest.raises(InvalidError, match="does not fit into the training part, which has 60"):
        build(length=100, max_timesteps=60)
