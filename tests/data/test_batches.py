from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcast.arrays import Array
from lstmcast.data.batches import SegmentSampler, WindowSampler, loss_weights, windows
from lstmcast.errors import InvalidError


def count_up(rows: int, length: int) -> Array:
    """Rows of distinct values, each 1 more than the last; a window is known by its first value."""
    return np.arange(rows * length, dtype=np.float64).reshape(rows, length, 1)


def window_sampler(rows: Array, timesteps: int = 3, horizon: int = 1, **options: Any) -> WindowSampler:
    defaults = {"batch_size": None, "seed": [0], "last_step": False, "warmup": 0, "shuffle": True, "drop_last": False}
    return WindowSampler(rows, timesteps, horizon, **(defaults | options))


def segment_sampler(rows: Array, **options: Any) -> SegmentSampler:
    defaults = {"horizon": 2, "minimum": 2, "maximum": 9, "batch_size": 5, "seed": [0], "last_step": False, "warmup": 0}
    return SegmentSampler(rows, **(defaults | options))


sizes = st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 4), st.integers(0, 9))


@settings(deadline=None, max_examples=40)
@given(sizes)
def test_windows_are_all_the_windows_and_no_copies(size: tuple[int, int, int, int]) -> None:
    N, T, horizon, more = size
    rows = np.random.default_rng(0).normal(size=(N, T + horizon + more, 2))
    inputs, targets = windows(rows, T, horizon)
    assert inputs.shape == targets.shape == (N, more + 1, T, 2)
    assert np.shares_memory(inputs, rows)
    assert np.shares_memory(targets, rows)
    for start in range(more + 1):
        assert np.array_equal(inputs[:, start], rows[:, start : start + T])
        assert np.array_equal(targets[:, start], rows[:, start + horizon : start + horizon + T])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 9), st.booleans())
def test_loss_weights(lengths: list[int], warmup: int, last_step: bool) -> None:
    weights = loss_weights(np.array(lengths), 9, last_step=last_step, warmup=warmup)
    for length, row in zip(lengths, weights, strict=True):
        counted = [length - 1] if last_step else range(warmup, length)
        assert np.flatnonzero(row).tolist() == list(counted)
        assert set(row) <= {0.0, 1.0}


@settings(deadline=None, max_examples=80)
@given(sizes, st.data(), st.booleans(), st.booleans())
def test_an_epoch_visits_each_window_once(
    size: tuple[int, int, int, int], data: st.DataObject, shuffle: bool, drop_last: bool
) -> None:
    N, T, horizon, more = size
    rows = count_up(N, T + horizon + more)
    starts = windows(rows, T, horizon)[0][:, :, 0, 0].ravel()
    batch_size = data.draw(st.integers(1, len(starts)))
    sampler = window_sampler(rows, T, horizon, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
    whole, rest = divmod(len(starts), batch_size)
    expected = [batch_size] * whole + [rest] * (rest > 0 and not drop_last)
    assert sampler.batches_per_epoch == len(expected)
    for _ in range(3):
        batches = [sampler.next() for _ in expected]
        assert [len(batch.inputs) for batch in batches] == expected
        assert all(np.array_equal(batch.targets, batch.inputs + horizon) for batch in batches)
        assert all(batch.weights is not None and batch.weights.shape == batch.inputs.shape[:2] for batch in batches)
        visited = np.concatenate([batch.inputs[:, 0, 0] for batch in batches])
        if not shuffle:
            assert np.array_equal(visited, starts[: len(visited)])
        elif drop_last:
            assert len(set(visited)) == len(visited)
            assert set(visited) <= set(starts)
        else:
            assert np.array_equal(np.sort(visited), starts)


def test_each_epoch_has_an_order_of_its_own() -> None:
    sampler = window_sampler(count_up(2, 50), batch_size=10)
    first, second = (
        np.concatenate([sampler.next().inputs[:, 0, 0] for _ in range(sampler.batches_per_epoch or 0)]).tolist()
        for _ in range(2)
    )
    assert first != second != sorted(second) == sorted(first) != first


@pytest.mark.parametrize(("rows", "length"), [(1, 20), (5, 4)])
@pytest.mark.parametrize("options", [{"batch_size": None}, {"batch_size": 2, "shuffle": False}])
def test_batches_in_order_are_no_copies(rows: int, length: int, options: dict[str, Any]) -> None:
    data = count_up(rows, length)
    batch = window_sampler(data, **options).next()
    assert np.shares_memory(batch.inputs, data)
    assert np.shares_memory(batch.targets, data)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 20), st.integers(1, 8), st.booleans(), st.booleans())
