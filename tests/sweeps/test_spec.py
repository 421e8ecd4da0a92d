"""A spec is checked whole before anything runs; its trials are the configs that it means."""

import json
import math
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstmcast.config.load import load
from lstmcast.config.yaml_file import parse
from lstmcast.errors import InvalidError, LstmcastError, NotFoundError
from lstmcast.sweeps.space import Values, text
from lstmcast.sweeps.spec import read_plan


def listed(**given_):
    return Values.model_validate(given_).listed()


def test_ranges():
    assert listed(**{"from": 1, "to": 4, "step": 1}) == [1, 2, 3, 4]
    assert listed(**{"from": 0.1, "to": 0.4, "step": 0.1}) == [0.1, 0.2, 0.3, 0.4]
    assert listed(**{"from": 1, "to": 2, "step": 0.4}) == [1.0, 1.4, 1.8]
    assert listed(**{"from": 1e-4, "to": 1e-1, "count": 4, "log": True}) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert listed(**{"from": 1, "to": 3, "count": 9}) == [1, 2, 3]
    assert Values.model_validate(["a", [1, 2]]).listed() == ["a", [1, 2]]
    assert listed(**{"from": 0.0, "to": 1.0}) is None


def test_draws_stay_in_the_range_and_follow_the_logarithm():
    random = np.random.default_rng(0)
    wide = Values.model_validate({"from": 1e-6, "to": 1.0, "log": True})
    drawn = [wide.draw(random) for _ in range(400)]
    assert all(1e-6 <= value <= 1 for value in drawn)
    assert 0.4 < sum(value < 1e-3 for value in drawn) / 400 < 0.6
    whole = Values.model_validate({"from": 2, "to": 4})
    assert {whole.draw(random) for _ in range(100)} == {2, 3, 4}


PLAIN = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12)


