"""Where the torch engine computes; without a GPU its copies are tested on the processor."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import torch

from lstmcast.errors import InvalidError
from lstmcast.network.cells import CELLS
from lstmcast.network.description import Network
from lstmcast.network.make_engine import make_training_engine
from lstmcast.network.parameters import Parameters
from lstmcast.network.torch_engine import TorchEngine, find_device

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_copy_of_the_parameters_computes_the_same_and_follows_them(make_problem, device, cell):
    problem = make_problem(cell, (4, 4), (3,), residual=True, weights="random", feedback=True, initial=True)
    inputs = problem.batch.inputs
    copying = TorchEngine(problem.network, problem.parameters, device=torch.device(device), shared=False)
    for _ in range(2):
        loss, gradient = problem.gradient(problem.torch())
        problem.parameters.gradient[:] = np.nan
        there_loss, there_gradient = problem.gradient(copying)
        assert there_loss == pytest.approx(loss, rel=1e-12)
        assert problem.mismatch(there_gradient, gradient) < 1e-12
        problem.parameters.values *= 1.1
        np.testing.assert_allclose(copying.predict(inputs), problem.torch().predict(inputs), rtol=1e-12)
        problem.parameters.values *= 1.1
        ours, theirs = (list(islice(engine.stream(inputs), 3)) for engine in (copying, problem.torch()))
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)
        for mine, other in zip(
            copying.input_gradients(problem.batch), problem.torch().input_gradients(problem.batch), strict=True
        ):
            np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-15)


def test_a_gpu_that_is_not_there_is_an_error_unless_it_was_left_open(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(InvalidError, match=r"model\.device: cuda"):
        find_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == find_device("cuda") == torch.device("cuda")
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="the processor cannot")
def test_what_has_faded_to_nothing_costs_a_training_nothing():
    network = Network("lstm", 1, (2,), (), 1)
    torch.set_flush_denormal(False)
    faded = np.full(8, 1e-39, np.float32)
    assert (faded * np.float32(0.5)).all()
    make_training_engine("torch", network, Parameters(network), device="cpu", recompute=False)
    assert not (faded * np.float32(0.5)).any()
