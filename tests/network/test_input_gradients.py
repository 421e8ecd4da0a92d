"""Gradients with respect to what is not a parameter: inputs, initial states, gates and states on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstmcast.network.cells import CELLS
from lstmcast.network.losses import LOSSES
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

STEP = 1e-200
pytestmark = pytest.mark.parametrize("cell", CELLS)


def slope(problem, inputs, state):
    """Return the loss's derivative along directions of the inputs and the initial state, by the complex step."""
    parameters = Parameters(problem.network, np.complex128)
    parameters.values[:] = problem.parameters.values
    batch = replace(
        problem.batch,
        inputs=problem.batch.inputs + 1j * STEP * inputs,
        initial_state=problem.batch.initial_state + 1j * STEP * state,
    )
    return float(NumpyEngine(problem.network, parameters).loss(batch).imag) / STEP


@pytest.mark.parametrize("output", LOSSES)
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("weights", ["last_step", "random"])
@pytest.mark.parametrize(("feedback", "delay"), [(False, 1), (True, 1), (True, 3)], ids=["true", "fed1", "fed3"])
def test_of_inputs_and_initial_states(make_problem, cell, output, residual, weights, feedback, delay):
    options = {"residual": residual, "weights": weights, "feedback": feedback, "delay": delay, "output": output}
    problem = make_problem(cell, (3, 2), (4,), **options, features=3, initial=True)
    engine = problem.numpy()
    dx, ds = engine.input_gradients(problem.batch)
    assert (dx.shape, ds.shape) == (problem.batch.inputs.shape, problem.batch.initial_state.shape)
    random = np.random.default_rng(1)
    for x, s in ((random.standard_normal(dx.shape), 0 * ds), (0 * dx, random.standard_normal(ds.shape))):
        size = np.linalg.norm(dx) * np.linalg.norm(x) + np.linalg.norm(ds) * np.linalg.norm(s)
        assert abs((dx * x).sum() + (ds * s).sum() - slope(problem, x, s)) <= 1e-12 * size
    torch_dx, torch_ds = problem.torch().input_gradients(problem.batch)
    np.testing.assert_allclose(dx, torch_dx, rtol=1e-10, atol=1e-10 * np.abs(dx).max())
    np.testing.assert_allclose(ds, torch_ds, rtol=1e-10, atol=1e-10 * np.abs(ds).max())
    # the parameters' gradient is that of the training
    np.testing.assert_allclose(engine.parameters.gradient, problem.gradient(problem.numpy())[1], rtol=1e-12, atol=1e-16)


def test_an_input_that_is_not_read_has_none(make_problem, cell):
    problem = make_problem(cell, weights="random", feedback=True, initial=True)
    dx, _ = problem.numpy().input_gradients(problem.batch)
    padded = np.arange(dx.shape[1]) >= problem.batch.lengths[:, None]
    unread = problem.batch.feedback | padded
    assert not dx[unread].any()
    assert dx[~unread].all()


@pytest.mark.parametrize("feedback", [False, True], ids=["true", "fed"])
def test_of_the_gates_they_sum_to_the_biases(make_problem, cell, feedback):
    problem = make_problem(cell, (3, 2), weights="random", feedback=feedback)
    _, gradient = problem.gradient(problem.numpy())
    traced = problem.numpy().trace_gradients(problem.batch)
    names = CELLS[cell].gate_names or ("h",)
    for layer in range(2):
        da = np.concatenate([traced[f"layer {layer} da_{name}"].sum(axis=(0, 1)) for name in names])
        np.testing.assert_allclose(da, problem.by_name(gradient)[f"cells.{layer}.bias_ih"], rtol=1e-12, atol=1e-16)


def test_of_a_state_it_is_that_of_the_rest_from_there(make_problem, cell):
    problem = make_problem(cell, (3,), T=8)
    batch, k = replace(problem.batch, weights=np.arange(8) * (np.arange(8) > 4) * np.ones((3, 1))), 4
    traced = {key.removeprefix("layer 0 "): value for key, value in problem.numpy().trace_gradients(batch).items()}
    states = ["h", "c"][: CELLS[cell].states]
    rest = {name: getattr(batch, name)[:, k + 1 :] for name in ("inputs", "targets", "weights")}
    initial = np.concatenate([traced[name][:, k] for name in states], axis=1)
    _, ds = problem.numpy().input_gradients(replace(batch, **rest, initial_state=initial))
    np.testing.assert_allclose(traced["dh"][:, k], ds[:, :3], rtol=1e-11)
    if cell == "lstm":
        # c also acts through h = o tanh(c)
        through_h = ds[:, :3] * traced["o"][:, k] * (1 - np.tanh(traced["c"][:, k]) ** 2)
        np.testing.assert_allclose(traced["dc"][:, k], ds[:, 3:] + through_h, rtol=1e-11)
