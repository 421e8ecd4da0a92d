"""Cells and head, step by step, against ``torch.nn`` modules built by hand with the same parameters."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from torch import nn

from lstmcast.network.cells import CELLS
from lstmcast.network.torch_engine import make_cell

IN_TORCH = [name for name, cell in CELLS.items() if cell.torch_name]
WITH_TWIN = [name for name, cell in CELLS.items() if cell.torch_step]


def under(views, prefix):
    """Return the parameters under a prefix as a state dict."""
    return {
        name.removeprefix(prefix): torch.from_numpy(view.copy())
        for name, view in views.items()
        if name.startswith(prefix)
    }


def torch_cells(problem, name):
    sizes = (problem.network.input_size, *problem.network.hidden_sizes)
    for layer, (inputs, hidden) in enumerate(pairwise(sizes)):
        cell = make_cell(name, inputs, hidden).double()
        cell.load_state_dict(under(problem.parameters.views, f"cells.{layer}."), strict=True)
        yield cell


def torch_head(problem):
    network = problem.network
    layers = []
    for k, (inputs, width) in enumerate(pairwise((network.hidden_sizes[-1], *network.head_sizes, network.output_size))):
        layer = nn.Linear(inputs, width, dtype=torch.float64)
        layer.load_state_dict(under(problem.parameters.views, f"head.{k}."), strict=True)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("name", IN_TORCH)
@torch.no_grad()
def test_the_step_written_in_torch_is_the_modules(name):
    cell, module = CELLS[name], make_cell(name, 3, 5).double()
    x, *state = torch.randn(2, 4, 5, dtype=torch.float64)[:, :, :3], *torch.randn(cell.states, 4, 5).double()
    theirs = module(x[0], tuple(state) if cell.states == 2 else state[0])
    ours = cell.torch_step(dict(module.named_parameters()), x[0], tuple(state), lambda _, value: value)
    for one, other in zip(ours, theirs if cell.states == 2 else (theirs,), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", WITH_TWIN)
@pytest.mark.parametrize("hidden", [(4,), (3, 5)], ids=str)
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@torch.no_grad()
def test_each_step_is_the_modules(make_problem, name, hidden, residual):
    problem = make_problem(name, hidden, (4, 3), residual=residual)
    engine, x = problem.numpy(), torch.from_numpy(problem.batch.inputs)
    traced, predicted = engine.trace(problem.batch.inputs), engine.predict(problem.batch.inputs)
    cells, head = list(torch_cells(problem, name)), torch_head(problem)
    two, (N, *_) = CELLS[name].states == 2, x.shape
    zeros = [torch.zeros(N, H, dtype=x.dtype) for H in hidden]
    states = [(zero, zero) if two else zero for zero in zeros]
    for t in range(x.shape[1]):
        h = x[:, t]
        for layer, cell in enumerate(cells):
            states[layer] = cell(h, states[layer])
            h, *c = states[layer] if two else (states[layer],)
            np.testing.assert_allclose(traced[f"layer {layer} h"][:, t], h, rtol=1e-13, atol=1e-15)
            if c:
                np.testing.assert_allclose(traced[f"layer {layer} c"][:, t], c[0], rtol=1e-13, atol=1e-15)
        y = head(h) + (x[:, t] if residual else 0)
        np.testing.assert_allclose(predicted[:, t], y, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", CELLS)
def test_traced_gates_are_shares_and_make_the_next_state(make_problem, name):
    problem = make_problem(name, (3,))
    traced = problem.numpy().trace(problem.batch.inputs)
    assert list(traced) == [f"layer 0 {gate}" for gate in (*CELLS[name].gate_names, *"ch"[2 - CELLS[name].states :])]
    state = {key.removeprefix("layer 0 "): value for key, value in traced.items()}
    assert all(((state[gate] > 0) & (state[gate] < 1)).all() for gate in state.keys() & {"i", "f", "o", "r", "z"})
    before = {key: np.concatenate([np.zeros_like(value[:, :1]), value[:, :-1]], 1) for key, value in state.items()}
    if name == "lstm":
        np.testing.assert_allclose(state["c"], state["f"] * before["c"] + state["i"] * state["g"], rtol=1e-14)
        np.testing.assert_allclose(state["h"], state["o"] * np.tanh(state["c"]), rtol=1e-14)
    if name == "gru":
        expected = (1 - state["z"]) * state["n"] + state["z"] * before["h"]
        np.testing.assert_allclose(state["h"], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", WITH_TWIN)
@pytest.mark.parametrize("hidden", [(6, 6), (6, 4)], ids=["equal", "unequal"])
@pytest.mark.parametrize("delay", [1, 3])
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_the_engines_agree_over_a_forecast_of_1000_steps(make_problem, name, hidden, delay, residual):
    problem = make_problem(name, hidden, residual=residual, T=20, B=2)
    ours, theirs = (
        np.stack(list(islice(engine.stream(problem.batch.inputs, delay), 1000)), axis=1)
        for engine in (problem.numpy(), problem.torch())
    )
    assert ours.shape == (2, 1000, 2)
    assert np.abs(ours[:, -500:]).max() > 1e-3
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * np.abs(theirs).max())
