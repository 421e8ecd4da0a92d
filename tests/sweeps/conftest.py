"""Tiny sweeps, and ways to run the program."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

BASE = """
data: {kind: sine_bank, sequences: 6, length: 60, scale: 5, test_sequences: 2}
model: {hidden_sizes: [4]}
optimizer: {kind: adam, learning_rate: 1e-2}
training: {steps: 3}
"""
SPEC = """
base: base.yaml
parameters:
  optimizer.learning_rate: [1e-3, 1e-2]
seeds: [0, 1]
metric: rollout.rmse
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Write a sweep and its base into a folder, and go there."""
    monkeypatch.chdir(tmp_path)

    def write(spec=SPEC, base=BASE):
        (tmp_path / "base.yaml").write_text(base)
        (tmp_path / "spec.yaml").write_text(spec)
        return tmp_path

    return write


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "lstmcast", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


def run(*arguments, code=0):
    return finish(start(*arguments), code)


def trials(sweep):
    return json.loads((sweep / "sweep.json").read_text())["trials"]


def results(sweep):
    """Return what a sweep found, and the bytes of every trial's forecast."""
    found = {
        trial["number"]: (trial["parameters"], trial["seed"], trial["status"], trial["score"])
        for trial in trials(sweep)
    }
    return found, {path.parent.name: path.read_bytes() for path in sweep.glob("trial-*/forecast.csv")}


def wait_for(condition, process, seconds=300):
    """Wait until something has happened while a process runs."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def holder(folder):
    """Return the process that holds the lock of a run, or None."""
    lock = folder / "lock"
    if not lock.exists():
        return None
    inode = str(lock.stat().st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        _, kind, _, _, process, file, *_ = line.split()
        if kind == "FLOCK" and file.rpartition(":")[2] == inode:
            return int(process)
    return None


def kill(process):
    os.kill(process, signal.SIGKILL)


@pytest.fixture(scope="session")
def program():
    """Ways to run the program as a process of its own, and to look at what it leaves."""
    return SimpleNamespace(
        start=start, finish=finish, run=run, trials=trials, results=results, wait_for=wait_for, holder=holder, kill=kill
    )
