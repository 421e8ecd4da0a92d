"""Sweeps on local processes: the same results whatever befalls them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

# of two seconds or so: long enough to be hit in the middle
LONG = """
data: {kind: sine_bank, sequences: 12, length: 100, scale: 5, test_sequences: 2}
model: {hidden_sizes: [12]}
optimizer: {kind: adam, learning_rate: 1e-2}
training: {steps: 300}
"""
GRID = """
base: base.yaml
parameters:
  optimizer.learning_rate: [1e-3, 1e-2]
seeds: [0, 1]
"""


def halfway(program, trial):
    """Return the process that trains a trial as soon as it has done some steps."""
    metrics = trial / "metrics.jsonl"
    if not metrics.exists() or metrics.read_text().count("\n") < 20:
        return None
    return program.holder(trial)


def test_a_killed_process_costs_one_trial_and_an_interrupted_sweep_goes_on(files, program):
    """Kill one of two processes, interrupt, go on, retry: as a sweep that nothing has befallen, and as train alone."""
    folder = files(GRID, LONG)
    sweep = folder / "outputs" / "s"
    command = ("sweep", "run", "spec.yaml", "--name", "s", "--jobs", "2")
    process = program.start(*command)
    program.kill(program.wait_for(lambda: halfway(program, sweep / "trial-002"), process))
    # the other one goes on, and the next trial begins
    program.wait_for(lambda: halfway(program, sweep / "trial-003"), process)
    # as timeout does: the process, and at once its group
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = program.finish(process, 130)
    assert "hint: resume it: lstmcast sweep run spec.yaml --name s --resume" in err
    first = program.trials(sweep)
    assert first[1]["status"] == "failed"
    assert "killed" in first[1]["reason"]
    assert first[3]["status"] == "waiting"
    assert json.loads((sweep / "trial-003" / "run.json").read_text())["status"] == "stopped"

    _, err = program.run("sweep", "run", "spec.yaml", "--name", "s", code=2)
    assert "--resume" in err
    damaged = shutil.copytree(sweep, folder / "outputs" / "damaged")
    (damaged / "base.yaml").unlink()
    _, err = program.run("sweep", "run", "spec.yaml", "--name", "damaged", "--resume", code=4)
    assert "damaged/base.yaml: no such file" in err
    _, err = program.run("sweep", "run", "spec.yaml", "--jobs", "2", "--resume", code=8)  # finds s, not the damaged one
    assert "1 of 4 trials failed; the first, trial-002" in err
    out, _ = program.run("sweep", "retry", "s", "--quiet")
    assert out == "outputs/s\n"
    found, forecasts = program.results(sweep)
    assert [status for _, _, status, _ in found.values()] == ["finished"] * 4

    out, err = program.run("sweep", "list", "spec.yaml", "--commands")
    shell = f"{sys.executable} -m lstmcast" + out.splitlines()[2].removeprefix("lstmcast") + " --name alone"
    subprocess.run(shell, shell=True, check=True, cwd=folder, capture_output=True)
    alone = folder / "outputs" / "alone"
    assert forecasts["trial-003"] == (alone / "forecast.csv").read_bytes()
    assert (sweep / "trial-003" / "config.yaml").read_bytes() == (alone / "config.yaml").read_bytes()
    manifest = json.loads((alone / "run.json").read_text())
    assert found[3][3] == list(manifest["rollout"]["rmse"].values())[-1]

    best, _ = program.run("sweep", "best", "--quiet")
    rows, _ = program.run("predict", best.strip(), "--future", "2")
    assert rows.startswith("series,step,value\n")
    means = [(found[i][3] + found[i + 1][3]) / 2 for i in (1, 3)]
    assert best.strip() in [f"outputs/s/trial-{number:03}" for number in ((1, 2) if means[0] < means[1] else (3, 4))]


def test_diverged_trials_fail_the_sweep_and_fail_fast_stops_it(files, program):
    spec = "base: base.yaml\nparameters: {optimizer.learning_rate: [1e-2, 1e300, 1e-3]}\n"
    files(spec)
    out, err = program.run("sweep", "run", "spec.yaml", "--jobs", "1", "--name", "all", "--json", code=8)
    assert "error: 1 of 3 trials failed" in err
    document = json.loads(out)
    assert [trial["status"] for trial in document["trials"]] == ["finished", "diverged", "finished"]
    assert document["counts"] == {"finished": 2, "diverged": 1}
    assert document["best"] in (document["trials"][0]["run"], document["trials"][2]["run"])
    program.run("sweep", "run", "spec.yaml", "--jobs", "1", "--name", "fast", "--fail-fast", code=8)
    assert [trial["status"] for trial in program.trials(Path("outputs/fast"))] == ["finished", "diverged", "waiting"]


def test_a_sweep_that_is_killed_leaves_no_process_and_goes_on(files, program):
    folder = files("base: base.yaml\nparameters: {optimizer.learning_rate: [1e-2, 1e-3]}\n", LONG)
    sweep = folder / "outputs" / "s"
    process = program.start("sweep", "run", "spec.yaml", "--name", "s", "--jobs", "1")
    worker = program.wait_for(lambda: halfway(program, sweep / "trial-001"), process)
    program.kill(process.pid)
    process.communicate()
    deadline = time.monotonic() + 120
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [trial["status"] for trial in program.trials(sweep)] == ["running", "waiting"]
    out, _ = program.run("sweep", "status", "s", "--json")
    assert [trial["status"] for trial in json.loads(out)["trials"]] == ["waiting", "waiting"]
    out, _ = program.run("runs", "--output-dir", sweep, "--json")
    assert [run["status"] for run in json.loads(out)["runs"]] == ["stopped"]
    program.run("sweep", "run", "spec.yaml", "--resume", "--quiet")
    assert [trial["status"] for trial in program.trials(sweep)] == ["finished"] * 2


def test_eight_commands_at_once_do_not_disturb_each_other(files, program):
    folder = files("base: base.yaml\nparameters: {optimizer.learning_rate: [1e-3, 1e-2]}\nseeds: [0, 1, 2, 3]\n")
    lines, _ = program.run("sweep", "list", "spec.yaml", "--commands")
    assert lines.count("\n") == 8
    (folder / "bin").mkdir()
    (folder / "bin" / "lstmcast").write_text(f'#!/bin/sh\nexec {sys.executable} -m lstmcast "$@"\n')
    (folder / "bin" / "lstmcast").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    page = (Path(__file__).parents[2] / "docs" / "how-do-i-sweep-over-configs.md").read_text()
    (line,) = [
        line for line in page.splitlines() if "xargs" in line and line.startswith("lstmcast sweep list rates.yaml")
    ]
    (folder / "spec.yaml").rename(folder / "rates.yaml")
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    runs = [folder / line for line in done.stdout.splitlines()]
    assert len(set(runs)) == 8 == len(list((folder / "outputs").iterdir()))
    made_of = set()
    for run in runs:
        manifest = json.loads((run / "run.json").read_text())
        assert manifest["status"] == "finished"
        assert (run / "metrics.jsonl").read_text().count("\n") == 3
        config = (run / "config.yaml").read_text()
        made_of.add((manifest["seed"], config.partition("learning_rate: ")[2].split("\n")[0]))
    assert len(made_of) == 8
