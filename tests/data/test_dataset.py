from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcast.data.dataset import Borders, Scaler, check_window
from lstmcast.errors import InvalidError


def test_a_fitted_scaler_standardises_each_feature() -> None:
    values = np.random.default_rng(0).normal([1e6, -5, 0], [1e3, 0.01, 1], (3, 200, 3))
    scaled = Scaler.fit(values).apply(values)
    np.testing.assert_allclose(scaled.mean(axis=(0, 1)), 0, atol=1e-9)
    np.testing.assert_allclose(scaled.std(axis=(0, 1)), 1)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=4),
    st.floats(-1e9, 1e9),
    st.floats(1e-6, 1e9),
)
def test_invert_undoes_apply(values: list[float], mean: float, scale: float) -> None:
    scaler = Scaler(np.array([mean]), np.array([scale]))
    rows = np.array(values)[:, None]
    np.testing.assert_allclose(scaler.invert(scaler.apply(rows)), rows, rtol=1e-12, atol=1e-6)


def test_the_identity_changes_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(5, 2))
    assert np.array_equal(Scaler.identity(2).apply(values), values)
    assert np.array_equal(Scaler.identity(2).invert(values), values)


@pytest.mark.parametrize("value", [0.0, 5.0, 0.1, -1e9 / 3, 1e-300])
def test_a_constant_feature_keeps_its_scale(value: float) -> None:
    assert Scaler.fit(np.full((1000, 1), value)).scale == 1


def test_a_feature_that_varies_little_is_scaled() -> None:
    values = np.tile([1e6, 1e6 + 1e-4], 500)[:, None]
    assert Scaler.fit(values).scale == pytest.approx(5e-5, rel=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10_000), st.floats(0, 0.99), st.floats(0.01, 0.99))
def test_borders_are_the_shares_in_order_or_refused(length: int, validation: float, test: float) -> None:
    try:
        borders = Borders.cut(length, validation, test)
    except InvalidError:
        assert length * (1 - validation - test) < 2 or length * test < 1 or length * validation < 1
        return
    assert 0 < borders.train <= borders.validation < borders.length == length
    assert abs(borders.length - borders.validation - length * test) <= 0.5
    assert abs(borders.validation - borders.train - length * validation) <= 0.5
    rows = np.zeros((1, length, 1))
    held = borders.validation_held(rows)
    assert (held is None) == (validation == 0)
    assert borders.test_held(rows).rows.shape[1] == length


@pytest.mark.parametrize(
    ("length", "validation", "test"), [(10, 0.5, 0.5), (10, 0.0, 0.01), (10, 0.01, 0.3), (1, 0, 0.9)]
)
def test_an_empty_part_is_refused(length: int, validation: float, test: float) -> None:
    with pytest.raises(InvalidError, match="each part needs at least one"):
        Borders.cut(length, validation, test)


def test_a_window_fits_exactly_or_not() -> None:
    check_window("data.timesteps", "place", 10, 7, 3)
    with pytest.raises(
        InvalidError, match=r"timesteps 7 \+ horizon 4 = 11 steps does not fit into the place"
    ) as caught:
        check_window("data.timesteps", "place", 10, 7, 4)
    assert caught.value.exit_code == 5
    assert "data.timesteps" in str(caught.value.hint)
