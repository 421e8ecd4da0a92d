"""The config's section on the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lstmcast.network.cells import CELLS, CellName
from lstmcast.network.description import Network
from lstmcast.network.engine import Device, EngineName
from lstmcast.network.losses import OutputName
from lstmcast.sections import Section

DtypeName = Literal["float32", "float64"]
Width = Annotated[int, Field(gt=0, le=65_536)]


class ModelSection(Section):
    """The network and the engine that runs it."""

    engine: Literal["auto", "numpy", "torch"] = Field(
        "auto",
        description="numpy: hand-derived backward pass; torch: autograd; auto: the faster one for the case",
    )
    device: Device = Field("auto", description="of the torch engine; auto: cuda if there is one")
    processes: int | None = Field(
        None,
        gt=0,
        le=1024,
        description="that share each training batch and long rollouts of many series; null: as many as there are cores"
        " and work for them (Linux)",
    )
    recompute: bool = Field(
        False,
        description="numpy engine: remember only every √T-th of T steps, compute the others again on the way back",
    )
    cell: CellName = Field("lstm", description="kind of the recurrent cells")
    hidden_sizes: list[Width] = Field([51, 51], min_length=1, max_length=64, description="hidden size, layer by layer")
    head_sizes: list[Width] = Field([], max_length=64, description="widths of the head's ReLU layers")
    residual: bool = Field(False, description="the prediction is the last input plus the head's output")
    autoregression: int | None = Field(
        None,
        gt=0,
        le=1000,
        description="order of an autoregressive component fitted by least squares; the network forecasts its residuals",
    )
    output: OutputName = Field("value", description="value: a forecast of values; categorical: of classes")
    dtype: DtypeName = Field("float64", description="precision of parameters and states")

    def faster_engine(self, dtype: str, batch_size: int | None, *, rollout: bool) -> EngineName:
        """Return the engine that `engine` names or, if that is auto, the faster one.

        The rule is measured (`make bench`): the hand-derived engine, but for the cases that torch's fused kernels are
        made for, equal layers of LSTM or GRU without free-running rollouts, where they are very large, or
        where an LSTM reads small batches in float32.
        """
        if self.engine != "auto":
            return self.engine
        if self.device == "cuda":
            return "torch"
        hidden_size, *others = set(self.hidden_sizes)
        large, with_few = CELLS[self.cell].torch_faster
        few = batch_size is not None and batch_size <= 16 and dtype == "float32"
        sizes = [size for size in (large, with_few if few else None) if size is not None]
        fused = bool(sizes) and not others and not rollout and not self.recompute
        return "torch" if fused and hidden_size >= min(sizes) else "numpy"

    def network(self, features: int, known: int = 0) -> Network:
        """Describe the network for series of this many features, which reads ``known`` more."""
        hidden, head = tuple(self.hidden_sizes), tuple(self.head_sizes)
        return Network(self.cell, features + known, hidden, head, features, self.residual, self.output)
