"""The engines by their names."""

from __future__ import annotations

from lstmcast.network.description import Network
from lstmcast.network.engine import Device, Engine, EngineName
from lstmcast.network.parameters import Parameters


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
