"""The parts of a trainer: each does its one thing, and continues from its state."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcast.training.averaging import WeightAverage
from lstmcast.training.divergence import DIVERGED, Diverged, Divergence
from lstmcast.training.section import EarlyStopping
from lstmcast.training.selection import Selection

TARGETS = np.ones((2, 3, 1))


def test_the_average_follows_and_takes_the_place_for_a_while():
    values = np.array([1.0, 2.0])
    average = WeightAverage(values, 0.9)
    values[:] = [2.0, 4.0]
    average.follow()
    with average.in_place():
        np.testing.assert_allclose(values, [1.1, 2.2])
    np.testing.assert_array_equal(values, [2.0, 4.0])
    average.begin_at(np.zeros(2))
    with average.in_place():
        assert not values.any()


def test_without_a_decay_the_parameters_stay():
    values = np.array([1.0])
    average = WeightAverage(values, None)
    average.follow()
    average.begin_at(np.zeros(1))
    with average.in_place():
        assert values.tolist() == [1.0]
    assert average.average is None


@pytest.mark.parametrize(
    ("loss", "gradient", "message"),
    [
        (np.nan, [0.0], "the loss is nan"),
        (np.inf, [0.0], "the loss is inf"),
        (1.0, [np.nan], "norm is nan"),
        (1.0, [1e200, 1e200], "norm is inf"),
        (2 * DIVERGED, [0.0], "over 10,000 times"),
    ],
)
def test_a_divergence_is_noticed(loss, gradient, message):
    divergence = Divergence()
    assert divergence.check(1.0, np.array([3.0, 4.0]), TARGETS, first=True) == 5.0
    with pytest.raises(Diverged, match=message):
        divergence.check(loss, np.array(gradient), TARGETS, first=True)


def test_a_line_search_may_look_far_and_the_limit_is_remembered():
    divergence = Divergence()
    divergence.check(1.0, np.zeros(1), TARGETS, first=True)
    divergence.check(2 * DIVERGED, np.zeros(1), TARGETS, first=False)
    divergence.note(3.0, np.array([1.0]))
    divergence.note(5.0, np.array([2.0]))
    arrays = {}
    facts = divergence.state(arrays)
    again = Divergence()
    again.restore(facts, arrays)
    assert again.lowest[0] == 3.0
    assert again.lowest[1].tolist() == [1.0]
    with pytest.raises(Diverged):
        again.check(2 * DIVERGED, np.zeros(1), TARGETS, first=True)


def test_selection_keeps_the_best_and_waits_for_improvements_that_count():
    selection = Selection(EarlyStopping(patience=2, min_delta=0.1))
    for metric, best, waited in ((1.0, True, 0), (0.95, True, 1), (0.97, False, 2)):
        selection.measure(metric)
        assert selection.improved(metric) is best
        assert selection.waited == waited
    assert selection.ended
    again = Selection(EarlyStopping(patience=2, min_delta=0.1))
    again.restore(selection.state())
    assert again.ended
    assert again.best == 0.95
    assert not again.improved(None)
    assert not again.improved(float("nan"))
    assert not Selection(None).ended
