"""Every kind of data, under either loss and near or far targets, trains, is validated and is scored."""

from __future__ import annotations

import math

import pytest

from lstmcast.config.build import make_dataset, make_forecaster, make_trainers
from lstmcast.config.load import load
from lstmcast.forecasting.evaluate import evaluate
from lstmcast.forecasting.tokens import evaluate_tokens

DATA = {
    "windowed_sine": "kind: windowed_sine, length: 200, timesteps: 6, validation_share: 0.2",
    "sine_bank": "kind: sine_bank, sequences: 9, length: 20, validation_sequences: 1",
    "sine_bank in windows": "kind: sine_bank, sequences: 6, length: 20, validation_sequences: 1, timesteps: 7",
    "random_segments": "kind: random_segments, length: 200, max_timesteps: 9, validation_share: 0.2",
    "series": "kind: series, path: series.csv, columns: [a], timesteps: 8, validation_share: 0.2",
    "text": "kind: text, path: text.txt, mode: stream, timesteps: 5, validation_share: 0.2",
}
QUANTIZED = [name for name in DATA if name != "text"]
CASES = [(name, False, horizon) for name in DATA for horizon in ((1,) if name == "text" else (1, 3))]
CASES += [(name, True, horizon) for name in QUANTIZED for horizon in (1, 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    (folder / "series.csv").write_text("\n".join(["a", *(repr(math.sin(i / 3)) for i in range(80))]))
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog " * 3)
    return folder


@pytest.fixture
def configured(folder):
    def make(name, quantized, horizon, loss):
        data = f"{{{DATA[name]}, horizon: {horizon}}}"
        data = f"{{kind: quantized, bins: 5, source: {data}}}" if quantized else data
        output = "categorical" if quantized or name == "text" else "value"
        path = folder / "config.yaml"
        path.write_text(
            f"data: {data}\nmodel: {{hidden_sizes: [3], output: {output}, processes: 1}}\noptimizer: {{kind: adam}}\n"
            f"training: {{steps: 2, batch_size: 4, loss: {loss}, validation: {{every: 1, metric: next_step}}}}\n"
        )
        return load(str(path))

    return make


@pytest.mark.parametrize("loss", ["last_step", "every_step"])
@pytest.mark.parametrize(("name", "quantized", "horizon"), CASES)
def test_it_trains_and_is_scored(configured, name, quantized, horizon, loss):
    config = configured(name, quantized, horizon, loss)
    dataset = make_dataset(config, 10)
    [trainer] = make_trainers(config, dataset)
    for _ in range(2):
        assert math.isfinite(trainer.next(lambda: False).validation)
    if name == "text":
        assert math.isfinite(evaluate_tokens(trainer.engine, dataset).model.cross_entropy)
        return
    evaluation = evaluate(make_forecaster(config, dataset, trainer.engine), dataset, [1, 10])
    assert math.isfinite(evaluation.model.next_step)
    assert math.isfinite(evaluation.model.rollout[10])


def test_a_loss_on_the_last_step_is_asked_on_the_longest_window(configured):
    config = configured("random_segments", False, 1, "last_step")
    dataset = make_dataset(config)
    [trainer] = make_trainers(config, dataset)
    assert make_forecaster(config, dataset, trainer.engine).sliding == 9
