"""Which steps of a pass read predictions, and when which outputs are computed."""

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
        ({}, Schedule(fed=T, alone=T - 1, output_from=0)),
        ({"counted": 4}, Schedule(fed=T, alone=T - 1, output_from=4)),
        ({"fed": 6}, Schedule(fed=6, alone=5, output_from=0)),
        ({"fed": 6, "delay": 3, "counted": 8}, Schedule(fed=6, alone=3, output_from=3)),
    ],
)
def test_the_schedule_of_a_batch(options, expected):
    assert Schedule.of(batch(**options)) == expected


def test_chunks_share_the_outputs_without_a_gap_or_an_overlap():
    schedule = Schedule(fed=8, alone=7, output_from=2)
    found = []
    for start in (0, 5):
        for first in (0, 3):
            last = min(first + 3, 5)
            together = schedule.together(start, first, last)
            found += [start + t for t in range(together.start, together.stop)]
            assert all(first <= t < last for t in range(together.start, together.stop))
    assert found == [2, 3, 4, 5, 6]
