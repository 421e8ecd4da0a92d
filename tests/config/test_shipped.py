from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lstmcast.config import shipped
from lstmcast.config.build import dump_config, make_dataset, make_sampler
from lstmcast.config.load import load
from lstmcast.data.series import Series
from lstmcast.errors import InvalidError


def test_every_config_in_the_folder_has_a_name() -> None:
    assert {shipped.path(name) for name in shipped.names()} == set(shipped.FOLDER.glob("*.yaml"))
    assert {"sunspots", "sine-waves"} <= set(shipped.names())
    assert shipped.names() == sorted(shipped.names())


@pytest.mark.parametrize("name", shipped.names())
class TestShipped:
    def test_it_loads_by_name_and_by_path(self, name: str) -> None:
        assert load(name) == load(str(shipped.path(name)))

    def test_it_says_what_it_is(self, name: str) -> None:
        first = shipped.path(name).read_text(encoding="utf-8").splitlines()[0]
        assert first == f"# {shipped.summary(name)}"
        assert len(shipped.summary(name)) > 10

    def test_its_data_are_there_and_fill_a_batch(self, name: str) -> None:
        config = load(name)
        batch = make_sampler(config, make_dataset(config)).next()
        assert batch.inputs.shape == batch.targets.shape
        assert len(batch.inputs) <= (config.training.batch_size or len(batch.inputs))

    def test_what_is_resolved_loads_to_the_same(self, name: str, tmp_path: Path) -> None:
        config = load(name)
        file = tmp_path / "resolved.yaml"
        file.write_text(dump_config(config), encoding="utf-8")
        assert load(str(file)) == config
        assert dump_config(load(str(file))) == dump_config(config)


FULL = [
    "data.signal={noise: 1e-9, chirp: -1.5e-7, trend: 1e22, sines: [{amplitude: 1, frequency: 0.1, phase: -2}]}",
    "data.signal.amplitude_modulation={depth: 0.1, period: 5}",
    "data.validation_share=0.25",
    "model={engine: torch, cell: gru, hidden_sizes: [3], head_sizes: [4, 5], residual: true, dtype: float32}",
    "optimizer={kind: sgd, learning_rate: 1e-3, momentum: 0.9, nesterov: true}",
    "schedule={kind: plateau, warmup_steps: 2}",
    "training={epochs: 3, loss: every_step, rollout: {steps: 2, start: 0.5}, clip: {norm: 1}, validation: {},"
    " early_stopping: {}, weight_average: 0.999}",
]


def test_a_config_with_every_section_round_trips(load_text: Any, valid: str) -> None:
    config = load_text(valid, FULL)
    assert load_text(dump_config(config)) == config


@pytest.mark.parametrize("name", ["1e3", "08", "1e-5", "\x85", "no", "2001-01-01", "null", "~", "#x", "a: b", "é", "-"])
def test_a_column_of_any_name_round_trips(name: str, load_text: Any, valid: str) -> None:
    config = load_text(valid)
    data = Series(kind="series", path="/x.csv", columns=[name], time_column=name, timesteps=3)
    changed = config.model_copy(update={"data": data})
    assert load_text(dump_config(changed)) == changed


def test_what_would_be_too_long_to_load_is_not_written(load_text: Any, valid: str) -> None:
    sines = "[" + "{amplitude: 1, frequency: 1}," * 1400 + "]"
    text = valid.replace("windowed_sine", f"windowed_sine, signal: {{sines: {sines}}}")
    with pytest.raises(InvalidError, match="characters with all defaults; at most"):
        dump_config(load_text(text))
    config = load_text(text.replace("{amplitude: 1, frequency: 1}," * 700, "", 1))
    assert load_text(dump_config(config)) == config


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.from_regex(r"-?[0-9]{0,2}(\.[0-9])?([eE][-+]?[0-9])?", fullmatch=True)
    | st.text(st.characters(exclude_categories=("C", "Z")))
)
def test_a_column_of_any_drawn_name_round_trips(name: str, load_text: Any, valid: str) -> None:
    test_a_column_of_any_name_round_trips(name, load_text, valid)
