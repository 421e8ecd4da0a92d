"""The torch engine: the same network as a stack of ``torch.nn`` cells, with autograd.

Its modules' parameters are views into one flat vector, and so are their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.errors import InvalidError
from lstmcast.network.cells import CELLS, CellName
from lstmcast.network.cells.base import Cell, TorchStep
from lstmcast.network.description import Network
from lstmcast.network.engine import Device, same
from lstmcast.network.parameters import Parameters, named_views

State = tuple[Tensor, ...]


def find_device(name: Device) -> torch.device:
    """Return the device, of "auto" the GPU if there is one.

    Raises:
        InvalidError: if a GPU is asked for and none is there.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise InvalidError("model.device: cuda, but torch finds no GPU here", "use model.device=auto or cpu")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


class StepCell(nn.Module):
    """A cell that torch lacks, called as ``nn.LSTMCell`` and ``nn.GRUCell`` are."""

    def __init__(self, cell: Cell, step: TorchStep, D: int, H: int) -> None:
        super().__init__()
        self._states, self._step = cell.states, step
        self._names = list(cell.shapes(D, H))
        for name, shape in cell.shapes(D, H).items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def forward(self, x: Tensor, state: Tensor | State) -> Tensor | State:
        """Do one step from the state h, or the states (h, c)."""
        before = (state,) if isinstance(state, Tensor) else state
        after: State = self._step({name: getattr(self, name) for name in self._names}, x, before, _forget)
        return after if self._states == 2 else after[0]


def _forget(_: str, value: Tensor) -> Tensor:
    return value


def make_cell(name: CellName, D: int, H: int) -> nn.Module:
    """Make the module of a cell.

    Raises:
        InvalidError: if the cell is written in NumPy alone.
    """
    cell = CELLS[name]
    if cell.torch_name is not None:
        module: nn.Module = getattr(nn, f"{cell.torch_name}Cell")(D, H)
        return module
    if cell.torch_step is None:
        raise InvalidError(
            f"model.cell: {name} is written in NumPy alone; torch cannot run it",
            "use engine numpy, and no oracle of torch",
        )
    return StepCell(cell, cell.torch_step, D, H)


