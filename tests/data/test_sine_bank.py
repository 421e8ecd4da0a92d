from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from lstmcast.arrays import Array
from lstmcast.data.dataset import Dataset
from lstmcast.data.signal import Signal
from lstmcast.data.sine_bank import SineBank
from lstmcast.errors import InvalidError


def build(future: int = 0, seed: int = 0, **options: Any) -> Dataset:
    return SineBank(kind="sine_bank", **options).build(seed, future)


def phases(rows: Array, scale: float) -> Array:
    """Find the phases, in steps, of rows of pure sines; they must lie within a quarter of a period."""
    return np.arcsin(rows[:, 0, 0]) * scale


def test_the_defaults_with_phase_seed_2_are_pytorch_s_example() -> None:
    # generate_sine_wave.py and train.py of pytorch/examples, time_sequence_prediction
    T, L, N = 20, 1000, 100
    x = np.empty((N, L), "int64")
    x[:] = np.array(range(L)) + np.random.RandomState(2).randint(-4 * T, 4 * T, N).reshape(N, 1)
    data = np.sin(x / 1.0 / T).astype("float64")

    dataset = build(phase_seed=2, seed=5)
    batch = dataset.sampler(batch_size=None, seed=[0], last_step=False, warmup=0).next()
    assert np.array_equal(batch.inputs[..., 0], data[3:, :-1])
    assert np.array_equal(batch.targets[..., 0], data[3:, 1:])
    assert np.array_equal(dataset.test.rows[..., 0], data[:3])


def test_the_rows_are_split_in_order() -> None:
    whole = build(sequences=10, length=30, test_sequences=1, phase_seed=1)
    dataset = build(sequences=10, length=30, test_sequences=3, validation_sequences=2, phase_seed=1)
    rows = np.concatenate([whole.test.rows, whole.train])
    assert dataset.validation is not None
    assert np.array_equal(np.concatenate([dataset.test.rows, dataset.validation.rows, dataset.train]), rows)
    assert whole.validation is None
    with pytest.raises(InvalidError, match="leave none of the 10 sequences"):
        build(sequences=10, test_sequences=8, validation_sequences=2)


@pytest.mark.parametrize("phase_seed", [None, 2])
def test_whole_phases(phase_seed: int | None) -> None:
    drawn = phases(build(sequences=400, length=5, scale=10.0, phase_range=7.0, phase_seed=phase_seed).train, 10)
    assert abs(drawn - drawn.round()).max() < 1e-9
    assert set(drawn.round()) == set(range(-7, 7))


def test_real_phases() -> None:
    drawn = phases(build(sequences=400, length=5, scale=10.0, phase_range=7.0, phases="real").train, 10)
    assert len(set(drawn)) == len(drawn)
    assert -7 <= drawn.min() < -6 < 6 < drawn.max() <= 7


def test_the_seed_draws_the_phases_unless_they_have_their_own() -> None:
    small = {"sequences": 20, "length": 10}
    assert not np.array_equal(build(seed=1, **small).train, build(seed=2, **small).train)
    assert np.array_equal(build(seed=1, phase_seed=3, **small).train, build(seed=2, phase_seed=3, **small).train)
    assert not np.array_equal(build(phase_seed=3, **small).train, build(phase_seed=4, **small).train)


@pytest.mark.parametrize("kind", ["integer", "real"])
def test_the_future_does_not_change_what_is_known(kind: str) -> None:
    options: dict[str, Any] = {"sequences": 6, "length": 40, "phases": kind, "validation_sequences": 1}
    signal = Signal(noise=0.1, trend=0.1, chirp=1e-3)
    dataset, longer = (build(future, signal=signal, **options) for future in (0, 25))
    assert np.array_equal(dataset.train, longer.train)
    assert longer.test.rows.shape[1] == 65
    assert longer.test.known == longer.test.origin == 40
    assert np.array_equal(dataset.test.rows, longer.test.rows[:, :40])


def test_windows_and_horizons() -> None:
    dataset = build(sequences=5, length=30, horizon=4, timesteps=10)
    sampler = dataset.sampler(batch_size=None, seed=[0], last_step=False, warmup=0)
    assert sampler.next().inputs.shape == (2 * (30 - 10 - 4 + 1), 10, 1)
    assert build(sequences=5, length=30, horizon=4).shortest == 26
    build(sequences=5, length=30, horizon=20, timesteps=10)
    with pytest.raises(InvalidError, match="does not fit into the row, which has 30"):
        build(sequences=5, length=30, horizon=21, timesteps=10)


@pytest.mark.parametrize("horizon", [30, 31, 45])
def test_a_horizon_as_long_as_the_row(horizon: int) -> None:
    build(sequences=5, length=30, horizon=29)
    with pytest.raises(InvalidError, match="does not fit"):
        build(sequences=5, length=30, horizon=horizon)


@pytest.mark.parametrize("phase_seed", [None, 2])
def test_a_range_below_one_step_holds_the_whole_phase_0_only(phase_seed: int | None) -> None:
    rows = build(sequences=5, length=30, phase_range=0.5, phase_seed=phase_seed).train
    assert np.array_equal(rows, np.broadcast_to(np.sin(np.arange(30) / 20)[:, None], rows.shape))


@pytest.mark.parametrize(
    "options",
    [
        {"phase_range": 1e300},
        {"phase_range": 1e300, "phase_seed": 1},
        {"phase_range": 1e308, "phases": "real"},
        {"scale": 1e19},
        {"scale": 1e-320},
    ],
)
def test_a_range_that_cannot_be_drawn_from_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises((InvalidError, ValidationError)):
        build(sequences=5, length=30, **options)
