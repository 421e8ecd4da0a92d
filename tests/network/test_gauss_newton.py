"""The Gauss-Newton matrix against derivatives of the outputs by the complex step, in the other engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lstmcast.network.gauss_newton import gauss_newton_matrix
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

STEP = 1e-200


def by_complex_step(problem):
    """Return 2 JᵀJ, the columns of J one after another."""
    parameters = Parameters(problem.network, np.complex128)
    engine = NumpyEngine(problem.network, parameters)
    batch = problem.batch
    w = np.ones(batch.inputs.shape[:2]) if batch.weights is None else batch.weights
    root = np.sqrt(w / w.sum() / problem.network.output_size)[:, :, None]
    columns = []
    for unit in np.eye(problem.network.size):
        parameters.values[:] = problem.parameters.values + 1j * STEP * unit
        outputs = engine._forward(batch).y.transpose(2, 0, 1)
        columns.append((root * outputs.imag / STEP).ravel())
    J = np.stack(columns, axis=1)
    return 2 * J.T @ J


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"feedback": True, "residual": True, "weights": "random", "initial": True},
        {"head": (3,), "feedback": True, "delay": 2},
    ],
    ids=["plain", "rollout", "head"],
)
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
