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
        """Be faster from now on, if it can, and return whether it is; results may change in their last bits."""
        ...


class Engine(TrainingEngine, Protocol):
    """Runs a network forward, backward and on its own predictions."""

    def input_gradients(self, batch: Batch) -> tuple[Array, Array]:
        """Return dL/d inputs ``(N, T, F)`` and dL/d initial state ``(N, S)``; overwrite ``parameters.gradient``.

        The gradient of an input that is not read, for a prediction is read in its place, is 0.
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


def make_engine(name: EngineName, network: Network, parameters: Parameters, *, recompute: bool = False) -> Engine:
    """Make the engine ``name``; torch is imported only for its own."""
    if name == "numpy":
        from lstmcast.network.numpy_engine import NumpyEngine

        return NumpyEngine(network, parameters, recompute=recompute)
    from lstmcast.network.torch_engine import TorchEngine

    return TorchEngine(network, parameters)


def make_training_engine(
    name: EngineName, network: Network, parameters: Parameters, *, device: Device, recompute: bool
) -> Engine:
    """Make the engine ``name`` for a process in which torch is at hand, as it is wherever its optimizers are.

    From then on the process takes numbers too small for their type's full precision (below 1e-38 in float32) for 0, as
    gradients become that go back through hundreds of steps: the processor takes many times as long for each of them.

    Raises:
        InvalidError: if the device is not there.
    """
    import torch

    torch.set_flush_denormal(True)
    if name == "numpy":
        from lstmcast.network.numpy_engine import NumpyEngine
        from lstmcast.network.products import TorchProducts

        return NumpyEngine(network, parameters, TorchProducts(), recompute=recompute)
    from lstmcast.network.torch_engine import TorchEngine, find_device

    return TorchEngine(network, parameters, device=find_device(device))
