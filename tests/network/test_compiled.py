"""Compiled passes: what the plain ones compute but for rounding, and done without where they cannot be had."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from lstmcast.network import tape
from lstmcast.network.cells import CELLS
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.products import TorchProducts

pytest.importorskip("numba")
COMPILED = [name for name, cell in CELLS.items() if cell.compiles]
EVERYTHING = {"residual": True, "weights": "random", "feedback": True, "delay": 2, "initial": True}
ALLOWED = {np.float32: 1e-4, np.float64: 1e-12}


def compiled(problem, **options):
    engine = NumpyEngine(problem.network, problem.parameters, **options)
    engine.compile()
    assert type(engine._cell) is not type(CELLS[problem.network.cell])
    return engine


@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("B", [1, 3, 40])
@pytest.mark.parametrize("options", [{}, EVERYTHING])
@pytest.mark.parametrize(("chunk", "recompute"), [(2**18, False), (3000, False), (3000, True)])
def test_all_is_that_of_the_plain_passes(make_problem, monkeypatch, cell, dtype, B, options, chunk, recompute):
    monkeypatch.setattr(tape, "CHUNK", chunk)
    problem = make_problem(cell, (7, 5), (3,), T=30, B=B, dtype=dtype, **options)
    problem.parameters.values *= 1.5
    plain = NumpyEngine(problem.network, problem.parameters, TorchProducts(), recompute=recompute)
    ours = compiled(problem, products=TorchProducts(), recompute=recompute)
    loss, gradient = problem.gradient(plain)
    for _ in range(2):
        assert problem.gradient(ours)[0] == pytest.approx(loss, rel=ALLOWED[dtype])
        assert problem.mismatch(ours.parameters.gradient, gradient) < ALLOWED[dtype]
    theirs, traced = plain.trace_gradients(problem.batch), ours.trace_gradients(problem.batch)
    assert theirs.keys() == traced.keys()
    for name, array in theirs.items():
        np.testing.assert_allclose(traced[name], array, rtol=0, atol=ALLOWED[dtype] * np.abs(array).max(), err_msg=name)


@pytest.mark.parametrize("cell", COMPILED)
def test_a_compiled_rollout_is_the_plain_one(make_problem, cell):
    problem = make_problem(cell)
    plain, ours = problem.numpy().stream(problem.batch.inputs), compiled(problem).stream(problem.batch.inputs)
    for _ in range(40):
        np.testing.assert_allclose(next(ours), next(plain), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_exponential_is_off_by_two_units_in_the_last_place_at_most(dtype):
    loops = importlib.import_module("lstmcast.network.cells.compiled")

    @loops.loop
    def compute(x, results):
        for k in range(len(x)):
            results[0, k], results[1, k], results[2, k] = loops.expm1(x[k]), loops._sigmoid(x[k]), loops._tanh(x[k])

    random = np.random.default_rng(0)
    small = 10.0 ** random.uniform(-30, 0, 100_000) * random.choice([-1, 1], 100_000)
    x = np.concatenate([random.uniform(-30, 30, 100_000), random.standard_normal(100_000), small]).astype(dtype)
    results = np.empty((3, len(x)), dtype)
    compute(x, results)
    exact = x.astype(np.longdouble)
    if dtype == np.float64 and np.finfo(exact.dtype).eps == np.finfo(dtype).eps:
        pytest.skip("there is nothing more exact to compare with")
    truths = np.expm1(exact), 1 / (1 + np.exp(-2 * exact)), np.tanh(exact)
    for result, truth, allowed in zip(results, truths, (2, 3, 3), strict=True):
        assert (np.abs(result - truth) / np.spacing(np.abs(truth).astype(dtype))).max() < allowed
    # far out, and no number at all, wherever it stands
    far = np.array([np.inf, 1e30, -np.inf, -1e30], dtype)
    compute(far, results)
    assert np.isfinite(results[0, :4]).all()
    np.testing.assert_allclose(results[1, :4], [1, 1, 0, 0], atol=1e-37)
    assert results[2, :4].tolist() == [1, 1, -1, -1]
    for k in range(37):
        x = np.zeros(37, dtype)
        x[k] = np.nan
        compute(x, results)
        for result in results[:, :37]:
            assert np.flatnonzero(np.isnan(result)).tolist() == [k]


def test_each_cell_that_compiles_has_its_loops():
    assert set(importlib.import_module("lstmcast.network.cells.compiled").COMPILED) == set(COMPILED) == {"lstm", "gru"}


def test_an_rnn_stays_with_the_plain_passes(make_problem):
    engine = make_problem("rnn").numpy()
    engine.compile()
    assert engine._cell is CELLS["rnn"]


def test_complex_numbers_stay_with_the_plain_passes(make_problem):
    problem = make_problem("lstm")
    engine = NumpyEngine(problem.network, Parameters(problem.network, np.complex128))
    engine.compile()
    assert engine._cell is CELLS["lstm"]


WITHOUT = """
import sys
import numpy as np
{before}
from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

network = Network("lstm", 1, (3,), (), 1)
parameters = Parameters(network, np.float64)
parameters.initialize(network, np.random.default_rng(0))
engine, batch = NumpyEngine(network, parameters), Batch(np.ones((2, 5, 1)), np.zeros((2, 5, 1)))
engine.compile()
print(type(engine._cell).__name__, engine.loss_and_gradient(batch).hex())
"""
LACKS = {
    "numba": ("sys.modules['numba'] = None", {}),
    "a numba for this NumPy": ("np.__version__ = '99.0'", {}),
    "leave to compile": ("", {"NUMBA_DISABLE_JIT": "1"}),
}


def said(before="", environment=()):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(before=before)],
        capture_output=True, text=True, check=True, env={**os.environ, **dict(environment)},
    )  # fmt: skip
    assert run.stderr == ""
    return run.stdout.split()


@pytest.fixture(scope="module")
def said_with_all():
    return said()


@pytest.mark.parametrize("lack", LACKS)
def test_what_compiling_lacks_costs_only_time(said_with_all, lack):
    kind, loss = said(*LACKS[lack])
    assert kind == "LSTM"
    name, other = said_with_all
    assert name == "CompiledLSTM"
    assert float.fromhex(loss) == pytest.approx(float.fromhex(other), rel=1e-14)


@pytest.mark.parametrize("error", [0, 1e-11])
def test_a_loop_that_is_off_by_more_than_rounding_is_not_taken(make_problem, monkeypatch, error):
    loops = importlib.import_module("lstmcast.network.cells.compiled")
    sound = loops._lstm_backward

    def inexact(t, memory, d, carry, dh, dc):
        sound(t, memory, d, carry * (1 + error), dh, dc)

    monkeypatch.setattr(loops, "_lstm_backward", inexact)
    engine = make_problem("lstm").numpy()
    engine.compile()
    assert (engine._cell is CELLS["lstm"]) == bool(error)
