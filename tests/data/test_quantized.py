from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcast.data.batches import Batch, Sampler
from lstmcast.data.categories import Bins, draw, one_hot
from lstmcast.data.dataset import Dataset
from lstmcast.data.quantized import Quantized
from lstmcast.data.random_segments import RandomSegments
from lstmcast.data.series import Series
from lstmcast.data.signal import Signal
from lstmcast.data.sine_bank import SineBank
from lstmcast.data.windowed_sine import WindowedSine
from lstmcast.errors import InvalidError

NOISY = Signal(noise=0.1)
SOURCES: dict[str, Any] = {
    "windowed_sine": WindowedSine(kind="windowed_sine", length=200, signal=NOISY),
    "sine_bank": SineBank(kind="sine_bank", sequences=8, length=40, signal=NOISY),
    "random_segments": RandomSegments(kind="random_segments", length=200, max_timesteps=9, signal=NOISY),
}


def build(source: Any, bins: int = 16) -> Dataset:
    return Quantized(kind="quantized", bins=bins, source=source).build(0, 5)


def sample(dataset: Dataset, seed: int = 1) -> Sampler:
    return dataset.sampler(batch_size=4, seed=[seed], last_step=False, warmup=0)


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Any:
    return SOURCES[request.param]


def test_the_bins_cover_the_training_part_and_the_values_stay(source: Any) -> None:
    dataset, plain = build(source), source.build(0, 5)
    assert dataset.bins == Bins(plain.train.min(), plain.train.max(), 16)
    assert dataset.features == 16
    assert dataset.columns == plain.columns
    assert np.array_equal(dataset.train, plain.train)
    assert np.array_equal(dataset.test.rows, plain.test.rows)


def test_batches_are_the_source_s_in_one_hot_bins(source: Any) -> None:
    dataset = build(source)
    sampler, plain = sample(dataset), sample(source.build(0, 5))
    assert sampler.batches_per_epoch == plain.batches_per_epoch
    assert dataset.bins is not None
    for _ in range(5):
        batch, values = sampler.next(), plain.next()
        for hot, expected in ((batch.inputs, values.inputs), (batch.targets, values.targets)):
            assert hot.shape == (*expected.shape[:2], 16)
            assert np.array_equal(hot, one_hot(dataset.bins.encode(expected), 16))
        assert np.array_equal(batch.weights, values.weights)
        assert batch.delay == values.delay


def test_a_stopped_sampler_goes_on_where_it_was(source: Any) -> None:
    sampler, other = sample(build(source), 1), sample(build(source), 2)
    for _ in range(7):
        sampler.next()
    other.restore(json.loads(json.dumps(sampler.state())))

    def inputs(batch: Batch) -> bytes:
        return np.ascontiguousarray(batch.inputs).tobytes()

    for _ in range(9):
        assert inputs(sampler.next()) == inputs(other.next())


def series(tmp_path: Path, rows: list[str]) -> Series:
    file = tmp_path / "a.csv"
    file.write_text("\n".join(rows))
    return Series(kind="series", path=str(file), columns=rows[0].split(","), timesteps=2)


def test_what_cannot_be_cut(tmp_path: Path) -> None:
    build(series(tmp_path, ["a", *map(str, range(20))]))
    with pytest.raises(InvalidError, match="2 columns; only one can be cut"):
        build(series(tmp_path, ["a,b", *(f"{i},{i}" for i in range(20))]))
    with pytest.raises(InvalidError, match="is constant"):
        build(series(tmp_path, ["a", *["0.1"] * 20]))


# bins

ranges = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 4096))


@settings(deadline=None, max_examples=80)
@given(ranges, st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_decoded_value_is_off_by_half_a_bin_at_most(size: tuple[float, float, int], shares: list[float]) -> None:
    low, width, classes = size
    bins = Bins(low, low + width, classes)
    values = low + (bins.high - low) * np.array(shares)
    codes = bins.encode(values)
    assert codes.min() >= 0
    assert codes.max() < classes
    half = (bins.high - low) / classes / 2
    assert abs(bins.decode(codes) - values).max() <= half + 1e-9 * (abs(low) + width)


@settings(deadline=None, max_examples=30)
@given(ranges)
def test_each_centre_is_in_its_bin(size: tuple[float, float, int]) -> None:
    low, width, classes = size
    bins = Bins(low, low + width, classes)
    assert np.array_equal(bins.encode(bins.centres), np.arange(classes))


@pytest.mark.parametrize("far", [2.0, 1e30])
def test_the_outermost_bins_take_in_what_lies_beyond(far: float) -> None:
    bins = Bins(-1, 1, 8)
    with warnings.catch_warnings(action="error"):
        assert bins.encode(np.array([[-far], [far]])).tolist() == [[0], [7]]
    assert bins.encode(np.array([-1.0, 1.0])).tolist() == [0, 7]


# draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_draws_are_as_frequent_as_softmax_says(temperature: float) -> None:
    logits, count = np.array([2.0, -1.0, 0.0, 1.5]), 40_000
    odds = np.exp(logits / temperature)
    expected = odds / odds.sum()
    drawn = draw(np.tile(logits, (count, 1)), temperature, np.random.default_rng(0))
    found = np.bincount(drawn, minlength=4) / count
    # five standard errors
    assert (abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / count)).all()


def test_rows_are_drawn_apart_and_the_seed_decides() -> None:
    logits = np.array([[50.0, 0, 0], [0, 50.0, 0], [0, 0, 50.0]])
    assert draw(logits, 1.0, np.random.default_rng(0)).tolist() == [0, 1, 2]
    flat = np.zeros((50, 9))
    first, again, other = (draw(flat, 1.0, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_temperature_0_takes_the_likeliest_and_draws_nothing() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(100, 7))
    before = random.bit_generator.state
    assert np.array_equal(draw(logits, 0, random), logits.argmax(axis=1))
    assert random.bit_generator.state == before
