from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lstmcast.arrays import Array
from lstmcast.data.signal import Modulation, Signal, Sine

T = np.arange(300, dtype=np.float64)
ANGLE = T / 20
SLOW = Modulation(depth=0.3, period=90)
WAVE = 0.3 * np.sin(2 * np.pi * T / 90)
ALL = Signal(
    noise=0.1,
    amplitude_modulation=SLOW,
    frequency_modulation=SLOW,
    chirp=1e-4,
    trend=0.01,
    sines=[Sine(amplitude=0.5, frequency=3)],
)


def sample(signal: Signal, angle: Array = ANGLE, seed: int = 0) -> Array:
    return signal.sample(angle[:, None], np.random.default_rng(seed))[0]


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        (Signal(), np.sin(ANGLE)),
        (Signal(amplitude_modulation=SLOW), np.sin(ANGLE) * (1 + WAVE)),
        (Signal(frequency_modulation=SLOW), np.sin(ANGLE + WAVE)),
        (Signal(chirp=2e-4), np.sin(ANGLE + 1e-4 * T * T)),
        (Signal(trend=-0.5), np.sin(ANGLE) - 0.5 * T),
        (Signal(sines=[Sine(amplitude=0.5, frequency=3)]), np.sin(ANGLE) + 0.5 * np.sin(3 * ANGLE)),
        (Signal(sines=[Sine(amplitude=1, frequency=0, phase=np.pi / 2)]), np.sin(ANGLE) + 1),
        (Signal(sines=[Sine(amplitude=2, frequency=1), Sine(amplitude=-3, frequency=1)]), np.zeros(300)),
    ],
)
def test_each_departure_is_what_it_says(signal: Signal, expected: Array) -> None:
    np.testing.assert_allclose(sample(signal), expected, rtol=0, atol=1e-12)


def test_all_departures_together() -> None:
    angle = ANGLE + WAVE + 1e-4 * T * T / 2
    expected = (1 + WAVE) * (np.sin(angle) + 0.5 * np.sin(3 * angle)) + 0.01 * T
    np.testing.assert_allclose(sample(ALL.model_copy(update={"noise": 0.0})), expected, rtol=0, atol=1e-12)


def test_a_chirp_is_a_growth_of_the_frequency() -> None:
    # far from multiples of π/2, where the arc sine would fold
    angle = np.arcsin(sample(Signal(chirp=1e-3), np.full(40, -0.4)))
    np.testing.assert_allclose(np.diff(angle, 2), 1e-3, rtol=1e-9)


def test_noise_is_white_and_of_the_given_deviation() -> None:
    noise = sample(Signal(noise=0.2), np.zeros(100_000))
    assert noise.std() == pytest.approx(0.2, rel=0.02)
    assert abs(noise.mean()) < 0.003
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.02


def test_noise_comes_from_the_seed_and_differs_between_rows() -> None:
    signal = Signal(noise=0.2)
    assert np.array_equal(sample(signal, seed=1), sample(signal, seed=1))
    assert not np.array_equal(sample(signal, seed=1), sample(signal, seed=2))
    first, second = signal.sample(np.zeros((50, 2)), np.random.default_rng(0))
    assert not np.isin(first, second).any()


def test_without_noise_nothing_is_drawn() -> None:
    random = np.random.default_rng(0)
    Signal(chirp=1e-3).sample(ANGLE[:, None], random)
    assert random.bit_generator.state == np.random.default_rng(0).bit_generator.state


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 299), st.integers(1, 4))
def test_what_comes_later_does_not_change_what_came_before(length: int, rows: int) -> None:
    angle = ANGLE[:, None] + np.arange(rows)
    whole = ALL.sample(angle, np.random.default_rng(3))
    part = ALL.sample(angle[:length], np.random.default_rng(3))
    assert whole.shape == (rows, 300)
    assert np.array_equal(whole[:, :length], part)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Signal(noise=-1.0),
        lambda: Signal(noise=float("inf")),
        lambda: Signal(trend=float("nan")),
        lambda: Modulation(depth=1.0, period=0.0),
        lambda: Sine(amplitude=1.0),  # type: ignore[call-arg]
    ],
)
def test_nonsense_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(ValidationError):
        make()