def test_restored_within_and_between_epochs(stop: int, batch_size: int, shuffle: bool, drop_last: bool) -> None:
    options = {"batch_size": batch_size, "shuffle": shuffle, "drop_last": drop_last}
    sampler = window_sampler(count_up(1, 11), seed=[1], **options)
    for _ in range(stop):
        sampler.next()
    state = json.loads(json.dumps(sampler.state()))
    other = window_sampler(count_up(1, 11), seed=[2], **options)
    other.restore(state)
    assert other.state() == state
    for _ in range(20):
        expected, found = sampler.next(), other.next()
        assert np.array_equal(expected.inputs, found.inputs)
        assert np.array_equal(expected.targets, found.targets)


def test_a_state_does_not_change_when_the_sampler_goes_on() -> None:
    sampler = window_sampler(count_up(1, 20), batch_size=3)
    state = sampler.state()
    kept = json.dumps(state)
    for _ in range(20):
        sampler.next()
    assert json.dumps(state) == kept


def test_a_batch_larger_than_the_data_is_refused() -> None:
    rows = count_up(2, 8)  # 5 windows in each
    assert len(window_sampler(rows, batch_size=10).next().inputs) == 10
    with pytest.raises(InvalidError, match=r"training.batch_size: 11 is more than the 10 training windows") as caught:
        window_sampler(rows, batch_size=11)
    assert "10" in str(caught.value.hint)


def test_a_warm_up_that_masks_everything_is_refused() -> None:
    assert window_sampler(count_up(1, 8), warmup=2).next().weights is not None
    with pytest.raises(InvalidError, match=r"training.warmup: 3 masks all 3 steps"):
        window_sampler(count_up(1, 8), warmup=3)
    # the last step is counted in any case
    window_sampler(count_up(1, 8), warmup=3, last_step=True)
    segment_sampler(count_up(1, 30), warmup=1)
    with pytest.raises(InvalidError, match=r"training.warmup: 2 masks all"):
        segment_sampler(count_up(1, 30), warmup=2)


# segments


def test_segments_need_a_batch_size() -> None:
    with pytest.raises(InvalidError, match=r"training.batch_size"):
        segment_sampler(count_up(1, 30), batch_size=None)


@pytest.mark.parametrize("last_step", [False, True])
def test_segments_are_masked_beyond_their_end(last_step: bool) -> None:
    sampler = segment_sampler(count_up(3, 30), last_step=last_step, warmup=1)
    for _ in range(20):
        batch = sampler.next()
        assert batch.lengths is not None
        assert batch.weights is not None
        assert batch.inputs.shape == batch.targets.shape == (5, batch.lengths.max(), 1)
        assert np.array_equal(batch.targets, batch.inputs + 2)
        for inputs, weights, length in zip(batch.inputs[:, :, 0], batch.weights, batch.lengths, strict=True):
            assert np.array_equal(np.diff(inputs[:length]), np.ones(length - 1))
            assert np.flatnonzero(weights).tolist() == ([length - 1] if last_step else list(range(1, length)))


def test_segments_begin_and_end_everywhere() -> None:
    rows, length, horizon = 2, 12, 2
    batch = segment_sampler(count_up(rows, length), minimum=3, maximum=6, batch_size=5000).next()
    assert batch.lengths is not None
    row, start = np.divmod(batch.inputs[:, 0, 0].astype(int), length)
    assert set(row) == set(range(rows))
    for segment in range(3, 7):
        assert set(start[batch.lengths == segment]) == set(range(length - segment - horizon + 1))
    assert np.bincount(batch.lengths)[3:].min() > 5000 / 4 * 0.8


def test_one_length_only() -> None:
    batch = segment_sampler(count_up(1, 11), minimum=9, maximum=9).next()
    assert batch.inputs[:, :, 0].tolist() == [list(range(9))] * 5
    assert batch.weights is not None
    assert batch.weights.all()
