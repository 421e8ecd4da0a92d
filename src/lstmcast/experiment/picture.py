"""The pictures of a run."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from matplotlib.figure import Figure

from lstmcast.config.load import load
from lstmcast.data.dataset import Dataset
from lstmcast.experiment.trained import load_forecaster
from lstmcast.forecasting.evaluate import HORIZONS, evaluate
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.reports import plots
from lstmcast.reports.records import record_of
from lstmcast.runs import Run

Kind: TypeAlias = Literal["loss", "rollout", "horizon", "phase", "gates"]
# steps whose gates are drawn
TRACED_STEPS = 300


def draw(run: Run, kind: Kind) -> Figure:
    """Draw a run.

    Raises:
        LstmcastError: if it cannot be read, or its data have changed.
    """
    if kind == "loss":
        loss_name = load(str(run.config)).loss_name
        rollouts_from = record_of(run, run.read_manifest()).manifest.get("rollouts_from", ())
        return plots.loss(run.read_metrics(), run.name, loss_name, rollouts_from=rollouts_from)
    trained = load_forecaster(run, f"--kind {kind}")
    dataset = trained.dataset(future=max(HORIZONS))
    if kind == "gates":
        return _gates(trained.forecaster, dataset, run.name)
    evaluation = evaluate(trained.forecaster, dataset)
    if kind == "rollout":
        return plots.rollout(evaluation, trained.columns, run.name, dataset.clock)
    if kind == "horizon":
        return plots.horizon(evaluation, run.name)
    return plots.phase(evaluation, trained.columns, run.name)


def _gates(forecaster: Forecaster, dataset: Dataset, title: str) -> Figure:
    assert isinstance(forecaster.engine, NumpyEngine)
    known = dataset.test.rows[:1, : dataset.test.known]
    inputs = forecaster.inputs(known, np.arange(known.shape[1]))
    traced = forecaster.engine.trace(inputs[:, -min(forecaster.context, TRACED_STEPS) :])
    return plots.gates({name: values[0] for name, values in traced.items()}, title)
