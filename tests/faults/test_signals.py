"""Ctrl-C, SIGTERM and SIGHUP anywhere: one line, the right exit code, within a second, and a run that goes on."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lstmcast import runs

CODES = {"SIGINT": 130, "SIGTERM": 75, "SIGHUP": 75}
LBFGS = {"optimizer": {"kind": "lbfgs"}, "training__batch_size": None}
# where the signal comes: the function, its call, further config
TRAINING = {
    "data": ("lstmcast.experiment.train_run:make_dataset", 1, {}),
    "folder": ("lstmcast.runs:make_folder", 1, {}),
    "forward": ("lstmcast.network.numpy_engine:NumpyEngine.loss_and_gradient", 3, {}),
    "optimizer": ("lstmcast.training.schedules:Schedule.step", 2, {}),
    "lbfgs closure": ("lstmcast.network.numpy_engine:NumpyEngine.loss_and_gradient", 7, LBFGS),
    "save": ("lstmcast.training.checkpoints:write", 3, {}),
    "fsync": ("os:fsync", 14, {}),
    "validation": ("lstmcast.config.build:rollout_rmse", 2, {}),
    "evaluate": ("lstmcast.experiment.train_run:evaluate", 1, {}),
    "plots": ("lstmcast.reports.plots:loss", 1, {}),
}


def signalled(output):
    """Return when the signal was sent, and what was printed besides."""
    first, _, rest = output.read_text().partition("signalled at ")
    time_, _, last = rest.partition("\n")
    return float(time_), first + last


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("where", TRAINING)
def test_a_training_stops_and_goes_on(server, trainings, make_config, folder, where, name, count, everything):
    if not everything and name != "SIGINT" and where not in ("lbfgs closure", "evaluate"):
        pytest.skip("FAULTS=all")
    function, call, changes = TRAINING[where]
    config, run, output = make_config(folder / "c.yaml", **changes), runs.Run(folder / "run"), folder / "output"
    arguments = ("train", "--config", config, "--output-dir", folder, "--name")
    # scores and pictures take long: only where they are what is interrupted
    few = where not in ("evaluate", "plots")
    server.start(*arguments, "run", output=output, signal=[getattr(signal, name), function, call], every_step=few)
    code, ended = server.wait()
    sent, printed = signalled(output)
    assert code == CODES[name], printed
    assert ended - sent < 1
    assert "Traceback" not in printed
    count("signals answered")
    count("longest answer to a signal, seconds", ended - sent)
    assert trainings.temporaries(folder) == []
    if where in ("data", "folder"):
        assert printed.splitlines()[-1].startswith("stopped by "), printed
        assert not run.path.exists()
        return
    assert f"lstmcast train --resume {run.path}" in printed
    assert run.read_manifest()["status"] == "stopped"
    for path, more in ((run.path, ("train", "--resume", run.path)), (folder / "whole", (*arguments, "whole"))):
        assert server.run(*more, output=output, every_step=True) == 0, output.read_text()
        assert runs.Run(path).read_manifest()["status"] == "finished"
    assert trainings.result(run) == trainings.result(runs.Run(folder / "whole"))


@pytest.mark.parametrize("where", ["forward", "lbfgs closure", "save"])
def test_the_second_time_it_leaves_at_once(server, trainings, make_config, folder, where, count):
    function, call, changes = TRAINING[where]
    config, run, output = make_config(folder / "c.yaml", **changes), runs.Run(folder / "run"), folder / "output"
    arguments = ("train", "--config", config, "--output-dir", folder, "--name", "run")
    server.start(*arguments, output=output, signal=[signal.SIGINT, function, call, 2], every_step=True)
    code, _ = server.wait()
    _, printed = signalled(output)
    assert code == 130, printed
    assert "stopped at once" in printed
    assert "Traceback" not in printed
    count("signals answered")
    assert server.run("train", "--resume", run.path, output=output, every_step=True) == 0
    assert trainings.temporaries(folder) == []


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize(
    ("command", "where"),
    [
        ("predict RUN --future 1000000 -o FILE", "lstmcast.forecasting.table:csv_rows"),
        ("predict RUN --future 1000000", "lstmcast.forecasting.table:csv_rows"),
        ("evaluate RUN", "lstmcast.experiment.trained:evaluate"),
        ("plot RUN", "lstmcast.reports.plots:rollout"),
        ("plot RUN", "lstmcast.reports.plots:save"),
    ],
)
def test_other_commands_stop(server, trainings, folder, command, where, name, count):
    output, file = folder / "output", folder / "forecast.csv"
    trainings.start(folder)
    file.write_text("precious")
    arguments = command.replace("RUN", str(folder / "run")).replace("FILE", str(file)).split()
    server.start(*arguments, output=output, signal=[getattr(signal, name), where, 1])
    code, ended = server.wait()
    sent, printed = signalled(output)
    assert (code, ended - sent < 1) == (CODES[name], True)
    assert "stopped by " in printed.splitlines()[-1]
    assert "Traceback" not in printed
    assert file.read_text() == "precious"
    assert trainings.temporaries(folder) == []
    count("signals answered")


def caught(pid, number):
    """Return whether a process catches a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1)


def test_ctrl_c_while_the_program_starts(make_config, folder, everything, count):
    """At any moment after Python itself has started: one line, and nothing is written."""
    config = make_config(folder / "c.yaml")
    arguments = ["-m", "lstmcast", "train", "--config", config, "--output-dir", folder / "outputs"]
    draw, answered = random.Random(0), 0
    for _ in range(30 if everything else 4):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Python itself has started when the program's first lines have: nobody else catches SIGHUP
        while not caught(process.pid, signal.SIGHUP):
            assert process.poll() is None
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            continue  # it was faster
        assert process.returncode == 130, err
        assert out == ""
        if "training" not in err:
            assert err == "stopped by Ctrl-C\n"
            answered += 1
    assert answered
    count("signals answered", answered)


def test_what_the_shell_ignores_stays_ignored(make_config, folder):
    """As under nohup."""
    arguments = ("train", "--config", make_config(folder / "c.yaml"), "--output-dir", folder, "--name", "run", "--json")
    process = subprocess.Popen(
        [sys.executable, "-m", "lstmcast", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    while not (folder / "run").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert json.loads(out)["status"] == "finished"
