import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest


def test_onnx(cli, sines, tmp_path):
    import onnxruntime

    path = tmp_path / "step.onnx"
    assert cli("export", sines.path, "-o", path).done().out == f"{path}\n"
    facts = json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["lstmcast.json"])
    assert facts["columns"] == ["value"]
    assert (facts["mean"], facts["scale"]) == ([0.0], [1.0])
    assert facts["model"]["hidden_sizes"] == [4]


def test_torch_of_text(cli, letters, tmp_path):
    import torch

    path, extra = tmp_path / "step.pt2", {"lstmcast.json": ""}
    cli("export", letters.path, "--to", "torch", "-o", path).done()
    torch.export.load(path, extra_files=extra)
    assert "a" in json.loads(extra["lstmcast.json"])["vocabulary"]


def test_a_missing_extra(cli, sines, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    cli("export", sines.path, "-o", tmp_path / "x").refused(3, "--to onnx", "pip install 'lstmcast[onnx]'")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [(["nothing"], 4, "nothing"), (["sines", "--to", "tflite"], 2, "tflite"), (["sines", "-o", "/proc/x"], 9, "/proc")],
)
def test_wrong_use(cli, sines, arguments, code, needle):
    cli("export", *arguments, "--output-dir", sines.output_dir).refused(code, needle)


@pytest.mark.parametrize(
    "overrides", [[], ["model.autoregression=6"]], ids=["network", "beside an autoregressive component"]
)
def test_the_program_in_the_docs_forecasts_as_we_do(cli, two_config, overrides, tmp_path):
    config = two_config()
    cli("train", "--config", config, "--name", "run", "--output-dir", tmp_path, *overrides).done()
    run = tmp_path / "run"
    page = Path(__file__).parents[2] / "docs" / "how-do-i-use-a-network-elsewhere.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    path, data = tmp_path / "step.onnx", config.with_name("two.csv")
    cli("export", run, "-o", path).done()
    rows = cli("predict", run, "--data", data, "--future", 30).done().rows
    expected = [[float(row["value"]) for row in rows if row["series"] == name] for name in "ab"]
    history = np.loadtxt(data, delimiter=",", skiprows=1)[:, 1:]
    np.testing.assert_allclose(names["forecast"](path, history, 30).T, expected, rtol=1e-4, atol=1e-4)
