"""The network's step function in the formats of other programs: ``(x, h[, c]) -> (y, h[, c])``.

One step, not a rollout: the caller carries the state, so the number of steps is not frozen into the file.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError, MissingExtraError
from lstmcast.network.cells import CELLS
from lstmcast.network.engine import Engine
from lstmcast.network.torch_engine import TorchEngine

# sequences and steps that the exported function is tried on, against the engine
TRIED = ((1, 4), (3, 20))
# error allowed for, relative to the outputs
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
# where the metadata stand in a .pt2 file, and in an ONNX file's metadata
METADATA = "lstmcast.json"

StepFunction = Callable[..., tuple[Array, ...]]


class Step(nn.Module):
    """One step of a network; states are ``(N, H_1 + H_2 + …)``, layer after layer."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = TorchEngine(engine.network, engine.parameters, fused=False)
        self.cells, self.head = nn.ModuleList(self._engine.cells), nn.ModuleList(self._engine.head)
        for parameter in self.parameters():
            parameter.data = parameter.data.clone()  # exporters want no views of one vector

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return the output ``(N, O)`` of an input ``(N, F)``, and the new state."""
        sizes = list(self._engine.network.hidden_sizes)
        before = list(zip(*(torch.split(part, sizes, dim=1) for part in state), strict=True))
        h, after = self._engine.step(x, before)
        return self._engine.outputs_of(h, x), *(torch.cat(parts, dim=1) for parts in zip(*after, strict=True))


class StepOfLstm(nn.Module):
    """The step with h and c named, as exporters want it."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """Do one step."""
        result: tuple[Tensor, ...] = self.step(x, h, c)
        return result


class StepOfOneState(nn.Module):
    """The step with h named."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """Do one step."""
        result: tuple[Tensor, ...] = self.step(x, h)
        return result


def to_torch(engine: Engine, metadata: dict[str, Any]) -> bytes:
    """Return a ``.pt2`` file for ``torch.export.load``, once it has given the engine's own outputs.

    Raises:
        InvalidError: if its outputs are others.
    """
    module, example, dynamic = _prepare(engine)
    buffer = io.BytesIO()
    program = torch.export.export(module, example, dynamic_shapes=dynamic)
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata)})
    content = buffer.getvalue()
    loaded = torch.export.load(io.BytesIO(content)).module()

    def run(*arrays: Array) -> tuple[Array, ...]:
        return tuple(part.detach().numpy() for part in loaded(*map(torch.from_numpy, arrays)))

    _check(engine, run, "torch.export")
    return content


def to_onnx(engine: Engine, metadata: dict[str, Any]) -> bytes:
    """Return an ONNX file, once onnxruntime has given the engine's own outputs with it.

    Raises:
        MissingExtraError: if onnx, onnxscript or onnxruntime is not installed.
        InvalidError: if its outputs are others.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError:
        raise MissingExtraError("--to onnx", "onnx") from None
    module, example, dynamic = _prepare(engine)
    names = list(dynamic)
    # it says what other packages of torch are not there
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own insides
        program = torch.onnx.export(
            module,
            example,
            input_names=names,
            output_names=["y", *(f"{name}_next" for name in names[1:])],
            dynamic_shapes=dynamic,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    model.producer_name = "lstmcast"
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(metadata)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(*arrays: Array) -> tuple[Array, ...]:
        return tuple(session.run(None, dict(zip(names, arrays, strict=True))))

    _check(engine, run, "onnxruntime")
    return bytes(content)


def _prepare(engine: Engine) -> tuple[nn.Module, tuple[Tensor, ...], dict[str, Any]]:
    """Return the module, an example of its inputs, and which of their dimensions are free."""
    states = CELLS[engine.network.cell].states
    step = Step(engine).eval().requires_grad_(requires_grad=False)
    module = StepOfLstm(step) if states == 2 else StepOfOneState(step)
    dtype = torch.from_numpy(engine.parameters.values).dtype
    sizes = [engine.network.input_size, *[sum(engine.network.hidden_sizes)] * states]
    batch = torch.export.Dim("batch", min=1)
    names = ("x", "h", "c")[: 1 + states]
    return module, tuple(torch.zeros(2, size, dtype=dtype) for size in sizes), {name: {0: batch} for name in names}


def _check(engine: Engine, run: StepFunction, program: str) -> None:
    """Carry the state through several steps, and compare with the engine.

    Raises:
        InvalidError: if the outputs differ by more than rounding.
    """
    dtype, width = engine.parameters.values.dtype, sum(engine.network.hidden_sizes)
    for batch, steps in TRIED:
        inputs = np.random.default_rng(0).normal(size=(batch, steps, engine.network.input_size)).astype(dtype)
        expected = engine.predict(inputs)
        state = [np.zeros((batch, width), dtype) for _ in range(CELLS[engine.network.cell].states)]
        for t in range(steps):
            y, *state = run(np.ascontiguousarray(inputs[:, t]), *state)
            off = float(np.abs(y - expected[:, t]).max() / max(1.0, float(np.abs(expected).max())))
            if not off <= TOLERANCE[str(dtype)]:
                raise InvalidError(
                    f"{program}: the exported step is {off:.2g} off the network's own after {t + 1} steps of {batch}"
                    " sequences; nothing is written"
                )
