"""The comparison with the complex step accepts a sound backward pass and rejects every planted fault.

The backward passes here are written once more from the formulas, with a factor on every term: with all
factors 1 they are right, with one of them 0.1 % off they are not.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from lstmcast.network.cells import CELLS

OFF = 1.001
ACCEPTED = 1e-12


class Faulty:
    """A sound cell but for its backward pass, in which each term is multiplied by its factor."""

    def __init__(self, name, backward, **factors):
        self._sound = CELLS[name]
        self._factors = defaultdict(lambda: 1.0, factors)
        self._backward = backward

    def __getattr__(self, name):
        return getattr(self._sound, name)

    def linearize(self, m, h_prev, h, out, _scratch, _e):
        """Keep what the formulas need, in the order of the blocks; the carry's is free in a GRU."""
        out[...] = h if self.blocks == 1 else m
        if self.blocks == 5:
            out[:, -h.shape[1] :] = h_prev

    def backward_views(self, _memory, *views):
        return views

    def backward(self, views, _t):
        d, d_next, dh, _ = views
        carried = 0 if self.carry is None else np.split(d_next, self.blocks)[self.carry]
        d[...] = np.concatenate(self._backward(self._factors, np.split(d.copy(), self.blocks), dh.copy(), carried))


def lstm(k, blocks, dh, carried):
    o, i, f, g, c_prev, tanh_c = blocks
    do = k["do"] * dh * tanh_c
    dc = k["carry"] * carried + k["dc"] * dh * o * (1 - k["tanh'"] * tanh_c**2)
    di, df, dg = k["di"] * dc * g, k["df"] * dc * c_prev, k["dg"] * dc * i
    da = [do * o * (1 - k["o'"] * o), di * i * (1 - k["i'"] * i), df * f * (1 - k["f'"] * f), dg * (1 - k["g'"] * g**2)]
    return [*da, k["dc_prev"] * dc * f, tanh_c]


def gru(k, blocks, dh, carried):
    r, z, n, v, h_prev = blocks
    dh = dh + k["carry"] * carried
    dn, dz = k["dn"] * dh * (1 - k["1-z"] * z), dh * (k["dz h"] * h_prev - k["dz n"] * n)
    du = dn * (1 - k["n'"] * n**2)
    dr, dv = k["dr"] * du * v, k["dv"] * du * r
    return [dr * r * (1 - k["r'"] * r), dz * z * (1 - k["z'"] * z), k["du"] * du, dv, k["dh_prev"] * dh * z]


def rnn(k, blocks, dh, _):
    (h,) = blocks
    return [k["da"] * dh * (1 - k["tanh'"] * h**2)]


BACKWARD = {"lstm": lstm, "gru": gru, "rnn": rnn}
TERMS = {
    "lstm": ["do", "carry", "dc", "tanh'", "di", "df", "dg", "i'", "f'", "g'", "o'", "dc_prev"],
    "gru": ["carry", "dn", "1-z", "dz h", "dz n", "n'", "dr", "dv", "du", "r'", "z'", "dh_prev"],
    "rnn": ["da", "tanh'"],
}
GROSS = {
    "lost carry": lambda d: [*d[:4], 0 * d[4], *d[5:]],
    "swapped gates": lambda d: [d[1], d[0], *d[2:]],
    "one gate left out": lambda d: [0 * d[0], *d[1:]],
}


@pytest.fixture
def error(make_problem):
    """Return what the comparison finds with a cell in the place of the sound one."""

    def measure(name, cell):
        problem = make_problem(name, (3, 2), weights="random", feedback=True, initial=True)
        engine = problem.numpy()
        engine._cell = cell
        return problem.mismatch(problem.gradient(engine)[1], problem.complex_gradient())

    return measure


class Unpacked:
    """A cell with another `unpack`."""

    def __init__(self, name, unpack):
        self._sound, self.unpack = CELLS[name], unpack

    def __getattr__(self, name):
        return getattr(self._sound, name)


