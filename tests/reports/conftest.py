"""An evaluation of an untrained network on sines."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from lstmcast.config.yaml_file import dump
from lstmcast.data.sine_bank import SineBank
from lstmcast.forecasting.evaluate import evaluate
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.network.make_engine import make_engine
from lstmcast.network.parameters import Parameters
from lstmcast.network.section import ModelSection
from lstmcast.reports.records import Record
from lstmcast.runs import Run


@pytest.fixture(scope="session")
def evaluation():
    """Return the scores of two series over 100 steps."""
    dataset = SineBank(kind="sine_bank", sequences=5, length=60, scale=5.0, test_sequences=2).build(0, 100)
    network = ModelSection(hidden_sizes=[4]).network(1)
    parameters = Parameters(network, np.dtype("float64"))
    parameters.initialize(network, np.random.default_rng(0))
    forecaster = Forecaster(make_engine("numpy", network, parameters), dataset.horizon, dataset.context, None)
    return evaluate(forecaster, dataset, [1, 10, 100])


@pytest.fixture
def diverged(evaluation):
    """Return a function that makes the forecast say ``value`` from step 11 on."""

    def make(value):
        forecast = evaluation.model.forecast.copy()
        forecast[:, 10:] = value
        rollout = evaluation.model.rollout | {100: float("inf")}
        return replace(evaluation, model=replace(evaluation.model, forecast=forecast, rollout=rollout))

    return make


@pytest.fixture(scope="session")
def write_run():
    """Return a function that writes a finished run with a config and scores, without training one."""

    def write(folder, name, seed=0, rmse=None, status="finished", config=None, **manifest):
        run = Run(folder / name)
        run.path.mkdir(parents=True)
        settings = {"seed": seed, "optimizer": {"kind": "adam", "learning_rate": 0.01}} | (config or {})
        run.config.write_text(dump(settings))
        scores = {"10": rmse, "9": 1.0} if not isinstance(rmse, dict) else rmse
        facts = {"status": status, "seed": seed, "created": f"2020-01-01T00:00:{seed:02}", "rollout": {"rmse": scores}}
        run.write_manifest(**facts | manifest)
        return Record(run, run.read_manifest())

    return write


@pytest.fixture
def written(write_run, tmp_path):
    """Return `write_run` for a folder of the test's own."""
    return partial(write_run, tmp_path / "outputs")
