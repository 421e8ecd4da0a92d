"""A training in stages that was stopped at any step, in whichever stage, goes on to the same bytes."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

import pytest

from lstmcast.config.load import load
from lstmcast.experiment.train_run import Training
from lstmcast.experiment.trained import load_forecaster
from lstmcast.runs import Run
from lstmcast.stop import StopRequest
from lstmcast.training.optimizers import SGD
from lstmcast.training.section import Clip

CONFIG = """\
seed: 3
data: {kind: sine_bank, sequences: 6, length: 40, test_sequences: 2, validation_sequences: 1, timesteps: 12}
model: {cell: gru, hidden_sizes: [3], residual: true, dtype: float32, engine: numpy}
optimizer: {kind: adam, learning_rate: 0.01}
schedule: {kind: cosine}
training:
  steps: 3
  batch_size: 8
  weight_average: 0.5
  input_noise_std: 0.01
  rollout: {timesteps: 8, curriculum: [{start: 0.6, steps: 3}]}
  validation: {every: 2, horizon: 5}
then:
- optimizer: {kind: lbfgs, max_iterations: 3}
  dtype: float64
  training: {steps: 2, batch_size: 8, fixed_batch: true, rollout: {steps: 4}}
- optimizer: {kind: levenberg_marquardt}
  training: {steps: 3, batch_size: 8, fixed_batch: true, rollout: {steps: 6, sampling: 0.5, teacher_forcing: 0.25}}
"""
STEPS = 8


def digests(run):
    """Return the checksum of all that a training leaves, but for the clock."""
    files = {name: (run.path / name).read_bytes() for name in ("metrics.jsonl", "forecast.csv", "config.yaml")}
    files["best"] = run.best.read_bytes()
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "stages.yaml"
    path.write_text(CONFIG)
    return load(str(path))


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    return Training(config).execute(tmp_path_factory.mktemp("straight"), "run", "run", StopRequest()).run


@pytest.mark.parametrize("at", range(STEPS))
def test_it_goes_on_from_every_step_of_every_stage(config, straight, tmp_path, at):
    records = []
    stop = StopRequest(also=lambda: len(records) >= at)
    stopped = Training(config).execute(tmp_path, "run", "run", stop, on_record=records.append)
    assert (stopped.status, stopped.step) == ("stopped", at)
    resumed = Training.resume(Run(stopped.run.path)).execute(tmp_path, None, "run", StopRequest())
    assert (resumed.status, resumed.step) == ("finished", STEPS)
    assert digests(resumed.run) == digests(straight)


def test_the_step_at_which_rollouts_begin_is_that_of_the_plan(config, tmp_path):
    training = config.training.model_copy(update={"steps": None, "epochs": 4})
    epochs = config.model_copy(update={"training": training})
    records = []
    stop = StopRequest(also=lambda: len(records) >= 1)
    run = Training(epochs).execute(tmp_path, "run", "run", stop, on_record=records.append).run
    batches = Training(epochs).trainer.steps // 4
    assert batches > 1
    assert run.read_manifest()["rollouts_from"] == [math.ceil(0.6 * 4 * batches), 0, 0]


def test_forecasts_are_made_in_the_last_stages_precision(straight):
    engine = load_forecaster(straight, "test").forecaster.engine
    assert engine.parameters.values.dtype == "float64"


def test_a_stage_that_spoils_all_leaves_the_best_of_another_precision(tmp_path):
    path = tmp_path / "spoiled.yaml"
    first, _ = CONFIG.split("then:")
    path.write_text(
        f"{first}then:\n- optimizer: {{kind: sgd, learning_rate: 500}}\n  dtype: float64\n  training: {{steps: 3}}"
    )
    result = Training(load(str(path))).execute(tmp_path, "run", "run", StopRequest())
    assert (result.status, result.run.read_manifest()["status"]) == ("diverged", "diverged")
    assert load_forecaster(result.run, "test").forecaster.engine.parameters.values.dtype == "float32"


def test_what_helps_against_a_divergence_is_what_the_stage_has(config):
    assert [stage.remedy for stage in config.stages] == [
        "lower optimizer.learning_rate, which is 0.01",
        "lower then.0.optimizer.learning_rate, which is 1",
        "lower then.1.optimizer.learning_rate, which is 1, or raise then.1.optimizer.damping",
    ]
    first, search, _ = config.stages
    plain = replace(first, optimizer=SGD(kind="sgd", learning_rate=0.5))
    assert plain.remedy == "lower optimizer.learning_rate, which is 0.5, or clip the gradient: training.clip.norm=1.0"
    clipped = replace(plain, training=first.training.model_copy(update={"clip": Clip(norm=0.1)}))
    assert clipped.remedy == "lower optimizer.learning_rate, which is 0.5"
    taken = replace(search, optimizer=search.optimizer.model_copy(update={"line_search": "none"}))
    assert taken.remedy.endswith(", or set then.0.optimizer.line_search=strong_wolfe")