class Scaled:
    """A cell of which one block of the local derivatives is a thousandth off."""

    def __init__(self, name, block):
        self._sound, self._block = CELLS[name], block

    def __getattr__(self, name):
        return getattr(self._sound, name)

    def linearize(self, m, h_prev, h, out, scratch, e):
        self._sound.linearize(m, h_prev, h, out, scratch, e)
        H = h.shape[1]
        out[:, self._block * H : (self._block + 1) * H] *= OFF


@pytest.mark.parametrize(("name", "block"), [(name, k) for name, cell in CELLS.items() for k in range(cell.blocks)])
def test_a_local_derivative_a_thousandth_off_is_rejected(error, name, block):
    assert error(name, CELLS[name]) < ACCEPTED
    assert error(name, Scaled(name, block)) > 1e4 * ACCEPTED


@pytest.mark.parametrize("name", BACKWARD)
def test_the_formulas_written_once_more_are_right(error, name):
    assert error(name, Faulty(name, BACKWARD[name])) < ACCEPTED


@pytest.mark.parametrize(("name", "term"), [(name, term) for name, terms in TERMS.items() for term in terms])
def test_a_term_a_thousandth_off_is_rejected(error, name, term):
    assert error(name, Faulty(name, BACKWARD[name], **{term: OFF})) > 1e6 * ACCEPTED


@pytest.mark.parametrize("name", ["lstm", "gru"])
@pytest.mark.parametrize("fault", GROSS)
def test_a_gross_fault_is_rejected(error, name, fault):
    def backward(*args):
        return GROSS[fault](BACKWARD[name](*args))

    assert error(name, Faulty(name, backward)) > 1e-3


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bias", ["bias_ih", "bias_hh"])
def test_a_bias_gradient_averaged_over_the_batch_is_rejected(error, name, bias):
    def unpack(dW, gradients):
        CELLS[name].unpack(dW, gradients)
        gradients[bias][...] /= 3

    assert error(name, Unpacked(name, unpack)) > 1e-3


@pytest.mark.parametrize("name", CELLS)
def test_a_transposed_recurrent_gradient_is_rejected(error, name):
    def unpack(dW, gradients):
        CELLS[name].unpack(dW, gradients)
        recurrent = gradients["weight_hh"]
        for block in np.split(recurrent, len(recurrent) // recurrent.shape[1]):
            block[...] = block.T.copy()

    assert error(name, Unpacked(name, unpack)) > 1e-3


@pytest.mark.parametrize("name", CELLS)
def test_one_parameters_gradient_a_thousandth_off_is_rejected(make_problem, name):
    problem = make_problem(name, head=(9,), weights="random", feedback=True)
    _, gradient = problem.gradient(problem.numpy())
    true = problem.complex_gradient()
    assert problem.mismatch(gradient, true) < ACCEPTED
    for parameter in problem.network.shapes:
        wrong = gradient.copy()
        problem.by_name(wrong)[parameter][...] *= OFF
        assert problem.mismatch(wrong, true) > 1e6 * ACCEPTED, parameter


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_a_gradient_that_does_not_flow_through_fed_back_predictions_is_rejected(make_problem, name, residual):
    problem = make_problem(name, features=1, residual=residual, feedback=True)
    loss, gradient = problem.gradient(problem.numpy())
    # the same numbers, but as given inputs: each is found by the steps before it
    inputs, fed, cut = problem.batch.inputs.copy(), problem.batch.feedback, problem.numpy()
    for t in range(1, inputs.shape[1]):
        inputs[fed[:, t], t] = cut.predict(inputs)[fed[:, t], t - 1]
    problem.batch = replace(problem.batch, inputs=inputs, feedback=None)
    cut_loss, cut_gradient = problem.gradient(cut)
    assert cut_loss == pytest.approx(loss, rel=1e-13)
    assert problem.mismatch(cut_gradient, gradient) > 1e-3
