"""Processes that share each batch give the batch's loss and gradient, end with the first one, and hold nothing open."""

from __future__ import annotations

import errno
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lstmcast.config.load import load
from lstmcast.data.batches import Batch
from lstmcast.errors import InvalidError
from lstmcast.experiment.train_run import StopRequest, Training, fingerprint
from lstmcast.network import processes
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.processes import Processes, cores
from lstmcast.network.torch_engine import TorchEngine
from lstmcast.stop import Stopped

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux alone forks safely")

CONFIG = """
data: {kind: sine_bank, sequences: 40, length: 200, scale: 5, test_sequences: 2}
model: {hidden_sizes: [12]}
optimizer: {kind: adam, learning_rate: 1e-2}
training: {steps: 300, batch_size: 37}
"""


def make(kind, N=7, T=12, *, weights=None, rollout=0):
    network = Network("lstm", 1, (5, 4), (), 1)
    parameters = Parameters(network, np.float64, shared=True)
    parameters.initialize(network, np.random.default_rng(0))
    random = np.random.default_rng(1)
    inputs, targets = random.standard_normal((2, N, T, 1))
    feedback = np.broadcast_to(np.arange(T) >= T - rollout, (N, T)) if rollout else None
    initial = random.standard_normal((N, network.state_size))
    return kind(network, parameters), Batch(inputs, targets, weights, feedback, initial_state=initial)


def helpers(together):
    """Return the process numbers of its own helpers: the test's process may have other children."""
    return {process.pid for process, _, _ in together._others}


def running(numbers):
    return {number for number in numbers if Path(f"/proc/{number}").exists()}


@pytest.mark.parametrize("kind", [NumpyEngine, TorchEngine])
@pytest.mark.parametrize("count", [2, 3, 7])
@pytest.mark.parametrize("rollout", [0, 5])
def test_the_shares_make_the_whole(kind, count, rollout):
    weights = np.random.default_rng(2).uniform(0, 1, (7, 12))
    weights[:3] = 0  # one process, or several, have nothing that counts
    engine, batch = make(kind, weights=weights, rollout=rollout)
    loss = engine.loss_and_gradient(batch)
    gradient = engine.parameters.gradient.copy()
    together = Processes(engine, count)
    for _ in range(2):
        engine.parameters.gradient[:] = np.nan
        assert together.loss_and_gradient(batch) == pytest.approx(loss, rel=1e-13)
        np.testing.assert_allclose(engine.parameters.gradient, gradient, rtol=0, atol=1e-14)
    # the others follow the parameters
    engine.parameters.values *= 1.5
    moved = together.loss_and_gradient(batch)
    assert abs(moved - loss) > 1e-3
    assert moved == pytest.approx(engine.loss_and_gradient(batch), rel=1e-13)
    together.close()


def test_all_processes_change_to_compiled_passes():
    pytest.importorskip("numba")
    engine, batch = make(NumpyEngine)
    together = Processes(engine, 2)
    plain = together.loss_and_gradient(batch)
    first = helpers(together)
    together.compile()
    assert not running(first)
    assert together.loss_and_gradient(batch) == pytest.approx(plain, rel=1e-13)
    # there is nothing more to compile
    engine.compile = lambda: False
    first = helpers(together)
    together.compile()
    assert helpers(together) == running(first) == first
    assert len(first) == 1
    together.close()


def test_a_batch_is_shared_as_far_as_there_is_work(monkeypatch):
    monkeypatch.setattr(processes, "cores", lambda: 4)
    engine, batch = make(NumpyEngine, N=64, T=100)
    # 64 x 100 x 9 numbers are worth two processes, though there are four cores; half of the steps only one
    assert Processes(engine).parts(batch) == 2
    assert Processes(engine).parts(batch.cut(50)) == 1
    assert Processes(engine).parts(make(NumpyEngine, N=15, T=9000)[1]) == 1
    assert Processes(engine, 3).parts(batch.cut(1)) == 3
    assert Processes(engine, 3).parts(batch.part(slice(0, 2))) == 2


def test_processes_begin_with_the_first_batch_that_needs_them_and_end_when_they_are_told():
    engine, batch = make(NumpyEngine)
    together = Processes(engine, 3)
    together.loss_and_gradient(batch.part(slice(0, 1)))
    assert not helpers(together)
    loss = together.loss_and_gradient(batch)
    first = helpers(together)
    assert len(running(first)) == 2
    together.close()
    assert not running(first)
    assert together.loss_and_gradient(batch) == loss
    together.close()


def test_cores_are_for_one_program_that_forks_safely(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)))
    assert cores() == 8
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert cores() == 1
    monkeypatch.undo()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(cores) == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 1
    with pytest.raises(processes.InvalidError, match=r"model\.processes: 3 .* Linux"):
        Processes(make(NumpyEngine)[0], 3)


def test_a_process_that_may_have_none_of_its_own_says_so():
    refused = pytest.raises(processes.InvalidError, match=r"model\.processes: 2, but a cluster's worker")
    with multiprocessing.get_context("fork").Pool(1) as pool, refused:
        pool.apply(alone_or_error)


def alone_or_error():
    Processes(make(NumpyEngine)[0], 2)


