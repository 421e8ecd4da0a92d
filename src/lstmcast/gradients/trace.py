"""Every gate, state and gradient of a few steps, the hand-derived ones beside autograd's. For teaching."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.errors import UsageError
from lstmcast.network.cells import CELLS
from lstmcast.network.engine import Engine
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

# relative to the larger of the two, or to 1: far above rounding, far below a mistake
DIFFERENT = 1e-8


@dataclass(frozen=True)
class Row:
    """One number of the trace, ours and the other's; ``other`` is None if there is nothing to compare with."""

    step: int
    layer: int
    quantity: str
    unit: int
    ours: float
    other: float | None

    @property
    def differs(self) -> bool:
        """Whether the two are further apart than rounding."""
        if self.other is None:
            return False
        return not abs(self.ours - self.other) <= DIFFERENT * max(1.0, abs(self.ours), abs(self.other))


def trace(engine: Engine, batch: Batch, *, autograd: bool, units: int) -> list[Row]:
    """Trace the first sequence of a batch: forward step by step, then backward from the last step to the first.

    Args:
        engine: holds the network and its parameters.
        batch: one sequence, of as many steps as are to be shown; the loss counts its weights.
        autograd: whether to set torch's autograd beside it.
        units: hidden units shown of each layer.
    """
    # in float64, so that a difference is no rounding
    parameters = Parameters(engine.network, np.float64)
    parameters.values[:] = engine.parameters.values
    exact = NumpyEngine(engine.network, parameters)
    ours = exact.trace_gradients(batch)
    other = _autograd(exact, batch) if autograd else {}
    return list(rows_of(ours, other, units))


def rows_of(ours: Mapping[str, Array], other: Mapping[str, Array], units: int) -> Iterator[Row]:
    """Yield the rows of values ``(1, T, H)`` by name: forward step by step, then backward from the last step."""
    T = next(iter(ours.values())).shape[1]

    def at(step: int, *, backward: bool) -> Iterator[Row]:
        for name, values in ours.items():
            _, layer, quantity = name.split(" ")
            if quantity.startswith("d") == backward:
                for unit in range(min(units, values.shape[2])):
                    beside = float(other[name][0, step, unit]) if name in other else None
                    yield Row(step, int(layer), quantity, unit, float(values[0, step, unit]), beside)

    for step in range(T):
        yield from at(step, backward=False)
    for step in reversed(range(T)):
        yield from at(step, backward=True)


def _autograd(engine: Engine, batch: Batch) -> dict[str, Array]:
    """Compute the same quantities by a forward pass written in torch, and autograd."""
    import torch

    network, views = engine.network, engine.parameters.views
    cell = CELLS[network.cell]
    step = cell.torch_step
    if step is None:
        raise UsageError(f"--against torch: the cell {network.cell} is written in NumPy alone", "--against none")
    parameters = {name: torch.from_numpy(view) for name, view in views.items()}
    by_layer = [
        {name: parameters[f"cells.{layer}.{name}"] for name in cell.shapes(1, 1)}
        for layer in range(len(network.hidden_sizes))
    ]
    kept: dict[str, list[torch.Tensor]] = {}

    def keep(layer: int, name: str, value: torch.Tensor) -> torch.Tensor:
        if not name.startswith("a_") and name not in ("h", "c"):
            kept.setdefault(f"layer {layer} {name}", []).append(value)  # a gate: its gradient is not shown
            return value
        value = value.requires_grad_() if value.is_leaf else value
        value.retain_grad()
        kept.setdefault(f"layer {layer} {name}", []).append(value)
        return value

    N, T, _ = batch.inputs.shape
    inputs = torch.from_numpy(np.array(batch.inputs, dtype=engine.parameters.values.dtype))
    states: list[tuple[torch.Tensor, ...]] = []
    start = 0
    for H in network.hidden_sizes:
        parts = []
        for _ in range(cell.states):
            if batch.initial_state is None:
                parts.append(torch.zeros(N, H, dtype=inputs.dtype))
            else:
                parts.append(torch.from_numpy(np.array(batch.initial_state[:, start : start + H])).to(inputs.dtype))
            start += H
        states.append(tuple(parts))
    outputs = []
    for t in range(T):
        x = inputs[:, t]
        for layer, state in enumerate(states):
            states[layer] = step(by_layer[layer], x, state, partial(keep, layer))
            x = states[layer][0]
        y = x
        for k in range(len(network.head_sizes) + 1):
            y = torch.relu(y) if k else y
            y = y @ parameters[f"head.{k}.weight"].T + parameters[f"head.{k}.bias"]
        outputs.append(y + inputs[:, t, : network.output_size] if network.residual else y)
    targets = torch.from_numpy(np.array(batch.targets, dtype=engine.parameters.values.dtype))
    y = torch.stack(outputs, dim=1)
    if network.output == "categorical":
        error = -(targets * torch.log_softmax(y, dim=2)).sum(dim=2)
    else:
        error = ((y - targets) ** 2).mean(dim=2)
    weights = np.ones((N, T)) if batch.weights is None else np.array(batch.weights)
    w = torch.from_numpy(weights).to(inputs.dtype)
    ((error * w).sum() / w.sum()).backward()  # type: ignore[no-untyped-call]
    found: dict[str, Array] = {}
    for name, values in kept.items():
        prefix, _, quantity = name.rpartition(" ")
        if not quantity.startswith("a_"):
            found[name] = torch.stack(values, dim=1).detach().numpy()
        if quantity.startswith("a_") or quantity in ("h", "c"):
            gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in values]
            found[f"{prefix} d{quantity}"] = torch.stack(gradients, dim=1).numpy()
    return found
