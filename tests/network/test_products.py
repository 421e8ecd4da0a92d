"""Sums of products, by NumPy and by torch."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcast.network.products import CHUNK, NumpyProducts, TorchProducts


@pytest.mark.parametrize("make", [NumpyProducts, TorchProducts])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize(("T", "B"), [(1, 1), (40, 3), (400, 50), (3, 20_000)])
def test_sums_of_products_are_the_same_in_any_number_of_chunks(make, dtype, T, B):
    random = np.random.default_rng(0)
    left, right = (random.standard_normal((T + 1, rows, B)).astype(dtype)[:T] for rows in (8, 6))
    chunks = -(-T // max(1, CHUNK // (14 * B)))
    assert chunks == {400: 3, 3: 3}.get(T, 1)
    expected = np.einsum("trb,tcb->rc", left, right, dtype=np.result_type(dtype, np.float64))
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    total = np.ones((8, 6), dtype)
    make().add_sum(total, left, right)
    np.testing.assert_allclose(total, 1 + expected, rtol=tolerance, atol=tolerance * np.sqrt(T * B))


@pytest.mark.parametrize("make", [NumpyProducts, TorchProducts])
def test_a_product_is_written_in_place(make):
    products, random = make(), np.random.default_rng(0)
    left, right, out = random.standard_normal((3, 4)), random.standard_normal((4, 5)), np.zeros((3, 5))
    for wrap in (products.wrap, products.wrap_weight):
        out[...] = 0
        products.multiply(wrap(left), products.wrap(right), products.wrap(out))
        np.testing.assert_allclose(out, left @ right, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_a_weight_begins_with_a_cache_line(dtype):
    W = np.arange(15).reshape(3, 5).astype(dtype)
    copies = [NumpyProducts().wrap_weight(W) for _ in range(9)]
    assert all(copy.ctypes.data % 64 == 0 and copy.flags.f_contiguous for copy in copies)
    assert all(copy.dtype == dtype and (copy == W).all() for copy in copies)
