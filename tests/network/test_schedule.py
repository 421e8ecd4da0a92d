"""Which steps of a batch read predictions, and when outputs are computed."""

from __future__ import annotations

import numpy as np
import pytest

from lstmcast.data.batches import Batch
from lstmcast.network.schedule import Schedule

T = 10


def batch(fed=None, counted=None, delay=1):
    x = np.zeros((2, T, 1))
    feedback = None if fed is None else np.broadcast_to(np.arange(T) >= fed, (2, T))
    weights = None if counted is None else np.broadcast_to(1.0 * (np.arange(T) >= counted), (2, T))
    return Batch(x, x, weights, feedback, delay)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Schedule(first_free=T, first_single=T - 1, first_output=0)),
        ({"counted": 4}, Schedule(first_free=T, first_single=T - 1, first_output=4)),
        ({"fed": 6}, Schedule(first_free=6, first_single=5, first_output=0)),
        ({"fed": 6, "delay": 3, "counted": 8}, Schedule(first_free=6, first_single=3, first_output=3)),
    ],
)
def test_the_schedule_of_a_batch(options, expected):
    assert Schedule.of(batch(**options)) == expected


def test_chunks_share_the_outputs_without_a_gap_or_an_overlap():
    schedule = Schedule(first_free=8, first_single=7, first_output=2)
    found = []
    for start in (0, 5):
        for first in (0, 3):
            last = min(first + 3, 5)
            together = schedule.together(start, first, last)
            found += [start + t for t in range(together.start, together.stop)]
            assert all(first <= t < last for t in range(together.start, together.stop))
    assert found == [2, 3, 4, 5, 6]


def test_a_prediction_that_is_not_yet_made_is_refused():
    with pytest.raises(ValueError, match="step 1 cannot read"):
        Schedule.of(batch(fed=1, delay=2))
