"""Whether a training diverges, and the parameters to return to if it does."""

from __future__ import annotations

from typing import Any

import numpy as np

from lstmcast.arrays import Array

# a loss this many times the first one, or the targets' mean square, has diverged
DIVERGED = 1e4


class Diverged(Exception):  # noqa: N818  (an expected event)
    """The loss or the gradient is no longer finite, or the loss is far above what it was at the start."""


class Divergence:
    """What is remembered of a training's losses.

    Attributes:
        lowest: the lowest loss and the parameters ``(P,)`` that had it, since windows or rollouts last changed.
        retried: divergences after which a lower learning rate was tried.
    """

    def __init__(self) -> None:
        self.lowest: tuple[float, Array] | None = None
        self.retried = 0
        self._limit: float | None = None

    def check(self, loss: float, gradient: Array, targets: Array, *, first: bool) -> float:
        """Return the gradient's norm.

        Raises:
            Diverged: if the loss or the gradient is not finite, or the ``first`` loss of a step above the limit.
        """
        with np.errstate(over="ignore"):
            norm = float(np.linalg.norm(gradient))
        if not np.isfinite(loss):
            raise Diverged(f"the loss is {loss}")
        if not np.isfinite(norm):
            raise Diverged(f"the gradient's norm is {norm}")
        if self._limit is None:
            self._limit = DIVERGED * max(loss, float(np.mean(targets**2)))
        # a line search may look far ahead; what counts is where it begins
        if first and not loss <= self._limit:
            raise Diverged(f"the loss is {loss:.3g}, over {DIVERGED:,.0f} times what it was at the start")
        return norm

    def note(self, loss: float, values: Array) -> None:
        """Keep the parameters ``(P,)`` if their loss is the lowest."""
        if self.lowest is None or loss < self.lowest[0]:
            self.lowest = loss, values

    def state(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """Return what is to be remembered; the parameters go to ``arrays``."""
        if self.lowest is not None:
            arrays["lowest"] = self.lowest[1]
        return {"retried": self.retried, "limit": self._limit, "lowest": self.lowest[0] if self.lowest else None}

    def restore(self, facts: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Continue from `state`."""
        self.retried, self._limit = facts["retried"], facts["limit"]
        self.lowest = None if facts["lowest"] is None else (facts["lowest"], arrays["lowest"])
