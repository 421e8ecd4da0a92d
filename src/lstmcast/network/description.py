"""A network's description: the one thing that both engines, a checkpoint and a config agree on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from lstmcast.network.cells import CELLS, CellName
from lstmcast.network.losses import OutputName


@dataclass(frozen=True)
class Network:
    """A stack of recurrent cells and a head of linear layers with ReLU between them.

        h_l(t) = cell_l(h_(l-1)(t), h_l(t-1)),   h_0(t) = x(t)
        y(t)   = W_n relu(… relu(W_1 h_L(t) + b_1) …) + b_n   [+ x(t), if ``residual``]

    Attributes:
        cell: kind of every cell.
        input_size: F, features of an input.
        hidden_sizes: H of each layer.
        head_sizes: widths of the head's ReLU layers; empty: one linear layer.
        output_size: O, features of an output; the first O input features are the values forecast.
        residual: whether the prediction is the last input plus the head's output.
        output: "value": y is the forecast; "categorical": y are logits of classes, and inputs are one-hot.
    """

    cell: CellName
    input_size: int
    hidden_sizes: tuple[int, ...]
    head_sizes: tuple[int, ...]
    output_size: int
    residual: bool = False
    output: OutputName = "value"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter, in PyTorch's names, shapes and order of gates."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, (inputs, hidden) in enumerate(pairwise((self.input_size, *self.hidden_sizes))):
            cell = CELLS[self.cell].shapes(inputs, hidden)
            shapes |= {f"cells.{layer}.{name}": shape for name, shape in cell.items()}
        for layer, (inputs, width) in enumerate(pairwise((self.hidden_sizes[-1], *self.head_sizes, self.output_size))):
            shapes[f"head.{layer}.weight"] = (width, inputs)
            shapes[f"head.{layer}.bias"] = (width,)
        return shapes

    @property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def state_size(self) -> int:
        """S, the numbers in a sequence's state: h, then c if the cell has one, layer after layer."""
        return sum(self.hidden_sizes) * CELLS[self.cell].states
