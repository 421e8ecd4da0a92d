"""Training under torchrun, in two real processes, is training in one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
# segments of different lengths, an odd batch, random states and masked steps: nothing is shared out evenly
SEGMENTS = """
data: {kind: random_segments, length: 600, scale: 5, min_timesteps: 20, max_timesteps: 50, validation_share: 0.1}
model: {engine: numpy, cell: lstm, hidden_sizes: [5, 4]}
optimizer: {kind: adam, learning_rate: 1e-2}
training:
  steps: 300
  batch_size: 7
  initial_state_std: 0.1
  warmup: 3
  rollout: {steps: 5, start: 0.1}
  validation: {every: 10, metric: next_step}
"""
BANK = """
data: {kind: sine_bank, sequences: 7, length: 60, scale: 5, test_sequences: 2}
model: {engine: torch, hidden_sizes: [6]}
optimizer: {kind: lbfgs, line_search: strong_wolfe, max_iterations: 4}
training: {steps: 10}
"""


def command(config, name, *more):
    return ("-m", "lstmcast", "train", "--config", config, "--name", name, *more)


def alone(folder, *arguments):
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True, timeout=300)


def together(folder, *arguments):
    return subprocess.Popen(
        [*TORCHRUN, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_equal(one, two):
    np.testing.assert_allclose(losses(one), losses(two), rtol=0, atol=1e-10)
    ours, theirs = (load_file(run / "checkpoints" / "best.safetensors") for run in (one, two))
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-10)


def processes_of(torchrun):
    """Return the trainers' process numbers by rank."""
    found = {}
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        for variable in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            if variable.startswith(b"RANK="):
                found[int(variable[5:])] = int(child)
    return found


def test_lbfgs_and_the_torch_engine(tmp_path):
    (tmp_path / "bank.yaml").write_text(BANK)
    process = together(tmp_path, *command("bank.yaml", "two", "--json"))
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)["status"] == "finished"
    alone(tmp_path, *command("bank.yaml", "one"))
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["one", "two"]
    assert_equal(tmp_path / "outputs" / "one", tmp_path / "outputs" / "two")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for the processes in /proc")
def test_a_signal_to_one_process_stops_all_and_one_process_can_go_on(tmp_path):
    (tmp_path / "segments.yaml").write_text(SEGMENTS)
    two = tmp_path / "outputs" / "two"
    process = together(tmp_path, *command("segments.yaml", "two", "--quiet"))
    deadline = time.monotonic() + 300
    while not (two / "metrics.jsonl").exists() or len(losses(two)) < 30:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(processes_of(process.pid)[1], signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert out == "outputs/two\n", err
    assert "exitcode  : 75" in err
    assert json.loads((two / "run.json").read_text())["status"] == "stopped"
    assert 30 <= len(losses(two)) < 300
    alone(tmp_path, "-m", "lstmcast", "train", "--resume", "two")
    alone(tmp_path, *command("segments.yaml", "one"))
    assert_equal(tmp_path / "outputs" / "one", two)
