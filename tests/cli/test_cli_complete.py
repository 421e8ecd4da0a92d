"""The tab key, in the shells themselves where they are installed."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lstmcast.network.cells import CELLS

PROGRAM = Path(sys.executable).parent / "lstmcast"
BASH = """
source <(_LSTMCAST_COMPLETE=source_bash "$PROGRAM")
COMP_WORDS=({words}) COMP_CWORD={index}
_lstmcast_completion "$PROGRAM"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def folder(sines, tmp_path_factory):
    """Return a folder with two runs, a sweep, and something else."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("outputs/waves-a", "outputs/waves-b", "outputs/study/trial-1"):
        shutil.copytree(sines.path, folder / name)
    (folder / "outputs" / "waves-not-a-run").mkdir()
    (folder / "outputs" / "swept").mkdir()
    (folder / "outputs" / "swept" / "sweep.json").write_text("{}")
    (folder / "my.yaml").write_text("seed: 0\n")
    return folder


def run(folder, command, **variables):
    environment = os.environ | {"PROGRAM": str(PROGRAM), **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=60)


def bash(folder, *words):
    """Return what bash offers after ``lstmcast`` and these words, cut as bash cuts them."""
    text = BASH.format(words=shlex.join(["lstmcast", *words]), index=len(words))
    return run(folder, ["bash", "-c", text]).stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["predict", "wa"], ["waves-a", "waves-b"]),
        (["report", "st"], ["study"]),
        (["sweep", "best", ""], ["latest", "swept"]),
        (["evaluate", "outputs/study/"], ["outputs/study/trial-1/"]),
        (["train", "--config", "sine"], ["sine-waves"]),
        (["train", "--config", "x", "optimizer.k"], ["optimizer.kind=", "optimizer.kind=adam", "optimizer.kind=adamw"]),
        (["train", "--config", "x", "optimizer.kind", "=", "ad"], ["adam", "adamw"]),
        (["train", "--config", "x", "model.cell", "="], list(CELLS)),
        (["trace", "--config", "x", "model.cell", "="], list(CELLS)),
        (["trace", "wa"], ["waves-a", "waves-b"]),
        (["runs", "--where", "training.ste"], ["training.steps="]),
        (["config", "copy", "windowed"], ["windowed-sine", "windowed-sine-tiny"]),
    ],
)
def test_bash(folder, words, offered):
    found = bash(folder, *words)
    assert found[: len(offered)] == offered
    assert "waves-not-a-run" not in found


def test_other_output_folders(folder):
    assert bash(folder, "predict", "--output-dir", "outputs/study", "tr") == ["trial-1"]


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish on the PATH")
def test_fish(folder, tmp_path):
    script = tmp_path / "lstmcast.fish"
    script.write_text(run(folder, [PROGRAM], _LSTMCAST_COMPLETE="source_fish").stdout)
    text = f"set PATH {PROGRAM.parent} $PATH; source {script}; complete -C 'lstmcast train --config x model.cell='"
    found = run(folder, ["fish", "--no-config", "-c", text], HOME=str(tmp_path)).stdout.split()
    assert sorted(found) == sorted(f"model.cell={name}" for name in CELLS)


def test_zsh(folder, tmp_path):
    variables = {"_LSTMCAST_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "lstmcast train optimizer.kind=ad"}
    assert run(folder, [PROGRAM], **variables).stdout.split("((")[1].split() == [
        '"optimizer.kind=adam"',
        '"optimizer.kind=adamw"))\'',
    ]
    script = tmp_path / "_lstmcast"
    script.write_text(run(folder, [PROGRAM], _LSTMCAST_COMPLETE="source_zsh").stdout)
    assert "compdef" in script.read_text()
    if shutil.which("zsh"):
        run(folder, ["zsh", "-n", script])


def test_neither_torch_nor_the_engines_are_loaded(folder):
    variables = {"_LSTMCAST_COMPLETE": "complete_bash", "COMP_WORDS": "lstmcast train seed", "COMP_CWORD": "2"}
    command = [sys.executable, "-X", "importtime", PROGRAM]
    loaded = run(folder, command, **variables).stderr
    assert " lstmcast.config.schema" in loaded
    for heavy in (" torch", " matplotlib", " lstmcast.network.numpy_engine"):
        assert f"{heavy}\n" not in loaded
