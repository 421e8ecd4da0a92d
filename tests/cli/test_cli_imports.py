"""Commands that need no torch or matplotlib do not load them: they start at once."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
from lstmcast.cli import main
try:
    main()
except SystemExit as leaving:
    print(json.dumps([int(leaving.code or 0), *sorted(sys.modules)]), file=sys.stderr)
"""
TRAINING = {"torch", "lstmcast.training.trainer"}
HEAVY = {*TRAINING, "matplotlib", "lstmcast.network.numpy_engine"}


def loaded(*arguments, code=0):
    """Return all modules that are loaded when a command ends with an exit code."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    found, *modules = json.loads(done.stderr.splitlines()[-1])
    assert found == code, done.stderr
    assert bool(done.stdout) == (code == 0)
    return set(modules)


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"]])
def test_help_loads_next_to_nothing(command):
    assert loaded(*command) & {*HEAVY, "numpy", "yaml"} == set()


@pytest.mark.parametrize("command", [["config", "list"], ["config", "list", "--quiet"]])
def test_listing_configs(command):
    assert loaded(*command) & HEAVY == set()


def test_listing_runs(sines):
    assert loaded("runs", "--output-dir", sines.output_dir) & HEAVY == set()


def test_a_bad_config_is_refused_before_anything_slow(sines_config):
    assert loaded("train", "--config", sines_config(seed=-1), code=5) & HEAVY == set()


def test_predict(sines):
    modules = loaded("predict", sines.path, "--future", 3)
    assert modules & {*TRAINING, "matplotlib"} == set()
    assert "lstmcast.network.numpy_engine" in modules


def test_evaluate(sines):
    assert loaded("evaluate", sines.path) & {*TRAINING, "matplotlib"} == set()


def test_plot(sines):
    modules = loaded("plot", sines.path, "--kind", "loss")
    assert modules & {*TRAINING, "matplotlib.pyplot"} == set()
    assert "matplotlib" in modules


def test_checks_of_configs(sines):
    for command in (["validate", sines.config], ["show", sines.config], ["schema"]):
        assert loaded("config", *command) & {*TRAINING, "matplotlib"} == set()


def test_the_probe_sees_torch(sines):
    assert loaded("train", "--config", sines.config, "--dry-run") >= TRAINING
