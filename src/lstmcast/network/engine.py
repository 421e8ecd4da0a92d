"""The seam between a network and all that trains it, forecasts with it or checks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, Protocol

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.parameters import Parameters

EngineName = Literal["numpy", "torch"]
Device = Literal["auto", "cpu", "cuda"]


def same(output: Array) -> Array:
    """Return the output itself as the forecast."""
    return output


class TrainingEngine(Protocol):
    """All that training asks of a network."""

    network: Network
    parameters: Parameters

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss, weighted over the steps; overwrite ``parameters.gradient``."""
        ...

    def compile(self) -> bool:
        """Change to faster passes if it has any, and return whether it did; results may change in the last bits."""
        ...


class Engine(TrainingEngine, Protocol):
    """Runs a network forward, backward and in free-running rollouts."""

    def input_gradients(self, batch: Batch) -> tuple[Array, Array]:
        """Return dL/d inputs ``(N, T, F)`` and dL/d initial state ``(N, S)``; overwrite ``parameters.gradient``.

        Where a step reads a prediction instead of an input, that input's gradient is 0.
        """
        ...

    def predict(self, inputs: Array) -> Array:
        """Return the outputs ``(N, T, O)`` along true inputs ``(N, T, F)``, from the zero state."""
        ...

    def stream(
        self,
        history: Array,
        delay: int = 1,
        read: Callable[[Array], Array] = same,
        paths: int = 1,
        known: Iterator[Array] | None = None,
    ) -> Iterator[Array]:
        """Read ``history`` (N, T, F), then yield one forecast ``(N, O)`` after another, without end.

        The first forecast is of the step after the history; each is read as an input ``delay``
        steps after the input that it was made from, so T must be at least ``delay``. ``read`` turns an
        output into the forecast that is yielded and read: by default it is the output itself. Each
        history is read once and then continued along ``paths`` paths, ``(N paths, O)``. Input features beyond
        the first O come from ``known``: those of one step after another, ``(N paths, F - O)``.
        """
        ...
