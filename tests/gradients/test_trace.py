"""The trace sets the hand-derived values beside autograd's, and marks what differs."""

from dataclasses import replace

import numpy as np
import pytest

from lstmcast.config.build import make_dataset, make_network_engine, make_sampler
from lstmcast.config.load import load
from lstmcast.gradients.trace import trace
from lstmcast.network.cells import CELLS


def make(name, *overrides):
    config = load(name, overrides)
    dataset = make_dataset(config)
    batch = make_sampler(config, dataset).next()
    short = replace(batch, inputs=batch.inputs[:1, :4], targets=batch.targets[:1, :4], weights=None, lengths=None)
    return make_network_engine(config, dataset.features, "numpy"), short


CASES = [(name, cell) for name in ("sine-waves", "names-lstm") for cell in CELLS]


@pytest.mark.parametrize(("name", "cell"), CASES)
@pytest.mark.parametrize("state", [0.0, 0.5])
def test_by_hand_equals_autograd(name, cell, state):
    engine, batch = make(name, f"model.cell={cell}")
    batch = replace(batch, initial_state=np.full((1, engine.network.state_size), state))
    rows = trace(engine, batch, autograd=True, units=3)
    assert all(row.other is not None and not row.differs for row in rows)
    assert any(row.quantity == "dh" and row.ours for row in rows)


def test_a_fault_is_marked_where_it_first_shows(monkeypatch):
    cell = CELLS["lstm"]
    right = cell.linearize

    def lost_carry(m, h_prev, h, out, scratch, e):
        right(m, h_prev, h, out, scratch, e)
        out[:, cell.carry * h.shape[1] : (cell.carry + 1) * h.shape[1]] = 0

    monkeypatch.setattr(cell, "linearize", lost_carry)
    engine, batch = make("windowed-sine")
    wrong = [row for row in trace(engine, batch, autograd=True, units=2) if row.differs]
    # the last step's gradients are right; one step back the carry is missing
    assert (wrong[0].step, wrong[0].quantity) == (2, "dc")


def test_without_autograd_nothing_is_compared():
    engine, batch = make("sunspots")
    assert all(row.other is None and not row.differs for row in trace(engine, batch, autograd=False, units=1))
