"""Compiled passes: the bytes of the plain ones, taken when they pay, and done without where they cannot be had."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from lstmcast.network import cells, numpy_engine, tape
from lstmcast.network.cells import CELLS
from lstmcast.network.engine import make_training_engine
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.products import TorchProducts

pytest.importorskip("numba")
COMPILED = ["lstm", "gru"]
EVERYTHING = {"residual": True, "weights": "random", "feedback": True, "delay": 2, "initial": True}


def compiled(problem):
    engine = problem.numpy()
    engine.compile()
    assert type(engine._cell) is not type(CELLS[problem.network.cell])
    return engine


@pytest.mark.parametrize("cell", COMPILED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("B", [1, 3, 40])
@pytest.mark.parametrize("options", [{}, EVERYTHING])
@pytest.mark.parametrize(("chunk", "recompute"), [(2**18, False), (3000, False), (3000, True)])
def test_every_byte_is_that_of_the_plain_passes(make_problem, monkeypatch, cell, dtype, B, options, chunk, recompute):
    monkeypatch.setattr(tape, "CHUNK", chunk)
    problem = make_problem(cell, (7, 5), (3,), T=30, B=B, dtype=dtype, **options)
    # saturated gates and small ones
    problem.parameters.values *= 4
    plain, ours = (
        NumpyEngine(problem.network, problem.parameters, TorchProducts(), recompute=recompute) for _ in range(2)
    )
    ours.compile()
    assert type(ours._cell) is not type(plain._cell)
    loss, gradient = problem.gradient(plain)
    for _ in range(2):
        assert problem.gradient(ours)[0] == loss
        assert ours.parameters.gradient.tobytes() == gradient.tobytes()
    theirs, traced = plain.trace_gradients(problem.batch), ours.trace_gradients(problem.batch)
    assert theirs.keys() == traced.keys()
    assert all(theirs[name].tobytes() == traced[name].tobytes() for name in theirs)


@pytest.mark.parametrize("cell", COMPILED)
def test_a_compiled_rollout_has_the_same_bytes(make_problem, cell):
    problem = make_problem(cell)
    changing = problem.numpy()
    engines = problem.numpy(), compiled(problem), changing
    streams = [engine.stream(problem.batch.inputs) for engine in engines]
    for k in range(40):
        assert len({next(stream).tobytes() for stream in streams}) == 1
        if k == 5:
            changing.compile()


@pytest.mark.parametrize("cell", CELLS)
def test_a_training_compiles_once_that_pays_and_its_other_stages_at_once(make_problem, monkeypatch, cell):
    monkeypatch.delattr(cells, "compiled", raising=False)
    monkeypatch.delitem(sys.modules, f"{cells.__name__}.compiled", raising=False)
    problem = make_problem(cell)
    monkeypatch.setattr(numpy_engine, "PAYS", 2 * 7 * 2 * (numpy_engine.CALLS + 3 * 3))
    kinds, results = [], set()
    stages = [
        make_training_engine("numpy", problem.network, problem.parameters, device="cpu", recompute=False)
        for _ in range(2)
    ]
    for engine in (*[stages[0]] * 4, *[stages[1]] * 2):
        loss, gradient = problem.gradient(engine)
        results.add((loss, gradient.tobytes()))
        kinds.append(type(engine._cell).__name__)
    plain = type(CELLS[cell]).__name__
    then = f"Compiled{plain}" if cell in COMPILED else plain
    assert kinds == [plain, plain, then, then, then, then]
    assert len(results) == 1


def test_an_engine_that_does_not_train_never_compiles(make_problem, monkeypatch):
    monkeypatch.setattr(numpy_engine, "PAYS", 0)
    problem = make_problem("lstm")
    engine = problem.numpy()
    problem.gradient(engine)
    assert engine._cell is CELLS["lstm"]


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
    assert ["CompiledLSTM", loss] == said_with_all


@pytest.mark.parametrize("error", [0, 1e-15])
def test_a_loop_that_is_off_by_a_bit_is_not_taken(make_problem, monkeypatch, error):
    loops = importlib.import_module("lstmcast.network.cells.compiled")
    sound = loops._lstm_backward

    def inexact(t, memory, d, carry, dh, dc):
        sound(t, memory, d, carry * (1 + error), dh, dc)

    monkeypatch.setattr(loops, "_lstm_backward", inexact)
    engine = make_problem("lstm").numpy()
    engine.compile()
    assert (engine._cell is CELLS["lstm"]) == bool(error)
