"""The config's section on the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lstmcast.network.cells import CellName
from lstmcast.network.description import Network
from lstmcast.network.engine import EngineName
from lstmcast.network.losses import OutputName
from lstmcast.settings import Section

Width = Annotated[int, Field(gt=0, le=65_536)]


class ModelSettings(Section):
    """The network and the engine that runs it."""

    engine: EngineName = Field("numpy", description="numpy: hand-derived backward pass; torch: autograd")
    cell: CellName = Field("lstm", description="kind of the recurrent cells")
    hidden_sizes: list[Width] = Field([51, 51], min_length=1, max_length=64, description="hidden size, layer by layer")
    head_sizes: list[Width] = Field([], max_length=64, description="widths of the head's ReLU layers")
    residual: bool = Field(False, description="the prediction is the last input plus the head's output")
    output: OutputName = Field("value", description="value: a forecast of values; categorical: of classes")
    dtype: Literal["float32", "float64"] = Field("float64", description="precision of parameters and states")

    def network(self, features: int, known: int = 0) -> Network:
        """Describe the network for series of this many features, which reads ``known`` more."""
        hidden, head = tuple(self.hidden_sizes), tuple(self.head_sizes)
        return Network(self.cell, features + known, hidden, head, features, self.residual, self.output)
