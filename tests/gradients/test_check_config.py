"""The check of a config passes for the shipped ones, and fails when something in the backward pass is off."""

import ast
import inspect
import sys
import textwrap
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from lstmcast.config import shipped
from lstmcast.config.load import load
from lstmcast.errors import UsageError
from lstmcast.gradients.check import EXACT, check_config, relative_error, small_problems
from lstmcast.gradients.oracles import central_differences, complex_step
from lstmcast.network.cells import CELLS
from lstmcast.network.head import Head
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.products import TorchProducts


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


def wrong_terms(cell):
    """Yield, for each term of a cell's derivatives: where it is, its method, and that with the term 0.1 % too large."""
    for method in ("linearize", "backward"):
        source = textwrap.dedent(inspect.getsource(getattr(type(cell), method)))
        for index in range(len(list(ast.walk(ast.parse(source))))):
            tree = ast.parse(source)
            match list(ast.walk(tree))[index]:
                case ast.AugAssign() | ast.Assign(targets=[ast.Subscript()]) as node:
                    node.value = ast.BinOp(ast.Constant(1.001), ast.Mult(), node.value)
                case ast.Call(func=ast.Attribute(value=ast.Name("np")), args=[_, term, *_]) as node:
                    node.args[1] = ast.BinOp(ast.Constant(1.001), ast.Mult(), term)
                case _:
                    continue
            space = dict(vars(sys.modules[type(cell).__module__]))
            exec(compile(ast.fix_missing_locations(tree), "<wrong>", "exec"), space)
            yield f"{method}, line {node.lineno}: {ast.unparse(node)}", method, partial(space[method], cell)


@pytest.mark.parametrize(("name", "terms"), [("lstm", 13), ("gru", 14), ("rnn", 3)])
def test_a_wrong_factor_in_any_single_term_is_caught(monkeypatch, name, terms):
    config = load("windowed-sine", [f"model.cell={name}", "model.hidden_sizes=[2]"])
    problem = next(small_problems(config, np.random.default_rng(0), 0))
    true = complex_step(problem)
    assert relative_error(problem.gradient(NumpyEngine), true, 0.0) < 1e-14
    wrong = list(wrong_terms(CELLS[name]))
    assert len(wrong) == terms
    for what, method, replaced in wrong:
        with monkeypatch.context() as patch:
            patch.setattr(CELLS[name], method, replaced)
            assert relative_error(problem.gradient(NumpyEngine), true, 0.0) > 1e4 * EXACT, what


def test_torch_alone_checks_every_variable_of_the_full_size_too():
    report = check_config(load("sunspots"), "torch")
    assert any("full size" in note and "every variable for itself" in note for note in report.notes)
    assert not any("complex" in str(result) for result in report.parameters.values())


@pytest.mark.parametrize("oracle", ["complex", "central", "torch"])
def test_a_wrong_carry_is_rejected(monkeypatch, oracle):
    cell = CELLS["lstm"]
    right = cell.linearize

    def wrong(m, h_prev, h, out, scratch, e):
        right(m, h_prev, h, out, scratch, e)
        H = h.shape[1]
        out[:, 4 * H : 5 * H] *= 1.001

    monkeypatch.setattr(cell, "linearize", wrong)
    report = check_config(load("windowed-sine"), oracle)
    assert not report.passed
    assert report.worst_relative_error > 1e-5


def test_exchanged_gates_are_rejected(monkeypatch):
    cell = CELLS["lstm"]
    right = cell.linearize

    def wrong(m, h_prev, h, out, scratch, e):
        right(m, h_prev, h, out, scratch, e)
        H = h.shape[1]
        out[:, H : 3 * H] = np.concatenate([out[:, 2 * H : 3 * H], out[:, H : 2 * H]], axis=1)

    monkeypatch.setattr(cell, "linearize", wrong)
    assert not check_config(load("windowed-sine")).passed


def test_a_wrong_head_is_named(monkeypatch):
    add = Head.add_gradient

    def wrong(self, where, dy, views):
        add(self, where, dy, views)
        views["head.0.bias"][...] /= 3

    monkeypatch.setattr(Head, "add_gradient", wrong)
    report = check_config(load("sine-waves"))
    assert [name for name, result in report.parameters.items() if not result.passed] == ["head.0.bias"]


def test_weights_returned_as_gradients_are_rejected(monkeypatch):
    backward = NumpyEngine.backward

    def weights(self, *arguments, **more):
        state = backward(self, *arguments, **more)
        self.parameters.gradient[:] = self.parameters.values
        return state

    monkeypatch.setattr(NumpyEngine, "backward", weights)
    report = check_config(load("sunspots"))
    wrong = {name for name, result in report.parameters.items() if not result.passed}
    assert wrong == report.parameters.keys() - {"inputs", "initial_state"}


def test_a_lost_feedback_is_seen_only_through_a_rollout(monkeypatch):
    backward = NumpyEngine.backward

    def without_feedback(self, run, *rest, **more):
        schedule = replace(run.schedule, first_free=len(run.x))
        return backward(self, replace(run, schedule=schedule), *rest, **more)

    monkeypatch.setattr(NumpyEngine, "backward", without_feedback)
    assert check_config(load("sine-waves"), rollout=0).passed
    assert not check_config(load("sine-waves"), rollout=3).passed


@pytest.mark.parametrize(("name", "steps"), [("names-rnn", 3), ("windowed-sine", 3), ("sine-waves", -1)])
def test_a_rollout_that_makes_no_sense_is_refused(name, steps):
    with pytest.raises(UsageError, match="--rollout"):
        check_config(load(name), rollout=steps)


def test_the_pass_that_recomputes_is_checked(monkeypatch):
    run = NumpyEngine._run_segment

    def from_zero_on_the_way_back(self, way, start):
        if start == 0 and len(way.starts) > 1:
            way.starts[0] = None
        return run(self, way, start)

    monkeypatch.setattr(NumpyEngine, "_run_segment", from_zero_on_the_way_back)
    assert check_config(load("sine-waves")).passed
    assert not check_config(load("sine-waves", ["model.recompute=true"])).passed


def test_what_training_runs_is_checked_where_torch_is_the_oracle(monkeypatch):
    add_sum = TorchProducts.add_sum

    def too_much(self, total, left, right):
        add_sum(self, total, left, right)
        total *= 1.001

    config = load("sine-waves")
    monkeypatch.setattr(TorchProducts, "add_sum", too_much)
    report = check_config(config)
    assert report.passed
    assert any("not run here, but with --oracle torch" in note for note in report.notes)
    assert not check_config(config, "torch").passed


def test_relative_error_is_defined_everywhere():
    zero, one = np.zeros(2), np.ones(2)
    assert relative_error(zero, zero, 0.0) == 0
    assert relative_error(one, zero, 0.0) == 1
    assert relative_error(np.array([np.nan, 1]), one, 0.0) == np.inf


class Kinked:
    """L = relu(x0) + x1³ near the bend of the ReLU; stands in for a `Objective` where only its loss is asked."""

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
