"""Which steps of a batch read predictions, and when outputs are computed."""

from __future__ import annotations

from dataclasses import dataclass

from lstmcast.data.batches import Batch


@dataclass(frozen=True)
class Schedule:
    """The steps of a pass at which something begins.

    Attributes:
        first_free: the first step that reads a prediction; T if none does.
        first_single: the first step whose output is computed with the step, since a later step reads it.
        first_output: the first step whose output is computed: those before it neither count nor are read.
    """

    first_free: int
    first_single: int
    first_output: int

    @classmethod
    def of(cls, batch: Batch) -> Schedule:
        """Return the schedule of a batch.

        Raises:
            ValueError: if a step reads a prediction before one has been made.
        """
        single = max(0, batch.first_fed - batch.delay)
        return cls(batch.first_fed, single, min(batch.first_counted, single))

    def together(self, start: int, first: int, last: int) -> slice:
        """Return those of the steps from ``start + first`` up to ``start + last`` whose outputs are computed at once.

        The slice counts from ``start``; it is empty where its ends meet or cross.
        """
        return slice(max(first, self.first_output - start), min(last, self.first_single - start))
