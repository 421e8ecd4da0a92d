"""kill -9 at random moments of training and saving, and once more while the run is taken up again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import suppress

import pytest

from lstmcast import runs
from lstmcast.experiment import train_run

STEPS = 30


@pytest.fixture(scope="module")
def longer(make_config, tmp_path_factory):
    return make_config(tmp_path_factory.mktemp("longer") / "config.yaml", training__steps=STEPS)


def killed(server, delay, *arguments, **request):
    """Start the program and kill it after a while; return whether it was still alive."""
    pid = server.start(*arguments, every_step=True, **request)
    time.sleep(delay)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return server.wait()[0] == -signal.SIGKILL


@pytest.mark.parametrize("round_", range(10))
def test_nothing_acknowledged_is_lost(server, longer, trainings, folder, round_, everything, count):
    draw = random.Random(round_)
    arguments = ("train", "--config", longer, "--output-dir", folder, "--quiet")
    output, acknowledged = folder / "output", folder / "acknowledged"
    started = time.monotonic()
    assert server.run(*arguments, "--name", "unbroken", output=output, every_step=True) == 0
    usual = time.monotonic() - started
    expected = trainings.result(runs.Run(folder / "unbroken"))
    for attempt in range(18 if everything else 1):
        run = runs.Run(folder / f"run-{attempt}")
        acknowledged.write_text("")
        request = {"output": output, "acknowledge": str(acknowledged)}
        kills = killed(server, draw.uniform(0, usual), *arguments, "--name", run.name, **request)
        while kills % 2 and run.manifest.exists():
            survives(run, acknowledged)
            kills += killed(server, draw.uniform(0, usual / 2), "train", "--resume", run.path, "--quiet", **request)
        if run.manifest.exists():
            survives(run, acknowledged)
            code = server.run("train", "--resume", run.path, "--quiet", output=output, every_step=True)
            assert code == 0, output.read_text()
            assert trainings.result(run) == expected
            assert trainings.temporaries(folder) == []
        else:
            assert acknowledged.read_text() == ""
        count("kills -9", kills)
        count("kills -9 survived, resumed bit-equal", kills)
        shutil.rmtree(run.path, ignore_errors=True)


def survives(run, acknowledged):
    training = train_run.Training.resume(run)
    assert training._warnings == []  # both states are whole
    assert training.trainer.step >= max(map(int, acknowledged.read_text().split()), default=0)
