"""The hand-derived gradient against the complex step and against autograd, in every way to put a network together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstmcast.network import tape
from lstmcast.network.cells import CELLS
from lstmcast.network.losses import LOSSES
from lstmcast.network.numpy_engine import LARGE, MANY, NumpyEngine
from lstmcast.network.products import NumpyProducts, TorchProducts

networks = [
    pytest.mark.parametrize("cell", CELLS),
    pytest.mark.parametrize("hidden", [(3, 3), (2, 4)], ids=["equal", "unequal"]),
    pytest.mark.parametrize("head", [(), (4, 3)], ids=["linear", "relu"]),
    pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"]),
]
batches = [
    pytest.mark.parametrize("weights", ["last_step", "all", "warmup", "random"]),
    pytest.mark.parametrize("feedback", [False, True], ids=["true", "fed"]),
    pytest.mark.parametrize("delay", [1, 3], ids=["delay1", "delay3"]),
    pytest.mark.parametrize("initial", [False, True], ids=["zero", "state"]),
]


def every(*marks):
    def decorate(test):
        for mark in marks:
            test = mark(test)
        return test

    return decorate


@every(*networks, *batches)
def test_along_a_direction_in_each_parameter_it_is_the_complex_steps(
    make_problem, cell, hidden, head, residual, weights, feedback, delay, initial
):
    problem = make_problem(
        cell, hidden, head, residual=residual, weights=weights, feedback=feedback, delay=delay, initial=initial
    )
    loss, gradient = problem.gradient(problem.numpy())
    slope = problem.slope()
    assert np.isfinite(loss)
    assert np.linalg.norm(gradient) > 0
    for name, direction in problem.directions(np.random.default_rng(1)):
        size = np.linalg.norm(gradient[direction != 0]) * np.linalg.norm(direction)
        assert abs(gradient @ direction - slope(direction)) <= 1e-12 * size, name


@every(*networks)
@pytest.mark.parametrize("delay", [1, 3], ids=["delay1", "delay3"])
def test_element_by_element_it_is_the_complex_steps(make_problem, cell, hidden, head, residual, delay):
    problem = make_problem(
        cell, hidden, head, residual=residual, weights="random", feedback=True, delay=delay, initial=True, T=6, B=2
    )
    _, gradient = problem.gradient(problem.numpy())
    assert problem.mismatch(gradient, problem.complex_gradient()) < 1e-12


@every(*networks, *batches)
def test_it_is_autograds(make_problem, cell, hidden, head, residual, weights, feedback, delay, initial):
    problem = make_problem(
        cell, hidden, head, residual=residual, weights=weights, feedback=feedback, delay=delay, initial=initial
    )
    loss, gradient = problem.gradient(problem.numpy())
    # cells of unequal sizes cannot be fused
    for fused in (False, True) if len(set(hidden)) == 1 else (False,):
        torch_loss, torch_gradient = problem.gradient(problem.torch(fused=fused))
        assert loss == pytest.approx(torch_loss, rel=1e-10)
        assert problem.mismatch(gradient, torch_gradient) < 1e-10


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("output", LOSSES)
@pytest.mark.parametrize("features", [2, 5])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("weights", ["last_step", "all", "warmup", "random"])
@pytest.mark.parametrize("feedback", [False, True], ids=["true", "fed"])
def test_it_is_right_for_every_output(make_problem, cell, output, features, residual, weights, feedback):
    options = {"features": features, "residual": residual, "weights": weights, "feedback": feedback, "initial": True}
    problem = make_problem(cell, (3,), output=output, **options)
    loss, gradient = problem.gradient(problem.numpy())
    slope = problem.slope()
    for name, direction in problem.directions(np.random.default_rng(1)):
        size = np.linalg.norm(gradient[direction != 0]) * np.linalg.norm(direction)
        assert abs(gradient @ direction - slope(direction)) <= 1e-12 * size, name
    torch_loss, torch_gradient = problem.gradient(problem.torch())
    assert loss == pytest.approx(torch_loss, rel=1e-10)
    assert problem.mismatch(gradient, torch_gradient) < 1e-10


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(sorted(CELLS)),
    hidden=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    head=st.lists(st.integers(1, 4), max_size=2).map(tuple),
    features=st.integers(1, 3),
    T=st.integers(1, 6),
    B=st.integers(1, 4),
    residual=st.booleans(),
    feedback=st.booleans(),
    seed=st.integers(0, 9),
)
def test_it_is_right_in_any_size(make_problem, cell, hidden, head, features, T, B, residual, feedback, seed):
    problem = make_problem(
        cell, hidden, head, features=features, T=T, B=B, residual=residual, feedback=feedback, initial=True, seed=seed
    )
    loss, gradient = problem.gradient(problem.numpy())
    direction = np.random.default_rng(seed).standard_normal(problem.network.size)
    slope = problem.slope()(direction)
    assert abs(gradient @ direction - slope) <= 1e-12 * np.linalg.norm(gradient) * np.linalg.norm(direction)
    torch_loss, torch_gradient = problem.gradient(problem.torch())
    assert loss == pytest.approx(torch_loss, rel=1e-10)
    assert problem.mismatch(gradient, torch_gradient) < 1e-10


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("feedback", [False, True], ids=["true", "fed"])
def test_float32_is_close_to_float64(make_problem, cell, feedback):
    options = {"head": (4,), "weights": "warmup", "feedback": feedback, "initial": True, "T": 30}
    problem = make_problem(cell, **options)
    single = make_problem(cell, **options, dtype=np.float32)
    loss, gradient = problem.gradient(problem.numpy())
    for engine in (single.numpy(), single.torch()):
        single_loss, single_gradient = single.gradient(engine)
        assert single_gradient.dtype == np.float32
        assert single_loss == pytest.approx(loss, rel=1e-5)
        assert 0 < problem.mismatch(single_gradient, gradient) < 1e-4


@every(*networks)
@pytest.mark.parametrize("feedback", [False, True], ids=["true", "fed"])
@pytest.mark.parametrize("T", [1, 2, 9, 11])
def test_recomputing_what_was_not_remembered_changes_nothing(make_problem, cell, hidden, head, residual, feedback, T):
    weights = "random" if T > 2 else "all"
    options = {"residual": residual, "weights": weights, "feedback": feedback, "initial": True, "T": T}
    problem = make_problem(cell, hidden, head, delay=2, **options)
    frugal = NumpyEngine(problem.network, problem.parameters, recompute=True)
    loss, gradient = problem.gradient(problem.numpy())
    again, same = problem.gradient(frugal)
    assert again == loss
    np.testing.assert_allclose(same, gradient, rtol=1e-13, atol=1e-16)
    theirs = problem.numpy().input_gradients(problem.batch)
    for mine, other in zip(frugal.input_gradients(problem.batch), theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-13, atol=1e-16)
    kept = next(iter(frugal._tapes.values())).T
    assert (kept - 1) ** 2 < T <= kept**2


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("chunk", [1, 400, 10_000])
def test_torchs_products_and_small_chunks_change_nothing_but_rounding(make_problem, monkeypatch, cell, chunk):
    options = {"residual": True, "weights": "random", "feedback": True, "initial": True, "T": 11, "B": MANY}
    problem = make_problem(cell, (3, 2), (4,), **options)
    loss, gradient = problem.gradient(problem.numpy())
    monkeypatch.setattr(tape, "CHUNK", chunk)
    for products in (NumpyProducts(), TorchProducts()):
        engine = NumpyEngine(problem.network, problem.parameters, products)
        again, same = problem.gradient(engine)
        assert next(iter(engine._tapes.values())).products is products
        assert again == pytest.approx(loss, rel=1e-13)
        assert problem.mismatch(same, gradient) < 1e-13


@pytest.mark.parametrize(("hidden_size", "large"), [(LARGE // 16 - 1, False), (LARGE // 16, True)])
def test_a_large_state_takes_torchs_products_whatever_the_batch(make_problem, hidden_size, large):
    problem = make_problem("rnn", (2, hidden_size), T=3, B=2)
    products = TorchProducts()
    engine = NumpyEngine(problem.network, problem.parameters, products)
    _, gradient = problem.gradient(engine)
    assert (next(iter(engine._tapes.values())).products is products) == large
    assert problem.mismatch(gradient, problem.gradient(problem.torch())[1]) < 1e-12
