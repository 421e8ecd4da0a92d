"""The exported step, read back by the programs it is made for, gives the rollout of the network."""

import io
import json

import numpy as np
import pytest
import torch

from lstmcast.errors import InvalidError, MissingExtraError
from lstmcast.network import export
from lstmcast.network.cells import CELLS
from lstmcast.network.description import Network
from lstmcast.network.make_engine import make_engine
from lstmcast.network.parameters import Parameters

NETWORKS = {
    "lstm": (Network("lstm", 2, (5, 3), (4,), 2, residual=True), "float64"),
    "gru": (Network("gru", 1, (6,), (), 1), "float32"),
    "rnn": (Network("rnn", 3, (4, 4), (), 2, residual=True), "float32"),
    "lstm_peephole": (Network("lstm_peephole", 2, (5, 3), (), 2), "float32"),
    "mgu": (Network("mgu", 1, (4,), (), 1), "float64"),
    "classes": (Network("lstm", 7, (4,), (), 7, output="categorical"), "float32"),
}


@pytest.fixture(params=NETWORKS)
def engine(request):
    network, dtype = NETWORKS[request.param]
    parameters = Parameters(network, np.dtype(dtype))
    parameters.initialize(network, np.random.default_rng(0))
    return make_engine("numpy", network, parameters)


def agrees(engine, step):
    """Demand that ``step``, carrying its state along, gives the engine's outputs for any batch."""
    for batch in (1, 6):
        inputs = np.random.default_rng(1).normal(size=(batch, 9, engine.network.input_size))
        inputs = inputs.astype(engine.parameters.values.dtype)
        states = CELLS[engine.network.cell].states
        state = [np.zeros((batch, sum(engine.network.hidden_sizes)), inputs.dtype)] * states
        for t, expected in enumerate(engine.predict(inputs).swapaxes(0, 1)):
            y, *state = step(np.ascontiguousarray(inputs[:, t]), *state)
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_onnx(engine):
    import onnxruntime

    session = onnxruntime.InferenceSession(export.to_onnx(engine, {"scale": [2.5]}))
    names = [value.name for value in session.get_inputs()]
    assert names == ["x", "h", "c"][: 1 + CELLS[engine.network.cell].states]
    assert [value.name for value in session.get_outputs()] == ["y", *(f"{name}_next" for name in names[1:])]
    assert json.loads(session.get_modelmeta().custom_metadata_map["lstmcast.json"]) == {"scale": [2.5]}
    agrees(engine, lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True))))


def test_torch(engine):
    extra = {"lstmcast.json": ""}
    program = torch.export.load(io.BytesIO(export.to_torch(engine, {"scale": [2.5]})), extra_files=extra).module()
    assert json.loads(extra["lstmcast.json"]) == {"scale": [2.5]}
    agrees(engine, lambda *arrays: [part.detach().numpy() for part in program(*map(torch.from_numpy, arrays))])


@pytest.mark.parametrize("write", [export.to_onnx, export.to_torch])
def test_another_step_is_not_let_out(write, monkeypatch):
    network, dtype = NETWORKS["gru"]
    parameters = Parameters(network, np.dtype(dtype))
    parameters.initialize(network, np.random.default_rng(0))
    engine = make_engine("numpy", network, parameters)
    right = export.Step.forward

    def wrong(self, x, *state):
        y, h = right(self, x, *state)
        return y, h * 0.99

    monkeypatch.setattr(export.Step, "forward", wrong)
    with pytest.raises(InvalidError, match="nothing is written"):
        write(engine, {})


def test_without_the_extra(engine, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError) as caught:
        export.to_onnx(engine, {})
    assert caught.value.exit_code == 3
    assert caught.value.hint == "pip install 'lstmcast[onnx]'"
