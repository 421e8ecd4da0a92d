"""Every command in the README and in docs/ runs as written, at small size."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

# stands before the real command on the PATH: the same, with less to train
SMALL = """#!/bin/sh
case "$*" in
  *--resume*) ;;
  *pytorch-example*) small="data.length=60 training.steps=2" ;;
  train*windowed*) small="training.epochs=null training.steps=5" ;;
  train*adam-minibatches*) small="training.steps=5 schedule.warmup_steps=1 then=[]" ;;
  train*) small="training.steps=5 then=[]" ;;
esac
exec {real} "$@" $small
"""


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line.split("    #")[0].strip() for line in lines]


def smaller_sweep():
    """Return the documented sweep with one of its parameters and one seed."""
    page = (ROOT / "docs" / "how-do-i-sweep-over-configs.md").read_text(encoding="utf-8")
    spec = re.search(r"```yaml\n(# rates\.yaml\n.*?)```", page, re.DOTALL)[1]
    lines = [line for line in spec.splitlines() if "momentum" not in line and "hidden_sizes" not in line]
    return "\n".join(lines).replace("seeds: [0, 1]", "seeds: [0]") + "\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(page, tmp_path):
    wrapper = tmp_path / "bin" / "lstmcast"
    wrapper.parent.mkdir()
    wrapper.write_text(SMALL.format(real=Path(sys.executable).parent / "lstmcast"))
    wrapper.chmod(0o755)
    folder = tmp_path / "work"
    folder.mkdir()
    rows = [f"{t},{1000 + 300 * math.sin(t / 4):.1f}" for t in range(400)]
    (folder / "my.csv").write_text("\n".join(["time,level", *rows]) + "\n")
    (folder / "rates.yaml").write_text(smaller_sweep())
    environment = os.environ | {"PATH": f"{wrapper.parent}:{os.environ['PATH']}"}
    for command in commands(page):
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
            continue
        done = subprocess.run(
            ["bash", "-ec", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
