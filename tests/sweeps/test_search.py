"""What Optuna does for a sweep: the points of a tpe search, the end of hopeless trials."""

import math

import pytest

from lstmcast.errors import ExitCode

pytest.importorskip("optuna")

TPE = """
base: base.yaml
search: tpe
trials: 3
parameters:
  optimizer.learning_rate: {from: 1e-4, to: 1e-1, log: true}
  model.hidden_sizes: [[2], [3, 3]]
seeds: [0, 1]
"""
# the same network twenty times worse at learning, beside good ones
PRUNED = """
base: base.yaml
parameters: {optimizer.learning_rate: [1e-2, 2e-2, 1e-9]}
pruning: {kind: median, startup_trials: 2}
metric: validation
"""
VALIDATED = """
data: {kind: sine_bank, sequences: 12, length: 100, scale: 5, test_sequences: 2, validation_sequences: 2}
model: {hidden_sizes: [12]}
optimizer: {kind: adam}
training: {steps: 400, validation: {every: 20, metric: next_step}}
"""


def test_tpe_asks_for_points_and_pruning_ends_a_hopeless_trial(files, program):
    folder = files(TPE)
    program.run("sweep", "run", "spec.yaml", "--name", "tpe", "--jobs", "2", "--quiet")
    found = program.trials(folder / "outputs" / "tpe")
    assert [trial["status"] for trial in found] == ["finished"] * 6
    assert sorted((trial["point"], trial["seed"]) for trial in found) == [(p, s) for p in (1, 2, 3) for s in (0, 1)]
    points = {trial["point"]: trial["parameters"] for trial in found}
    assert all(trial["parameters"] == points[trial["point"]] for trial in found)
    assert all(1e-4 <= point["optimizer.learning_rate"] <= 1e-1 for point in points.values())
    assert all(point["model.hidden_sizes"] in ([2], [3, 3]) for point in points.values())
    assert len({point["optimizer.learning_rate"] for point in points.values()}) == 3

    files(PRUNED, VALIDATED)
    program.run("sweep", "run", "spec.yaml", "--name", "pruned", "--jobs", "1", "--quiet")
    found = program.trials(folder / "outputs" / "pruned")
    assert [trial["status"] for trial in found] == ["finished", "finished", "pruned"]
    run = folder / "outputs" / "pruned" / "trial-003"
    assert 20 <= (run / "metrics.jsonl").read_text().count("\n") < 400
    assert '"status": "pruned"' in (run / "run.json").read_text()
    assert all(math.isfinite(trial["score"]) for trial in found[:2])
    assert ExitCode.DONE == 0