@given(st.recursive(PLAIN | WORDS, lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_values_are_written_as_the_command_line_reads_them(value):
    assert parse(text(value)).value == value


def test_the_trials_are_the_product_with_the_seeds_innermost(files):
    files(
        """
base: base.yaml
overrides: {training.steps: 2}
parameters:
  model.hidden_sizes: [[3], [4, 4]]
  optimizer.learning_rate: {from: 0.001, to: 0.1, count: 3, log: true}
seeds: [5, 6]
"""
    )
    plan = read_plan(Path("spec.yaml"))
    assert plan.total == len(plan.trials) == 12
    assert plan.trials[3].overrides == ["model.hidden_sizes=[3]", "optimizer.learning_rate=0.01", "seed=6"]
    assert [trial.point for trial in plan.trials] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    words = shlex.split(shlex.join(plan.command(plan.trials[-1])))
    assert words[:4] == ["lstmcast", "train", "--config", "base.yaml"]
    config = load(words[3], words[4:])
    assert (config.seed, config.training.steps, config.optimizer.learning_rate) == (6, 2, 0.1)
    assert list(config.model.hidden_sizes) == [4, 4]
    assert config.model.processes == plan.base.model.processes == 1


@pytest.mark.parametrize("more", ["overrides: {model.processes: 2}", "parameters: {model.processes: [2]}"])
def test_a_trial_has_as_many_processes_as_the_spec_says(files, more):
    files(f"base: base.yaml\n{more}\n")
    plan = read_plan(Path("spec.yaml"))
    command = plan.command(plan.trials[0])
    assert load(command[3], command[4:]).model.processes == 2


def test_a_random_search_draws_the_same_again_and_another_with_another_seed(files):
    spec = """
base: base.yaml
search: random
trials: 5
parameters: {optimizer.learning_rate: {from: 1e-4, to: 1e-1, log: true}, model.hidden_sizes: [[2], [3]]}
"""
    files(spec)
    first = read_plan(Path("spec.yaml")).trials
    assert read_plan(Path("spec.yaml")).trials == first
    assert len({trial.parameters["optimizer.learning_rate"] for trial in first}) == 5
    files(spec + "search_seed: 1\n")
    assert read_plan(Path("spec.yaml")).trials != first


@pytest.mark.parametrize(
    ("spec", "needles"),
    [
        ("base: base.yaml\nparametres: {}", ["spec.yaml:2: parametres: no such key", "did you mean 'parameters'"]),
        ("base: base.yaml\nsearch: gird", ["spec.yaml:2: search: 'gird' is not one of grid, random, tpe", "'grid'"]),
        (
            "base: base.yaml\nparameters: {training.step: [1, 2]}",
            ["training.step=1: ", "training.step=2: ", "did you mean 'steps'"],
        ),
        ("base: nothing", ["spec.yaml:1: base: 'nothing' is neither a file nor a shipped config's name"]),
        ("base: sine-wave", ["did you mean the shipped config 'sine-waves'"]),
        ("base: base.yaml\nmetric: rollout.rsme", ["spec.yaml:2: metric: 'rollout.rsme'", "rollout.rmse@10,"]),
        ("base: base.yaml\nmetric: validation", ["spec.yaml:2: metric: 'validation' is not one of"]),
        ("base: base.yaml\nmetric: rollout.rmse@7777", ["'rollout.rmse@7777' is not one of"]),
        ("base: base.yaml\ntrials: 3", ["spec.yaml:2: trials: a grid has as many"]),
        (
            "base: base.yaml\nsearch: tpe\nparameters: {seed: [1]}\ntrials: 2",
            ["spec.yaml:3: parameters.seed: give the seeds"],
        ),
        ("base: base.yaml\nsearch: random\nparameters: {training.steps: [1]}", ["trials: missing"]),
        ("base: base.yaml\npruning: {kind: median}", ["spec.yaml:2: pruning: it watches the validation metric"]),
        ("base: base.yaml\npruning: {kind: halving}", ["'halving' is not one of median, successive_halving"]),
        (
            "base: base.yaml\nparameters:\n  optimizer.learning_rate: [1]\n  training.steps: []",
            ["spec.yaml:4: parameters.training.steps.values: [] is wrong: it should be a list of 1 or more"],
        ),
        (
            "base: base.yaml\nparameters:\n"
            "  optimizer.learning_rate: {from: 0, to: -1, log: true}\n  training.steps: {from: 1}",
            [
                "spec.yaml:3: parameters.optimizer.learning_rate.to: -1 is not more",
                "has no logarithm",
                "spec.yaml:4: parameters.training.steps.to: missing",
            ],
        ),
        (
            "base: base.yaml\nparameters: {training.steps: {from: 1, to: 9}}",
            ["a grid needs a list, or a range with step"],
        ),
        (
            "base: base.yaml\nparameters: {optimizer.learning_rate: {form: 1, to: 9}}",
            ["learning_rate.form: no such key", "'from'"],
        ),
        (
            "base: base.yaml\nparameters: {training.steps: {from: 1, to: 10001, step: 1}}\nseeds: [1, 2]",
            ["at most 10,000"],
        ),
        (
            "base: base.yaml\nparameters:\n  model.cell: [gru, lstm]\n  optimizer.learning_rate: [0.1, 1, 1.0]",
            ["spec.yaml:4: parameters.optimizer.learning_rate.values: 1.0 stands there twice"],
        ),
        ("base: base.yaml\nseeds: [1, 1]", ["spec.yaml:2: seeds: one stands there twice"]),
        (
            # what fits one network or optimizer need not fit the next
            "base: base.yaml\noverrides: {training.batch_size: null}\nparameters:\n  model.hidden_sizes: [[4], [100]]\n"
            "  optimizer.kind: [adam, levenberg_marquardt]",
            ["optimizer.kind: levenberg_marquardt solves a system of all", "parameters in each step; it takes at most"],
        ),
        (
            # every wrong value of every trial, each once, at its line
            "base: base.yaml\nparameters:\n"
            "  optimizer.learning_rate:\n    - 0.1\n    - -1\n  model.cell: [lstm, lstn]\nseeds: [0, 1]",
            ["spec.yaml:5: optimizer.learning_rate=-1: ", "spec.yaml:6: model.cell=lstn: ", "did you mean 'lstm'"],
        ),
        (
            "base: base.yaml\noverrides: {optimizer.rate: 1}",
            ["spec.yaml:2: optimizer.rate=1: optimizer.rate: no such key"],
        ),
        (
            "base: base.yaml\nparameters: {data.length: [60, 5], data.timesteps: [20]}",
            ["spec.yaml:2: data.timesteps=20: data.timesteps: a window of timesteps 20"],
        ),
        ("base: base.yaml\noverrides: {training.batch_size: 50}", ["spec.yaml:2: training.batch_size=50: training."]),
        (
            "base: base.yaml\nsearch: tpe\ntrials: 3\nparameters: {optimizer.learning_rate: {from: -0.5, to: 1.0}}",
            ["spec.yaml:4: optimizer.learning_rate=-0.5: "],
        ),
        ("- 1", ["spec.yaml:1: a sweep is a mapping"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line(files, spec, needles):
    files(spec + "\n")
    with pytest.raises(LstmcastError) as caught:
        read_plan(Path("spec.yaml"))
    assert isinstance(caught.value, NotFoundError if "base:" in needles[0] or "shipped" in needles[0] else InvalidError)
    said = f"{caught.value.message}\n{caught.value.hint}"
    for needle in needles:
        assert needle in said
    assert len(set(said.splitlines())) == len(said.splitlines())


def test_a_parameter_and_its_base_at_odds_name_the_parameter(files):
    files("base: base.yaml\nparameters:\n  training.epochs: [2]\n")
    with pytest.raises(InvalidError, match=r"spec\.yaml:3: training\.epochs=2: training\.epochs: give steps or epochs"):
        read_plan(Path("spec.yaml"))


def test_only_what_was_written_is_blamed(files):
    files(
        "base: base.yaml\noverrides: {training.steps: 5}\n",
        """
data: {kind: sine_bank, sequences: 6, length: 60, scale: 5, test_sequences: 2}
optimizer: {kind: adam}
training: {epochs: 1}
""",
    )
    with pytest.raises(InvalidError) as caught:
        read_plan(Path("spec.yaml"))
    assert caught.value.message.startswith("spec.yaml:2: training.steps=5: training.epochs: give steps or epochs")
    assert caught.value.hint == "training.epochs=null"


SERIES = """
data: {kind: series, path: a.csv, columns: [x], timesteps: 8}
optimizer: {kind: adam}
training: {steps: 3}
"""


def test_relative_data_paths_are_beside_the_spec(files, monkeypatch):
    folder = files("base: base.yaml\nparameters: {data.path: [a.csv, b.csv]}\n", SERIES)
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text("x\n" + "\n".join(f"{math.sin(i / 4):.4f}" for i in range(80)) + "\n")
    monkeypatch.chdir("/")
    trials = read_plan(folder / "spec.yaml").trials
    assert [trial.parameters["data.path"] for trial in trials] == [str(folder / "a.csv"), str(folder / "b.csv")]
    assert json.dumps([trial.parameters for trial in trials])
