"""When a pass through a batch reads what, and which of its outputs it computes when."""

from __future__ import annotations

from dataclasses import dataclass

from lstmcast.data.batches import Batch


@dataclass(frozen=True)
class Schedule:
    """The steps of a pass at which something begins.

    Attributes:
        fed: the first step that reads a prediction (T if none does).
        alone: the first step whose output is computed by itself, since a later step reads it.
        output_from: the first step whose output is computed: those before neither count nor are read.
    """

    fed: int
    alone: int
    output_from: int

    @classmethod
    def of(cls, batch: Batch) -> Schedule:
        """Return the schedule of a batch."""
        alone = max(0, batch.first_fed - batch.delay)
        return cls(batch.first_fed, alone, min(batch.first_counted, alone))

    def together(self, start: int, first: int, last: int) -> slice:
        """Return those of the steps from ``start + first`` up to ``start + last`` whose outputs are computed at once.

        The slice counts from ``start``; it is empty where its ends meet or cross.
        """
        return slice(max(first, self.output_from - start), min(last, self.alone - start))
