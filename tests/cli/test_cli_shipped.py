"""Every shipped config trains from the command line, at a small size."""

import json

import pytest

from lstmcast.config import shipped
from lstmcast.config.load import load

SMALL = {
    "windowed_sine": ["data.length=400"],
    "sine_bank": ["data.length=60"],
    "text": [],
    "series": [],
    "quantized": [],
    "random_segments": ["data.length=300", "data.min_timesteps=5", "data.max_timesteps=20"],
}


def shrink(config):
    """Yield overrides that make a config small in every direction and keep its kind of everything."""
    data, model = config.data, config.model
    yield from SMALL[data.kind]
    if data.kind == "sine_bank":
        yield f"data.sequences={data.test_sequences + data.validation_sequences + 2}"
    if (getattr(data, "timesteps", None) or 0) > 20:
        yield "data.timesteps=20"
    yield f"model.hidden_sizes={[3] * len(model.hidden_sizes)}"
    yield f"model.head_sizes={[3] * len(model.head_sizes)}"
    if model.autoregression:
        yield "model.autoregression=3"
    for stage in config.stages:
        key, training = stage.key, stage.training
        yield from (f"{key}training.steps=2", f"{key}training.epochs=null")
        if stage.optimizer.kind == "lbfgs":
            yield f"{key}optimizer.max_iterations=2"
        if stage.schedule.warmup_steps:
            yield f"{key}schedule.warmup_steps=1"
        if getattr(stage.schedule, "length", None):
            yield f"{key}schedule.length=null"
        yield f"{key}training.warmup={min(training.warmup, 2)}"
        if training.batch_size:
            yield f"{key}training.batch_size=2"
        if training.rollout:
            yield f"{key}training.rollout={{steps: 2}}"
    if config.training.validation:
        yield from ("training.validation.every=1", "training.validation.horizon=2")


@pytest.mark.parametrize("name", shipped.names())
def test_trains_and_forecasts(cli, tmp_path, name):
    config = load(name)
    arguments = ("train", "--config", name, "--output-dir", tmp_path, "--name", "run", "--json")
    outcome = cli(*arguments, *shrink(config)).done()
    assert "warning: the plots" not in outcome.err
    document = outcome.json
    steps = 2 * len(config.stages)
    assert (document["status"], document["steps"]) == ("finished", steps)
    assert document["baselines"]
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == steps
    small = load(str(tmp_path / "run" / "config.yaml"))
    for section in ("data", "optimizer", "schedule"):
        assert getattr(small, section).kind == getattr(config, section).kind
    assert json.loads((tmp_path / "run" / "run.json").read_text())["verdict"] == document["verdict"]
    command = ("sample", "--count") if config.data.kind == "text" else ("predict", "--future")
    assert cli(*command, 3, "--output-dir", tmp_path).done().out


@pytest.mark.parametrize("name", shipped.names())
def test_is_valid_as_it_is(cli, name):
    assert cli("config", "validate", name).done().out == f"{name}: valid\n"
