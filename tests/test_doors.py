"""ARCHITECTURE.md and CONTRIBUTING.md are true: the tree is whole, files exist, commands and code run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "lstmcast"
ARCHITECTURE, CONTRIBUTING = ((ROOT / f"{name}.md").read_text("utf-8") for name in ("ARCHITECTURE", "CONTRIBUTING"))
ALWAYS = {"__init__.py", "__main__.py", "py.typed", "__pycache__"}


def tree():
    """Return the files and folders that the tree names, as paths below the package."""
    block = re.search(r"```text\nsrc/lstmcast/\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    paths, above = [], []
    for line in block.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[: depth - 1], line.split()[0].rstrip("/")]
        paths.append("/".join(above))
    return paths


def test_the_tree_is_whole():
    named = tree()
    assert len(named) == len(set(named))
    for path in named:
        assert (SOURCE / path).exists(), path
    found = {path.name for path in SOURCE.iterdir()} - ALWAYS
    assert found == {path for path in named if "/" not in path}
    folders = {str(path.relative_to(SOURCE)) for path in SOURCE.glob("*/*/") if path.name != "__pycache__"}
    assert folders == {path for path in named if "/" in path}


def test_files_are_there():
    for text in (ARCHITECTURE, CONTRIBUTING):
        named = re.findall(r"`((?:src|tests|docs)/[\w/.-]+)`", text)
        named += [
            f"src/lstmcast/{path}"
            for path in re.findall(r"`((?:\w+/)+\w+\.py)`", text)
            if path[:4] not in ("src/", "test")
        ]
        for path in named:
            assert (ROOT / path).exists(), path
        for target in re.findall(r"\]\(([^)#]+?)\)", text):
            assert target.startswith("http") or (ROOT / target).exists(), target
    assert len(re.findall(r"`src/", CONTRIBUTING)) > 20


def test_the_code_of_the_architecture_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", ARCHITECTURE, re.DOTALL)
    names = {}
    exec(compile(block, "ARCHITECTURE.md", "exec"), names)
    assert names["forecast"].values.shape == (1, 20, 1)


@pytest.mark.parametrize("command", re.findall(r"^\$ (.*?)(?:    #.*)?$", CONTRIBUTING, re.MULTILINE))
def test_commands_are_there(command):
    if command.startswith("make "):
        assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return
    program, *arguments = command.split()
    assert (ROOT / program).name == "pytest"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
