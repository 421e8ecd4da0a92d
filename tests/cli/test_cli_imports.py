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
    assert not leaving.code, leaving.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
TRAINING = {"torch", "lstmcast.training.trainer"}
HEAVY = {*TRAINING, "matplotlib", "lstmcast.network.numpy_engine"}


def loaded(*arguments):
    """Return all modules that are loaded when a command ends."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert done.stdout
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"]])
def test_help_loads_next_to_nothing(command):
    assert loaded(*command) & {*HEAVY, "numpy", "yaml"} == set()


@pytest.mark.parametrize("command", [["config", "list"], ["config", "list", "--quiet"]])
def test_listing_configs(command):
    assert loaded(*command) & HEAVY == set()


def test_listing_runs(sines):
    assert loaded("runs", "--output-dir", sines.output_dir) & HEAVY == set()


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
