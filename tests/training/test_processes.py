"""Processes that share each batch give the batch's loss and gradient, end with the first one, and hold nothing open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.torch_engine import TorchEngine
from lstmcast.training import processes
from lstmcast.training.processes import Processes, cores, shared
from lstmcast.training.trainer import Stopped

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone forks safely")

CONFIG = """
data: {kind: sine_bank, sequences: 40, length: 200, scale: 5, test_sequences: 2}
model: {hidden_sizes: [12]}
optimizer: {kind: adam, learning_rate: 1e-2}
training: {steps: 300, batch_size: 37}
"""


class Always:
    """Draws the same batch again and again."""

    batches_per_epoch = None

    def __init__(self, batch):
        self.batch, self.drawn = batch, 0

    def next(self):
        self.drawn += 1
        return self.batch

    def state(self):
        return {"drawn": self.drawn}

    def restore(self, state):
        self.drawn = state["drawn"]


def make(kind, N=7, T=12, *, weights=None, rollout=0):
    network = Network("lstm", 1, (5, 4), (), 1)
    parameters = Parameters(network, np.dtype("float64"))
    parameters.initialize(network, np.random.default_rng(0))
    random = np.random.default_rng(1)
    inputs, targets = random.standard_normal((2, N, T, 1))
    feedback = np.broadcast_to(np.arange(T) >= T - rollout, (N, T)) if rollout else None
    initial = random.standard_normal((N, network.state_size))
    return kind(network, parameters), Batch(inputs, targets, weights, feedback, initial_state=initial)


def children():
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("kind", [NumpyEngine, TorchEngine])
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("rollout", [0, 5])
def test_the_shares_make_the_whole(kind, count, rollout):
    weights = np.random.default_rng(2).uniform(0, 1, (7, 12))
    weights[:3] = 0  # one process, or several, have nothing that counts
    engine, batch = make(kind, weights=weights, rollout=rollout)
    loss = engine.loss_and_gradient(batch)
    gradient = engine.parameters.gradient.copy()
    together = Processes(engine, count, count)
    for _ in range(2):
        engine.parameters.gradient[:] = np.nan
        assert together.loss_and_gradient(batch) == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(engine.parameters.gradient, gradient, rtol=0, atol=1e-14)
    # the others follow the parameters
    engine.parameters.values *= 1.5
    moved = together.loss_and_gradient(batch)
    assert abs(moved - loss) > 1e-3
    assert moved == pytest.approx(engine.loss_and_gradient(batch), rel=1e-13)


def test_a_small_batch_is_left_to_one_process(monkeypatch):
    monkeypatch.setattr(processes, "cores", lambda: 4)
    engine, batch = make(NumpyEngine, N=64, T=20)
    assert shared(engine, Always(batch), None) is engine
    sampler = Always(make(NumpyEngine, N=64, T=100)[1])
    together = shared(engine, sampler, None)
    # 64 x 100 x 9 numbers are worth two processes, though there are four cores
    assert isinstance(together, Processes)
    assert together.count == 2
    assert sampler.drawn == 0
    assert shared(engine, Always(batch), 1) is engine
    assert shared(engine, Always(batch), 3).count == 3
    assert shared(engine, Always(batch.part(slice(0, 2))), 3).count == 2


def test_a_system_that_cannot_fork_computes_alone(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 1
    engine, batch = make(NumpyEngine)
    assert shared(engine, Always(batch), None) is engine
    with pytest.raises(processes.InvalidError, match=r"model\.processes: 3 .* Linux"):
        shared(engine, Always(batch), 3)


THREADED = """
import numpy as np, torch
from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.products import TorchProducts
from lstmcast.training.processes import Processes, cores

network = Network("lstm", 1, (300,), (), 1)
engine = NumpyEngine(network, Parameters(network, np.dtype("float64")), TorchProducts())
engine.parameters.initialize(network, np.random.default_rng(0))
batch = Batch(*np.random.default_rng(1).standard_normal((2, 400, 2, 1)))
loss = engine.loss_and_gradient(batch)  # now there are threads
np.testing.assert_allclose(Processes(engine, 2, 2).loss_and_gradient(batch), loss, rtol=1e-12)
print(cores())
"""


def test_threads_and_processes_share_the_cores_and_get_on_with_each_other():
    count = len(os.sched_getaffinity(0))
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    said = subprocess.run([sys.executable, "-c", THREADED], env=environment, capture_output=True, text=True, timeout=60)
    assert said.stderr == ""
    assert int(said.stdout) == max(1, count // 2)


def test_a_process_that_is_gone_stops_the_training_and_all_end_with_their_engine():
    engine, batch = make(NumpyEngine)
    before = children()
    together = Processes(engine, 3, 3)
    together.loss_and_gradient(batch)
    others = children() - before
    assert len(others) == 2
    os.kill(int(min(others)), signal.SIGKILL)
    with pytest.raises(Stopped, match="the end of a process"):
        together.loss_and_gradient(batch)
    del together
    for pid in others:
        os.waitpid(int(pid), 0)


def train(folder, *more):
    (folder / "c.yaml").write_text(CONFIG)
    arguments = [sys.executable, "-m", "lstmcast", "train", "--config", "c.yaml", "--name", *more]
    return subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True)


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def trained(folder, name):
    return (folder / "outputs" / name / "checkpoints" / "best.safetensors").read_bytes()


def wait_for_steps(process, run, steps):
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").exists() or (run / "metrics.jsonl").read_text().count("\n") < steps:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_kill_end_all_processes_and_a_resumed_run_has_the_same_bytes(tmp_path, number):
    process = train(tmp_path, "run", "model.processes=3")
    wait_for_steps(process, tmp_path / "outputs" / "run", 20)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "stopped by Ctrl-C" in said
        assert "Traceback" not in said
    else:
        process.kill()
        process.communicate(timeout=60)  # the others hold neither its pipes
    deadline = time.monotonic() + 60
    while alive(process.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # nor its lock
    resumed = [sys.executable, "-m", "lstmcast", "train", "--resume", "run", "--quiet"]
    said = subprocess.run(resumed, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    assert said.stderr == ""
    whole = train(tmp_path, "whole", "model.processes=3")
    whole.communicate(timeout=120)
    assert trained(tmp_path, "run") == trained(tmp_path, "whole")
    alone = train(tmp_path, "alone", "model.processes=1")
    alone.communicate(timeout=120)
    assert trained(tmp_path, "run") != trained(tmp_path, "alone")


def test_a_process_killed_in_a_run_leaves_a_run_that_goes_on(tmp_path):
    process = train(tmp_path, "run", "model.processes=2")
    run = tmp_path / "outputs" / "run"
    wait_for_steps(process, run, 20)
    other = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
    os.kill(int(other), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "stopped by the end of a process that computes a share of each batch after step" in said
    assert "train --resume" in said


@pytest.mark.skipif(cores() < 2, reason="there is one core")
def test_a_run_that_goes_on_with_fewer_cores_says_so(tmp_path):
    process = train(tmp_path, "run", "--max-time", "0.5", "training.steps=1000")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said
    resumed = [sys.executable, "-m", "lstmcast", "train", "--resume", "run", "--quiet"]
    one = {min(os.sched_getaffinity(0))}
    said = subprocess.run(
        resumed, cwd=tmp_path, capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, one)
    )
    assert said.returncode == 0
    assert "its cores or its libraries round otherwise" in said.stderr
