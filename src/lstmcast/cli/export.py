"""``lstmcast export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lstmcast.cli.output import OUTPUTS, OutputDir, RunArgument, emit

if TYPE_CHECKING:
    from lstmcast.data.autoregression import Remainder
    from lstmcast.experiment.trained import Trained, TrainedTokens


def export(
    run: RunArgument = "latest",
    to: Annotated[Literal["onnx", "torch"], typer.Option(help="Format of the file.")] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Else step.onnx or step.pt2 in the run."),
    ] = None,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Export a run's step function (x, h, c) -> (y, h, c) to another program's format."""
    from lstmcast import files, runs
    from lstmcast.experiment.trained import Trained, load_trained

    found = runs.find(run, output_dir)
    trained = load_trained(found)
    engine = trained.forecaster.engine if isinstance(trained, Trained) else trained.engine
    from lstmcast.network import export as formats

    content = (formats.to_onnx if to == "onnx" else formats.to_torch)(engine, _facts(found.name, trained))
    path = output or found.path / ("step.onnx" if to == "onnx" else "step.pt2")
    files.write(path, content)
    emit(str(path))


def _facts(name: str, trained: Trained | TrainedTokens) -> dict[str, Any]:
    """Say how to read the inputs and outputs: scaled = (value - mean) / scale."""
    from lstmcast import __version__
    from lstmcast.experiment.trained import Trained

    facts: dict[str, Any] = {
        "lstmcast": __version__,
        "run": name,
        "model": trained.config.model.model_dump(mode="json"),
    }
    if not isinstance(trained, Trained):
        return facts | {"vocabulary": trained.vocabulary}
    forecaster, scaler = trained.forecaster, trained.scaler
    return facts | {
        "columns": trained.columns,
        "mean": scaler.mean.tolist(),
        "scale": scaler.scale.tolist(),
        "horizon": forecaster.horizon,
        "context": forecaster.context,
        "sliding": forecaster.sliding,
        "bins": _plain(forecaster.bins),
        "covariates": _plain(forecaster.covariates),
        "autoregression": _linear_part(forecaster.remainder),
    }


def _linear_part(remainder: Remainder | None) -> dict[str, Any] | None:
    """Return what turns an output into a value: b + a_1 v(t-1) + … + a_p v(t-p) + scale · output."""
    if remainder is None:
        return None
    coefficients = [c.tolist() for c in remainder.autoregression.coefficients]
    return {"coefficients": coefficients, "scale": remainder.scale.tolist()}


def _plain(part: object) -> dict[str, Any] | None:
    """Return a small object's fields, arrays as lists."""
    if part is None:
        return None
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in vars(part).items()}