class TorchEngine:
    """Runs a network by modules such as ``nn.LSTMCell``.

    Steps that read true inputs go through the fused ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN`` where torch has one and all
    layers have one size; it computes the same.

    The modules' parameters are views into one flat tensor, and so are their gradients. On the processor that is the
    memory of `Parameters` itself; a device has a copy, and each pass copies the one there and the other back.

    Args:
        network: the network.
        parameters: its parameters.
        fused: whether fused kernels may be used.
        device: where to compute; None: on the processor.
        shared: whether to work on the memory of ``parameters``; None: on the processor.
    """

    def __init__(
        self,
        network: Network,
        parameters: Parameters,
        *,
        fused: bool = True,
        device: torch.device | None = None,
        shared: bool | None = None,
    ) -> None:
        self.network = network
        self.parameters = parameters
        self._device = device or torch.device("cpu")
        self._shared = self._device.type == "cpu" if shared is None else shared
        self._values, self._gradient = torch.from_numpy(parameters.values), torch.from_numpy(parameters.gradient)
        if not self._shared:
            self._values, self._gradient = (
                torch.zeros_like(flat, device=self._device) for flat in (self._values, self._gradient)
            )
        self._states = CELLS[network.cell].states
        kind = CELLS[network.cell].torch_name
        with torch.device("meta"):
            self.cells = [
                make_cell(network.cell, inputs, hidden)
                for inputs, hidden in pairwise((network.input_size, *network.hidden_sizes))
            ]
            self.head = [
                nn.Linear(inputs, width)
                for inputs, width in pairwise((network.hidden_sizes[-1], *network.head_sizes, network.output_size))
            ]
            one_size = len(set(network.hidden_sizes)) == 1
            self._fused = (
                getattr(nn, kind)(network.input_size, network.hidden_sizes[0], len(self.cells))
                if kind and fused and one_size
                else None
            )
        self._dtype = self._values.dtype
        views, gradients = (named_views(flat, network.shapes) for flat in (self._values, self._gradient))
        for full_name, view in views.items():
            part, index, name = full_name.split(".")
            parameter = nn.Parameter(view)
            parameter.grad = gradients[full_name]
            module = self.cells[int(index)] if part == "cells" else self.head[int(index)]
            setattr(module, name, parameter)
            if part == "cells" and self._fused is not None:
                setattr(self._fused, f"{name}_l{index}", parameter)

    def _fetch(self) -> None:
        """Take the present parameters to the device."""
        if not self._shared:
            self._values.copy_(torch.from_numpy(self.parameters.values))

    def _differentiate(self, loss: Tensor) -> None:
        """Overwrite ``parameters.gradient``."""
        self._gradient.zero_()
        loss.backward()  # type: ignore[no-untyped-call]
        if not self._shared:
            torch.from_numpy(self.parameters.gradient).copy_(self._gradient)

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss, weighted over the steps; overwrite ``parameters.gradient``."""
        self._fetch()
        x, state = self._tensor(batch.inputs), self._initial(batch)
        loss = self._loss(batch, x, state)
        self._differentiate(loss)
        return float(loss.detach())

    def compile(self) -> bool:
        """Stay as it is: its kernels are compiled."""
        return False

    def input_gradients(self, batch: Batch) -> tuple[Array, Array]:
        """Return dL/d inputs ``(N, T, F)`` and dL/d initial state ``(N, S)``; overwrite ``parameters.gradient``."""
        self._fetch()
        x, state = self._tensor(batch.inputs).clone().requires_grad_(), self._initial(batch).clone().requires_grad_()
        self._differentiate(self._loss(batch, x, state))
        assert x.grad is not None
        assert state.grad is not None
        return x.grad.cpu().numpy(), state.grad.cpu().numpy()

    def _loss(self, batch: Batch, x: Tensor, state: Tensor) -> Tensor:
        outputs = self._outputs(batch, x, state)
        target = self._tensor(batch.targets)
        if self.network.output == "categorical":
            error = nn.functional.cross_entropy(outputs.swapaxes(1, 2), target.swapaxes(1, 2), reduction="none")
        else:
            error = ((outputs - target) ** 2).mean(dim=2)
        w = torch.ones_like(error) if batch.weights is None else self._tensor(batch.weights)
        return (error * w).sum() / w.sum()

    def predict(self, inputs: Array) -> Array:
        """Return the outputs ``(N, T, O)`` along true inputs ``(N, T, F)``, from the zero state."""
        self._fetch()
        with torch.no_grad():
            batch = Batch(inputs, inputs)
            outputs: Array = self._outputs(batch, self._tensor(inputs), self._initial(batch)).cpu().numpy()
        return outputs

    def stream(
        self,
        history: Array,
        delay: int = 1,
        read: Callable[[Array], Array] = same,
        paths: int = 1,
        known: Iterator[Array] | None = None,
    ) -> Iterator[Array]:
        """Read ``history`` (N, T, F), then yield one forecast ``(N paths, O)`` after another, without end."""
        self._fetch()
        with torch.no_grad():
            x = self._tensor(history)
            top, states = self._run(x, self.split(self._initial(Batch(history, history))))
            pending = list(self.outputs_of(top, x)[:, -delay:].repeat_interleave(paths, dim=0).unbind(1))
            states = [tuple(part.repeat_interleave(paths, dim=0) for part in state) for state in states]
        while True:
            forecast = read(pending.pop(0).cpu().numpy())
            yield forecast
            y = self._tensor(forecast if known is None else np.concatenate([forecast, next(known)], axis=1))
            with torch.no_grad():
                h, states = self.step(y, states)
                pending.append(self.outputs_of(h, y))

    def _tensor(self, array: Array) -> Tensor:
        # a view may be read-only or have negative strides; torch takes neither
        return torch.from_numpy(np.require(array, self.parameters.values.dtype, ["C", "W"])).to(self._device)

    def _initial(self, batch: Batch) -> Tensor:
        if batch.initial_state is not None:
            return self._tensor(batch.initial_state)
        return torch.zeros(len(batch.inputs), self.network.state_size, dtype=self._dtype, device=self._device)

    def split(self, whole: Tensor) -> list[State]:
        """Cut states ``(N, S)`` into each layer's (h, c) or (h,)."""
        sizes = [H for H in self.network.hidden_sizes for _ in range(self._states)]
        parts = torch.split(whole, sizes, dim=1)
        return [tuple(parts[i : i + self._states]) for i in range(0, len(parts), self._states)]

    def step(self, x: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Do one step of all layers from inputs ``(N, F)``; return the top h ``(N, H)`` and the states after it."""
        after: list[State] = []
        for cell, state in zip(self.cells, states, strict=True):
            out = cell(x, state if self._states == 2 else state[0])
            after.append(out if self._states == 2 else (out,))
            x = after[-1][0]
        return x, after

    def _run(self, x: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
        """Read true inputs ``(N, T, F)``; return the top states ``(N, T, H)`` and the states after them."""
        if self._fused is not None:
            stacked = [torch.stack(parts) for parts in zip(*states, strict=True)]
            top, last = self._fused(x.swapaxes(0, 1), tuple(stacked) if self._states == 2 else stacked[0])
            parts = last if self._states == 2 else (last,)
            return top.swapaxes(0, 1), [tuple(part[i] for part in parts) for i in range(len(states))]
        tops = []
        for x_t in x.unbind(1):
            h, states = self.step(x_t, states)
            tops.append(h)
        return torch.stack(tops, dim=1), states

    def outputs_of(self, h: Tensor, x: Tensor) -> Tensor:
        """Return the head's outputs ``(…, O)`` for top states h and inputs x."""
        y: Tensor = h
        for layer in self.head[:-1]:
            y = torch.relu(layer(y))
        y = self.head[-1](y)
        if self.network.residual:
            y = y + x[..., : self.network.output_size]
        return y

    def _outputs(self, batch: Batch, x: Tensor, state: Tensor) -> Tensor:
        fed, T = batch.first_fed, x.shape[1]
        top, states = self._run(x[:, :fed], self.split(state))
        outputs = self.outputs_of(top, x[:, :fed])
        if batch.feedback is None or fed == T:
            return outputs
        feedback = torch.from_numpy(np.require(batch.feedback, requirements=["C", "W"])).to(self._device)
        single = list(outputs.unbind(1))
        for t in range(fed, T):
            own = torch.where(feedback[:, t, None], single[t - batch.delay], x[:, t, : self.network.output_size])
            x_t = torch.cat([own, x[:, t, self.network.output_size :]], dim=1)
            h, states = self.step(x_t, states)
            single.append(self.outputs_of(h, x_t))
        return torch.stack(single, dim=1)
