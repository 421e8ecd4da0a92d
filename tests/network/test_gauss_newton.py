"""The Gauss-Newton matrix against derivatives of the outputs by the complex step, in the other engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstmcast.network.cells import CELLS
from lstmcast.network.gauss_newton import bending, gauss_newton_matrix
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

STEP = 1e-200
OPTIONS = {
    "plain": {},
    "rollout": {"feedback": True, "residual": True, "weights": "random", "initial": True},
    "head": {"head": (3,), "feedback": True, "delay": 2},
}


def derivative(problem, at, direction):
    """Return the residuals' derivative along a direction, at other parameters than the problem's."""
    parameters = Parameters(problem.network, np.complex128)
    parameters.values[:] = at + 1j * STEP * direction
    batch = problem.batch
    w = np.ones(batch.inputs.shape[:2]) if batch.weights is None else batch.weights
    root = np.sqrt(w / w.sum() / problem.network.output_size)[:, :, None]
    outputs = NumpyEngine(problem.network, parameters).forward(batch).y.transpose(2, 0, 1)
    return (root * outputs.imag / STEP).ravel()


def jacobian(problem):
    theta = problem.parameters.values
    return np.stack([derivative(problem, theta, unit) for unit in np.eye(len(theta))], axis=1)


def by_complex_step(problem):
    J = jacobian(problem)
    return 2 * J.T @ J


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_is_that_of_the_complex_step(make_problem, cell, options):
    problem = make_problem(cell, (2, 3), **options)
    ours = gauss_newton_matrix(problem.network, problem.parameters, problem.batch)
    true = by_complex_step(problem)
    assert np.abs(ours - true).max() < 1e-12 * np.abs(true).max()


def test_the_path_through_predictions_counts(make_problem):
    problem = make_problem("lstm", feedback=True)
    forced = replace(problem.batch, feedback=None)
    true = by_complex_step(problem)
    ours = gauss_newton_matrix(problem.network, problem.parameters, forced)
    assert np.abs(ours - true).max() > 1e-3 * np.abs(true).max()


@pytest.mark.parametrize("delay", [1, 2])
def test_steps_and_sequences_taken_a_few_at_a_time_add_up(make_problem, monkeypatch, delay):
    problem = make_problem("lstm", feedback=True, weights="random", initial=True, delay=delay)
    whole = gauss_newton_matrix(problem.network, problem.parameters, problem.batch)
    numbers = (problem.network.state_size + problem.network.output_size) * problem.network.size
    for sequences_times_steps in (1, 2, 6):
        monkeypatch.setattr("lstmcast.network.gauss_newton.NUMBERS", sequences_times_steps * numbers)
        parts = gauss_newton_matrix(problem.network, problem.parameters, problem.batch)
        assert np.abs(parts - whole).max() < 1e-12 * np.abs(whole).max()


def test_it_can_be_stopped(make_problem):
    problem = make_problem("lstm")

    def pause():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        gauss_newton_matrix(problem.network, problem.parameters, problem.batch, pause)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_bending_is_that_of_the_residuals(make_problem, cell, options):
    problem = make_problem(cell, (2, 3), **options)
    theta = problem.parameters.values
    v = 0.001 * np.random.default_rng(0).standard_normal(len(theta))
    second = (derivative(problem, theta + 1e-2 * v, v) - derivative(problem, theta - 1e-2 * v, v)) / 2e-2
    true, before = 2 * jacobian(problem).T @ second, theta.copy()
    ours = bending(problem.network, problem.parameters, problem.batch, v)
    assert np.abs(ours - true).max() < 1e-3 * np.abs(true).max()
    np.testing.assert_array_equal(theta, before)
    single = Parameters(problem.network, np.float32)
    single.values[:] = theta
    rounded = bending(problem.network, single, problem.batch, v.astype(np.float32))
    assert rounded.dtype == np.float32
    assert np.abs(rounded - true).max() < 1e-2 * np.abs(true).max()
    forced = bending(problem.network, problem.parameters, replace(problem.batch, feedback=None), v)
    assert (np.abs(forced - true).max() > 1e-2 * np.abs(true).max()) == ("feedback" in options)
