"""Which parameters are the best so far by validation, and whether it is worth waiting for better ones."""

from __future__ import annotations

from typing import Any

from lstmcast.training.section import EarlyStopping


class Selection:
    """What is remembered of validations; a lower metric is better.

    Attributes:
        best: the best metric so far; None before the first.
        waited: validations since the last improvement that counts.
    """

    def __init__(self, early: EarlyStopping | None) -> None:
        self.best: float | None = None
        self.waited = 0
        self._early = early
        # the last metric that improved enough to count
        self._reference: float | None = None

    @property
    def ended(self) -> bool:
        """Whether early stopping has waited long enough."""
        return self._early is not None and self.waited >= self._early.patience

    def measure(self, metric: float) -> None:
        """Count a validation for early stopping."""
        least = self._early.min_delta if self._early else 0.0
        if metric < (float("inf") if self._reference is None else self._reference - least):
            self._reference, self.waited = metric, 0
        else:
            self.waited += 1

    def improved(self, metric: float | None) -> bool:
        """Whether a metric is the best so far; if so, it is remembered."""
        if metric is None or not metric < (float("inf") if self.best is None else self.best):
            return False
        self.best = metric
        return True

    def state(self) -> dict[str, Any]:
        """Return what is to be remembered."""
        return {"best": self.best, "reference": self._reference, "waited": self.waited}

    def restore(self, facts: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.best, self._reference, self.waited = facts["best"], facts["reference"], facts["waited"]
