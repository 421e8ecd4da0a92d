"""Ctrl-C, SIGTERM and the time limit save the state; --resume then ends where an unbroken run does, to the byte."""

import json
import shutil
import signal
import time

import pytest

from lstmcast.errors import counted

STEPS = 600
# everything random, scheduled and averaged, so that nothing may be missing from the saved state
CHANGES = {
    "data__timesteps": 10,
    "data__validation_sequences": 1,
    "schedule": {"kind": "one_cycle"},
    "training": {
        "steps": STEPS,
        "batch_size": 3,
        "initial_state_std": 0.1,
        "weight_average": 0.9,
        "rollout": {"steps": 4, "start": 0.5},
        "validation": {"every": 40, "metric": "rollout", "horizon": 20},
    },
}


def result(run):
    return {
        name: (run / name).read_bytes() for name in ("metrics.jsonl", "checkpoints/best.safetensors", "forecast.csv")
    }


def status(run):
    return json.loads((run / "run.json").read_text())["status"]


def steps(run):
    return len((run / "metrics.jsonl").read_text().splitlines())


@pytest.fixture
def config(sines_config):
    return sines_config(**CHANGES)


def interrupt(process, run, number):
    """Send a signal as soon as the training has done a step."""
    metrics = run / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def test_resumed_runs_end_as_an_unbroken_one(cli, launch, config, tmp_path):
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    arguments = ("train", "--config", config, "--output-dir", tmp_path)
    process = launch(*arguments, "--name", "broken", "--quiet")
    code, out, err = interrupt(process, broken, signal.SIGINT)
    assert code == 130
    assert out == f"{broken}\n"
    assert "Ctrl-C" in err
    assert f"lstmcast train --resume {broken}" in err
    assert status(broken) == "stopped"
    first = steps(broken)
    assert 0 < first < STEPS
    # a forecast from what there is so far
    assert len(cli("predict", broken, "--future", 2).done().rows) == 4

    limited = cli("train", "--resume", "broken", "--output-dir", tmp_path, "--max-time", "0.02s", "--json")
    assert limited.code == 75
    assert limited.json["status"] == status(broken) == "stopped"
    assert first <= limited.json["steps"] == steps(broken) < STEPS
    assert "stopped by the time limit after" in limited.err
    assert f"training {broken}, which has done {counted(first, 'step')}\n" in limited.err

    # as a kill would leave it: steps that were done after the state was saved, and half a line
    with (broken / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"step": limited.json["steps"] + 1, "loss": 9.9}) + '\n{"step": ')

    # without a value: the latest
    resumed = cli("train", "--resume", "--output-dir", tmp_path, "--json").done().json
    assert resumed["run"] == str(broken)
    assert resumed["steps"] == STEPS
    assert status(broken) == "finished"
    cli(*arguments, "--name", "unbroken").done()
    assert result(broken) == result(unbroken)


def test_sigterm_stops_and_saves(launch, config, tmp_path):
    run = tmp_path / "term"
    process = launch("train", "--config", config, "--output-dir", tmp_path, "--name", "term", "--json")
    code, out, err = interrupt(process, run, signal.SIGTERM)
    assert code == 75
    assert json.loads(out)["status"] == status(run) == "stopped"
    assert "stopped by SIGTERM after" in err
    assert 0 < steps(run) == json.loads(out)["steps"] < STEPS


@pytest.mark.parametrize(
    ("option", "expected"), [((), "verdict: "), (("--quiet",), "damaged\n"), (("--json",), '"status": "finished"')]
)
def test_a_finished_run_is_left_alone(cli, damaged, option, expected):
    before = {path: path.stat().st_mtime_ns for path in damaged.rglob("*")}
    outcome = cli("train", "--resume", damaged, *option).done()
    assert expected in outcome.out
    assert "finished" in outcome.err
    assert {path: path.stat().st_mtime_ns for path in damaged.rglob("*")} == before


@pytest.mark.parametrize("extra", [("--config", "x.yaml"), ("--name", "x"), ("--seed", "1"), ("training.steps=9",)])
def test_a_run_goes_on_with_its_own_config(cli, sines, extra):
    cli("train", "--resume", sines.path, *extra).refused(2, "--resume")


def stop(run):
    manifest = run / "run.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"status": "stopped"}))


def test_a_damaged_state_is_refused(cli, damaged):
    stop(damaged)
    state = damaged / "checkpoints" / "last.safetensors"
    (damaged / "checkpoints" / "previous.safetensors").unlink()
    state.write_bytes(state.read_bytes()[:200])
    cli("train", "--resume", damaged).refused(5, "last.safetensors")
    shutil.copy(damaged / "checkpoints" / "best.safetensors", state)
    cli("train", "--resume", damaged).refused(5, "last.safetensors")
    state.unlink()
    cli("train", "--resume", damaged).refused(4, "last.safetensors")
    # the refusals left the run as it was
    assert steps(damaged) == 3


@pytest.mark.parametrize("limit", ["0", "0s", "-1", "1d", "", "ten", "1e3"])
def test_bad_time_limits(cli, sines, tmp_path, limit):
    cli("train", "--config", sines.config, "--output-dir", tmp_path, f"--max-time={limit}").refused(2, "--max-time")
    assert not list(tmp_path.iterdir())
