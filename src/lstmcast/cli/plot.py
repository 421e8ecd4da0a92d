"""``lstmcast plot``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, OutputDir, emit, warn

TRACED_STEPS = 300


def plot(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs' paths or names, or 'latest'.", autocompletion=complete.runs),
    ] = None,
    kind: Annotated[
        Literal["loss", "rollout", "horizon", "phase", "gates"], typer.Option(help="What to draw.")
    ] = "rollout",
    format: Annotated[Literal["png", "svg", "pdf"], typer.Option(help="Format of the picture.")] = "png",  # noqa: A002
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Draw a run into its folder, and print the picture's path."""
    from lstmcast import runs
    from lstmcast.config.load import load
    from lstmcast.experiment.trained import load_forecaster
    from lstmcast.forecasting.evaluate import HORIZONS, evaluate
    from lstmcast.reports import plots
    from lstmcast.reports.records import record_of

    found = [runs.find(reference, output_dir) for reference in run or ["latest"]]
    for one in found:
        if kind == "loss":
            loss_name = load(str(one.config)).loss_name
            rollouts_from = record_of(one, one.read_manifest()).manifest.get("rollouts_from", ())
            figure = plots.loss(one.read_metrics(), one.name, loss_name, rollouts_from=rollouts_from)
        else:
            trained = load_forecaster(one, f"--kind {kind}")
            dataset = trained.dataset(future=max(HORIZONS))
            if kind == "gates":
                import numpy as np

                from lstmcast.network.numpy_engine import NumpyEngine

                engine = trained.forecaster.engine
                assert isinstance(engine, NumpyEngine)
                known = dataset.test.rows[:1, : dataset.test.known]
                inputs = trained.forecaster.inputs(known, np.arange(known.shape[1]))
                traced = engine.trace(inputs[:, -min(trained.forecaster.context, TRACED_STEPS) :])
                figure = plots.gates({name: values[0] for name, values in traced.items()}, one.name)
            else:
                evaluation = evaluate(trained.forecaster, dataset)
                if kind == "rollout":
                    figure = plots.rollout(evaluation, trained.columns, one.name, dataset.clock)
                elif kind == "horizon":
                    figure = plots.horizon(evaluation, one.name)
                else:
                    figure = plots.phase(evaluation, trained.columns, one.name)
        path = one.path / f"{kind}.{format}"
        plots.save(figure, path, warn)
        emit(str(path))
