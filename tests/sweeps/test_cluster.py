"""A sweep on a real Dask cluster of two workers, one of which is killed, is the sweep on one machine."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("distributed")
pytest.importorskip("optuna")

DASK = str(Path(sys.executable).parent / "dask")
SPEC = """
base: base.yaml
parameters: {optimizer.learning_rate: [1e-3, 1e-2, 1e-1]}
seeds: [0, 1]
"""
BASE = """
data: {kind: sine_bank, sequences: 12, length: 100, scale: 5, test_sequences: 2}
model: {hidden_sizes: [8]}
optimizer: {kind: adam}
training: {steps: 60}
"""
HOPELESS = """
base: base.yaml
overrides: {training.steps: 900, training.validation: {every: 20, metric: next_step}, data.validation_sequences: 2}
parameters: {optimizer.learning_rate: [1e-2, 1e-9]}
pruning: {kind: median, startup_trials: 1}
metric: validation
"""


@contextmanager
def started(folder, *arguments):
    with (folder / "dask.log").open("a") as log:
        process = subprocess.Popen([DASK, *arguments], stdout=log, stderr=log, cwd=folder)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_a_killed_worker_loses_nothing(files, program):
    folder = files(SPEC, BASE)
    with ExitStack() as stack:
        file = folder / "scheduler.json"
        where = ("--scheduler-file", str(file))
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        scheduler = stack.enter_context(started(folder, "scheduler", *where, *options))
        worker = ("worker", *where, "--no-nanny", "--nthreads", "1", "--no-dashboard")
        # a folder of their own: they share no file with the sweep
        workers = []
        for name in ("one", "two"):
            (folder / name).mkdir()
            inside = ("--name", name, "--local-directory", str(folder / name))
            workers.append(stack.enter_context(started(folder / name, *worker, *inside)))
        address = program.wait_for(lambda: file.exists() and json.loads(file.read_text())["address"], scheduler)

        process = program.start("sweep", "run", "spec.yaml", "--name", "far", "--cluster", address)
        far = folder / "outputs" / "far"

        def second_trial_runs():
            if not (far / "sweep.json").exists():
                return False
            status = [trial["status"] for trial in program.trials(far)]
            return status.count("running") == 2 and "finished" in status

        program.wait_for(second_trial_runs, process)
        workers[1].kill()
        program.finish(process)

        # the one that is left takes words, too
        (folder / "hopeless.yaml").write_text(HOPELESS)
        program.run("sweep", "run", "hopeless.yaml", "--name", "pruned", "--cluster", address, "--quiet")
        status = [trial["status"] for trial in program.trials(folder / "outputs" / "pruned")]
        assert status == ["finished", "pruned"]
        process = program.start("sweep", "run", "hopeless.yaml", "--name", "stopped", "--cluster", address)
        stopped = folder / "outputs" / "stopped" / "sweep.json"
        program.wait_for(lambda: stopped.exists() and '"running"' in stopped.read_text(), process)
        process.send_signal(signal.SIGINT)
        _, err = program.finish(process, 130)
        assert "--name stopped --resume" in err
        assert [trial["status"] for trial in program.trials(stopped.parent)] == ["waiting", "waiting"]
    program.run("sweep", "run", "spec.yaml", "--name", "near", "--jobs", "2", "--quiet")
    found, forecasts = program.results(far)
    assert [status for _, _, status, _ in found.values()] == ["finished"] * 6
    assert len(forecasts) == 6
    assert (found, forecasts) == program.results(folder / "outputs" / "near")


def test_no_scheduler(files, program):
    files(SPEC, BASE)
    _, err = program.run("sweep", "run", "spec.yaml", "--cluster", "tcp://127.0.0.1:9", code=4)
    assert err.count("error: ") == 1
    assert "--cluster tcp://127.0.0.1:9: no scheduler answers there" in err
    for address in ("foo", "http://127.0.0.1:1"):
        _, err = program.run("sweep", "run", "spec.yaml", "--cluster", address, code=4)
        assert f"error: --cluster {address}: no scheduler answers there" in err
        assert "Traceback" not in err


TPE = "base: base.yaml\nsearch: tpe\ntrials: 2\nparameters: {optimizer.learning_rate: [1, 2]}\n"


@pytest.mark.parametrize(("library", "extra"), [("distributed", "dask"), ("optuna", "optuna")])
def test_a_missing_extra(files, program, library, extra, monkeypatch):
    spec, arguments = (SPEC, ("--cluster", "tcp://x:1")) if extra == "dask" else (TPE, ())
    folder = files(spec, BASE)
    (folder / "absent").mkdir()
    (folder / "absent" / f"{library}.py").write_text("raise ImportError\n")
    monkeypatch.setenv("PYTHONPATH", f"{folder / 'absent'}:{os.environ.get('PYTHONPATH', '')}")
    _, err = program.run("sweep", "run", "spec.yaml", *arguments, code=3)
    assert f"hint: pip install 'lstmcast[{extra}]'" in err
    assert not (folder / "outputs").exists()
