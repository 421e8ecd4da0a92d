"""Every cell does all that others do; one written in NumPy alone says so where torch is asked for."""

import shutil

import numpy as np
import pytest

from lstmcast.network.cells import CELLS
from lstmcast.network.cells.mgu import MGU

SMALL = ("training.steps=12", "then=[]", "model.hidden_sizes=[4]")


@pytest.fixture
def alone(monkeypatch):
    """Put a cell without a twin in torch in the place of one that has one."""

    class Alone(MGU):
        torch_step = None

    monkeypatch.setitem(CELLS, "mgu", Alone())
    return "model.cell=mgu"


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.torch_name is None])
def test_a_cell_that_torch_lacks_does_all_that_others_do(cli, tmp_path, name):
    cell = f"model.cell={name}"
    for engine in ("numpy", "torch"):
        options = (cell, *SMALL, f"model.engine={engine}")
        cli("train", "--config", "sine-waves", *options, "--name", engine, "--output-dir", tmp_path).done()
    forecasts = [
        np.loadtxt(
            cli("predict", tmp_path / engine, "--future", 20).done().out.splitlines(),
            delimiter=",",
            skiprows=1,
            usecols=2,
        )
        for engine in ("numpy", "torch")
    ]
    np.testing.assert_allclose(*forecasts, rtol=1e-3, atol=1e-4)
    for oracle in ("complex", "central", "torch"):
        cli("gradcheck", "--config", "sine-waves", cell, *SMALL, "--oracle", oracle).done()
    assert "no difference" in cli("trace", tmp_path / "numpy", "--steps", 2, "--units", 1).done().err
    tiny = (
        "model.hidden_sizes=[2]",
        "optimizer={kind: levenberg_marquardt}",
        "training.epochs=null",
        "training.steps=2",
    )
    small = ("model.engine=numpy", "training.clip=null", "--output-dir", tmp_path, "--quiet")
    cli("train", "--config", "windowed-sine-tiny", cell, *tiny, *small).done()


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_stops_and_resumes_to_the_same_bytes(cli, tmp_path, name):
    options = ("--config", "sine-waves", f"model.cell={name}", *SMALL, "--output-dir", tmp_path)
    cli("train", *options, "--name", "straight").done()
    assert cli("train", *options, "--name", "stopped", "--max-time", "0.000001").code == 75
    cli("train", "--resume", tmp_path / "stopped").done()
    best = [(tmp_path / run / "checkpoints" / "best.safetensors").read_bytes() for run in ("straight", "stopped")]
    assert best[0] == best[1]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["model.engine=torch"], "model.engine"),
        (["model.device=cuda"], "model.device"),
        (["optimizer={kind: levenberg_marquardt}", "training.clip=null"], "optimizer.kind"),
    ],
)
def test_a_config_that_needs_torch_for_a_cell_of_numpy_alone_is_refused(cli, alone, overrides, key):
    outcome = cli("train", "--config", "sine-waves", alone, *SMALL, *overrides, "--dry-run")
    outcome.refused(2, key, "the cell mgu is written in NumPy alone")


def test_a_cell_of_numpy_alone_is_trained_and_says_what_it_cannot(cli, alone, tmp_path):
    cli("train", "--config", "sine-waves", alone, *SMALL, "--name", "a", "--output-dir", tmp_path).done()
    cli("gradcheck", "--config", "sine-waves", alone, *SMALL).done()
    run = tmp_path / "a"
    cli("gradcheck", "--config", "sine-waves", alone, *SMALL, "--oracle", "torch").refused(5, "NumPy alone")
    cli("export", run, "--to", "torch", "-o", tmp_path / "a.pt2").refused(5, "NumPy alone")
    assert not (tmp_path / "a.pt2").exists()
    cli("trace", run, "--steps", 1).refused(2, "NumPy alone", "--against none")
    cli("trace", run, "--steps", 1, "--against", "none").done()
    shutil.rmtree(run)
