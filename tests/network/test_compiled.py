"""Compiled passes: the bytes of the plain ones, taken when they pay, and done without where they cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from lstmcast.network import cells, numpy_engine
from lstmcast.network.cells import CELLS
from lstmcast.network.engine import make_training_engine
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

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
def test_every_byte_is_that_of_the_plain_passes(make_problem, cell, dtype, B, options):
    problem = make_problem(cell, (7, 5), (3,), T=30, B=B, dtype=dtype, **options)
    # saturated gates and small ones
    problem.parameters.values *= 4
    loss, gradient = problem.gradient(problem.numpy())
    engine = compiled(problem)
    for _ in range(2):
        assert problem.gradient(engine)[0] == loss
        assert engine.parameters.gradient.tobytes() == gradient.tobytes()
    plain, ours = problem.numpy().trace_gradients(problem.batch), engine.trace_gradients(problem.batch)
    assert plain.keys() == ours.keys()
    assert all(plain[name].tobytes() == ours[name].tobytes() for name in plain)


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


@pytest.fixture
def kinds(make_problem, monkeypatch):
    """Return the classes of the cell in each of four steps of a training, in which three steps' work pays."""

    def train(cell):
        problem = make_problem(cell)
        monkeypatch.setattr(numpy_engine, "PAYS", 2 * 7 * 2 * (numpy_engine.CALLS + 3 * 3))
        engine = make_training_engine("numpy", problem.network, problem.parameters, device="cpu", recompute=False)
        kinds, results = [], set()
        for _ in range(4):
            loss, gradient = problem.gradient(engine)
            results.add((loss, gradient.tobytes()))
            kinds.append(type(engine._cell).__name__)
        assert len(results) == 1
        return kinds

    return train


@pytest.mark.parametrize("cell", CELLS)
def test_a_training_compiles_once_that_pays_and_its_next_stage_at_once(kinds, monkeypatch, cell):
    monkeypatch.delattr(cells, "compiled", raising=False)
    monkeypatch.delitem(sys.modules, f"{cells.__name__}.compiled", raising=False)
    plain = type(CELLS[cell]).__name__
    then = f"Compiled{plain}" if cell in COMPILED else plain
    assert kinds(cell) == [plain, plain, then, then]
    assert kinds(cell) == [then] * 4


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
    "space to write": ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))", {}),
}


def said(folder, before="", environment=()):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(before=before)],
        capture_output=True, text=True, check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(folder), **dict(environment)},
    )  # fmt: skip
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.parametrize("lack", LACKS)
def test_what_compiling_lacks_costs_only_time(lack, tmp_path):
    kind, loss = said(tmp_path, *LACKS[lack])
    assert kind == "LSTM"
    assert ["CompiledLSTM", loss] == said(tmp_path)


def test_a_wrong_loop_would_be_seen(make_problem, monkeypatch):
    from lstmcast.network.cells import compiled as loops

    problem = make_problem("lstm")
    right = problem.gradient(problem.numpy())[1]
    sound = loops._lstm_backward

    def wrong(m, d, carry, dh, dc):
        sound(m, d, carry * (1 + 1e-15), dh, dc)

    engine = compiled(problem)
    monkeypatch.setattr(loops, "_lstm_backward", wrong)
    assert problem.gradient(engine)[1].tobytes() != right.tobytes()
