"""The check of a config passes for the shipped ones, and fails when something in the backward pass is off."""

from dataclasses import replace

import numpy as np
import pytest

from lstmcast.config import shipped
from lstmcast.config.load import load
from lstmcast.errors import UsageError
from lstmcast.gradients.check import check_config, relative_error
from lstmcast.gradients.oracles import central_differences, complex_step
from lstmcast.network.cells import CELLS
from lstmcast.network.head import Head
from lstmcast.network.numpy_engine import NumpyEngine


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_config_passes(name):
    report = check_config(load(name))
    assert report.passed
    assert report.worst_relative_error < 1e-13
    assert {"inputs", "initial_state", "head.0.bias"} <= report.parameters.keys()


@pytest.mark.parametrize("oracle", ["central", "torch", "all"])
@pytest.mark.parametrize("name", ["adam-minibatches", "names-rnn", "sunspots"])
def test_the_other_oracles_agree(name, oracle):
    assert check_config(load(name), oracle).passed


def test_torch_is_checked_too():
    assert check_config(load("sunspots", ["model.engine=torch"])).passed


def scaled(linearize, block):
    """Return local derivatives, one of them 0.1 % too large."""

    def wrong(m, h_prev, h, out, scratch):
        linearize(m, h_prev, h, out, scratch)
        H = h.shape[1]
        out[:, block * H : (block + 1) * H] *= 1.001

    return wrong


@pytest.mark.parametrize("block", [0, 3, 4], ids=["first gate", "last gate", "carry"])
@pytest.mark.parametrize("oracle", ["complex", "central", "torch"])
def test_a_wrong_cell_is_rejected(monkeypatch, block, oracle):
    cell = CELLS["lstm"]
    monkeypatch.setattr(cell, "linearize", scaled(cell.linearize, block))
    report = check_config(load("windowed-sine"), oracle)
    assert not report.passed
    assert report.worst_relative_error > 1e-5


def test_a_wrong_head_is_named(monkeypatch):
    add = Head.add_gradient

    def wrong(self, where, dy, views):
        add(self, where, dy, views)
        views["head.0.bias"][...] /= 3

    monkeypatch.setattr(Head, "add_gradient", wrong)
    report = check_config(load("sine-waves"))
    assert [name for name, result in report.parameters.items() if not result.passed] == ["head.0.bias"]


def test_weights_returned_as_gradients_are_rejected(monkeypatch):
    def weights(self, _dW):
        self.parameters.gradient[:] = self.parameters.values

    monkeypatch.setattr(NumpyEngine, "_write_gradient", weights)
    report = check_config(load("sunspots"))
    wrong = {name for name, result in report.parameters.items() if not result.passed}
    assert wrong == report.parameters.keys() - {"inputs", "initial_state"}


def test_a_lost_feedback_is_seen_only_through_a_rollout(monkeypatch):
    backward = NumpyEngine._backward

    def without_feedback(self, run, *rest, **more):
        return backward(self, replace(run, fed=len(run.x)), *rest, **more)

    monkeypatch.setattr(NumpyEngine, "_backward", without_feedback)
    assert check_config(load("sine-waves"), rollout=0).passed
    assert not check_config(load("sine-waves"), rollout=3).passed


@pytest.mark.parametrize(("name", "steps"), [("names-rnn", 3), ("windowed-sine", 3), ("sine-waves", -1)])
def test_a_rollout_that_makes_no_sense_is_refused(name, steps):
    with pytest.raises(UsageError, match="--rollout"):
        check_config(load(name), rollout=steps)


def test_relative_error_is_defined_everywhere():
    zero, one = np.zeros(2), np.ones(2)
    assert relative_error(zero, zero, 0.0) == 0
    assert relative_error(one, zero, 0.0) == 1
    assert relative_error(np.array([np.nan, 1]), one, 0.0) == np.inf


class Kinked:
    """L = relu(x0) + x1³ near the bend of the ReLU; stands in for a `Problem` where only its loss is asked."""

    variables = np.array([5e-4, 0.7])

    def loss(self, x):
        return (x[0] if x[0].real > 0 else 0 * x[0]) + x[1] ** 3


def test_a_bend_is_told_from_a_fault():
    central = central_differences(Kinked())
    assert central.kink.tolist() == [True, False]
    np.testing.assert_allclose(central.gradient[1], 3 * 0.7**2, rtol=1e-9)
    np.testing.assert_allclose(complex_step(Kinked()), [1, 3 * 0.7**2], rtol=1e-15)


def test_differences_err_no_more_than_they_say():
    class Smooth:
        variables = np.linspace(-1, 1, 7)

        def loss(self, x):
            return np.sum(np.sin(3 * x))

    central = central_differences(Smooth())
    assert (np.abs(central.gradient - 3 * np.cos(3 * Smooth.variables)) <= central.error).all()
    assert not central.kink.any()
