"""Parameters: one flat vector, and named views into it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from lstmcast.errors import InvalidError
from lstmcast.network.cells import CELLS
from lstmcast.network.description import Network
from lstmcast.network.parameters import Parameters
from lstmcast.network.torch_engine import TorchEngine, make_cell


@pytest.fixture(params=CELLS)
def network(request):
    return Network(request.param, 2, (3, 4), (5,), 2)


@pytest.fixture
def parameters(network):
    made = Parameters(network)
    made.initialize(network, np.random.default_rng(0))
    return made


def test_names_and_shapes_are_torchs(network):
    model = nn.Module()
    sizes = (network.input_size, *network.hidden_sizes)
    model.cells = nn.ModuleList(make_cell(network.cell, inputs, hidden) for inputs, hidden in pairwise(sizes))
    widths = (network.hidden_sizes[-1], *network.head_sizes, network.output_size)
    model.head = nn.ModuleList(nn.Linear(inputs, width) for inputs, width in pairwise(widths))
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == network.shapes
    assert network.size == sum(value.numel() for value in model.parameters())


@pytest.mark.parametrize(("flat", "views"), [("values", "views"), ("gradient", "gradient_views")])
def test_views_cover_the_vector_once_and_share_its_memory(network, parameters, flat, views):
    vector, named = getattr(parameters, flat), getattr(parameters, views)
    assert {name: view.shape for name, view in named.items()} == network.shapes
    for number, view in enumerate(named.values(), start=1):
        assert np.shares_memory(view, vector)
        view[...] = number
    counted = np.repeat(np.arange(1, len(named) + 1), [view.size for view in named.values()])
    np.testing.assert_array_equal(vector, counted)
    vector[:] = -1.0
    assert all((view == -1).all() for view in named.values())


def test_torchs_modules_share_the_memory_too(network, parameters):
    engine = TorchEngine(network, parameters)
    inputs = np.ones((1, 3, 2))
    before = engine.predict(inputs).copy()
    parameters.values[:] = 0
    assert not engine.predict(inputs).any()
    assert before.any()
    shared = torch.from_numpy(parameters.values)
    shared += 1
    assert (parameters.views["head.0.weight"] == 1).all()


def test_initial_values_are_uniform_within_torchs_bounds(network):
    wide = Network(network.cell, 2, (30, 40), (50,), 2)
    parameters = Parameters(wide)
    parameters.initialize(wide, np.random.default_rng(0))
    for name, view in parameters.views.items():
        fan = {"cells.0": 30, "cells.1": 40, "head.0": 40, "head.1": 50}[name.rpartition(".")[0]]
        assert np.abs(view).max() <= fan**-0.5
        if view.size > 100:
            assert np.abs(view).max() > 0.95 * fan**-0.5
            assert view.std() == pytest.approx((3 * fan) ** -0.5, rel=0.1)


def test_the_same_seed_draws_the_same_values(network, parameters):
    again, other = Parameters(network), Parameters(network)
    again.initialize(network, np.random.default_rng(0))
    other.initialize(network, np.random.default_rng(1))
    np.testing.assert_array_equal(again.values, parameters.values)
    assert (other.values != parameters.values).all()


def test_what_is_saved_by_name_is_loaded(network, parameters):
    again = Parameters(network)
    vector = again.values
    again.load({name: view.copy() for name, view in reversed(parameters.views.items())})
    np.testing.assert_array_equal(again.values, parameters.values)
    assert again.values is vector


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda arrays: arrays.pop("head.0.bias"), r"missing or unknown: head\.0\.bias"),
        (lambda arrays: arrays.update(extra=np.zeros(1)), "missing or unknown: extra"),
        (lambda arrays: arrays.update({"head.0.bias": np.zeros((5, 1))}), r"head\.0\.bias has shape \(5, 1\)"),
        (lambda arrays: arrays.update({"head.0.bias": np.zeros(1)}), r"head\.0\.bias has shape \(1,\)"),
        (lambda arrays: arrays["head.0.bias"].__setitem__(0, np.nan), r"head\.0\.bias .* not finite"),
        (lambda arrays: arrays["cells.1.weight_hh"].__setitem__((0, 0), -np.inf), r"weight_hh .* not finite"),
    ],
    ids=["missing", "unknown", "shape", "broadcastable", "nan", "inf"],
)
def test_what_does_not_fit_is_refused_whole(parameters, spoil, message):
    arrays = {name: view + 1 for name, view in parameters.views.items()}
    spoil(arrays)
    before = parameters.values.copy()
    with pytest.raises(InvalidError, match=message):
        parameters.load(arrays)
    np.testing.assert_array_equal(parameters.values, before)