def test_an_error_in_another_process_is_raised_here_and_leaves_nothing_behind(monkeypatch):
    engine, batch = make(NumpyEngine)
    expected = engine.loss_and_gradient(batch)
    evaluate, here = NumpyEngine.loss_and_gradient, os.getpid()

    def spoilt(self, batch):
        if os.getpid() != here:
            raise MemoryError("there is none")
        return evaluate(self, batch)

    together = Processes(engine, 3)
    with monkeypatch.context() as patch:
        patch.setattr(NumpyEngine, "loss_and_gradient", spoilt)
        with pytest.raises(MemoryError, match="there is none"):
            together.loss_and_gradient(batch)
    assert together.loss_and_gradient(batch) == pytest.approx(expected, rel=1e-13)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NumpyEngine, "loss_and_gradient", interrupted)
        with pytest.raises(KeyboardInterrupt):
            together.loss_and_gradient(batch.part(slice(3, 6)))
    # no answer to the last question is taken for one to this
    assert together.loss_and_gradient(batch) == pytest.approx(expected, rel=1e-13)
    together.close()


def lost(_engine):
    if multiprocessing.parent_process():
        raise ConnectionError("the task's own")


def test_an_error_of_the_task_is_no_lost_process():
    together = Processes(make(NumpyEngine)[0], 2)
    with pytest.raises(ConnectionError, match="the task's own"):
        together.map(lost, [(), ()])
    together.close()


ENDLESS = """
import os, sys, time
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.processes import Processes

def work(engine, forever):
    print(os.getpid(), flush=True)
    begun = time.monotonic()
    while forever and time.monotonic() < begun + 60:
        pass
    time.sleep(60)

network = Network("lstm", 1, (3,), (), 1)
Processes(NumpyEngine(network, Parameters(network, shared=True)), 2).map(work, [(False,), (True,)])
"""


def test_a_process_ends_with_the_first_one_in_the_middle_of_its_work():
    with subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True) as first:
        others = {int(first.stdout.readline()) for _ in range(2)} - {first.pid}
        assert len(others) == 1
        first.kill()
        # the other holds its output open as long as it lives
        assert select.select([first.stdout], [], [], 30)[0]
        assert first.stdout.read() == ""


def test_a_system_without_room_for_a_process_is_said_to_have_none(monkeypatch):
    def full():
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    engine, batch = make(NumpyEngine)
    shared = Processes(engine, 3)
    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(InvalidError, match=r"model\.processes: no room for 3 processes: Cannot allocate memory"):
        shared.loss_and_gradient(batch)


def test_a_diverging_network_is_no_warning():
    engine, batch = make(NumpyEngine)
    together = Processes(engine, 2)
    away = np.where(np.arange(7) < 3, np.inf, -np.inf)[:, None, None]
    together.loss_and_gradient(replace(batch, targets=np.broadcast_to(away, batch.targets.shape)))
    assert not np.isfinite(engine.parameters.gradient).all()
    together.close()


THREADED = """
import numpy as np, torch
from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.products import TorchProducts
from lstmcast.network.processes import Processes

network = Network("lstm", 1, (300,), (), 1)
engine = NumpyEngine(network, Parameters(network, np.dtype("float64")), TorchProducts())
engine.parameters.initialize(network, np.random.default_rng(0))
batch = Batch(*np.random.default_rng(1).standard_normal((2, 400, 2, 1)))
loss = engine.loss_and_gradient(batch)  # now there are threads
np.testing.assert_allclose(Processes(engine, 2).loss_and_gradient(batch), loss, rtol=1e-12)
"""


def test_processes_are_forked_safely_where_there_are_threads():
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    subprocess.run([sys.executable, "-c", THREADED], env=environment, check=True, timeout=60)


def test_a_process_that_is_gone_stops_the_training():
    engine, batch = make(NumpyEngine)
    together = Processes(engine, 3)
    together.loss_and_gradient(batch)
    first = helpers(together)
    os.kill(min(first), signal.SIGKILL)
    with pytest.raises(Stopped, match="the end of a process"):
        together.loss_and_gradient(batch)
    assert not running(first)


def train(folder, *more, **options):
    (folder / "c.yaml").write_text(CONFIG)
    arguments = [sys.executable, "-m", "lstmcast", "train", "--config", "c.yaml", "--name", *more]
    return subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True, **options)


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


def test_nohup_holds_for_all_processes(tmp_path):
    process = train(
        tmp_path, "run", "model.processes=2", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    wait_for_steps(process, tmp_path / "outputs" / "run", 20)
    os.killpg(process.pid, signal.SIGHUP)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said


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


SHARED = """
data: {kind: sine_bank, sequences: 16, length: 80, test_sequences: 5, validation_sequences: 4}
model: {hidden_sizes: [3], processes: 2}
optimizer: {kind: adam}
training: {steps: 2, validation: {metric: rollout, horizon: 10, every: 1}}
"""


def test_rollouts_are_shared_in_training_and_cut_alike_on_one_core(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text(SHARED)
    monkeypatch.setattr(processes, "SERIES", 1)
    monkeypatch.setattr(processes, "ROLLOUT_NUMBERS", 1)
    shares, share = [], Processes.map

    def watched(self, task, arguments):
        result = share(self, task, arguments)
        shares.append((len(result), len(self._others)))
        self.close()
        return result

    monkeypatch.setattr(Processes, "map", watched)
    forecasts = []
    for count in (2, 1):
        monkeypatch.setattr(processes, "cores", lambda count=count: count)
        result = Training(load(str(tmp_path / "c.yaml"))).execute(tmp_path, None, "c", StopRequest())
        forecasts.append((result.run.path / "forecast.csv").read_bytes())
        # two validations by as many as asked for, then the evaluation by as many as there are cores
        assert shares[:2] == [(2, 1)] * 2
        assert shares[2:] == [(2, count - 1)] * len(shares[2:]) != []
        shares.clear()
    assert forecasts[0] == forecasts[1]


def test_a_checksum_of_how_a_machine_rounds_knows_the_compiler(monkeypatch):
    here = fingerprint.__wrapped__(1)
    assert fingerprint.__wrapped__(1) == here
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert fingerprint.__wrapped__(1) != here
