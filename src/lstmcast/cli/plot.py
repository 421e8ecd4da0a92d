"""``lstmcast plot``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, OutputDir, emit, warn


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
    from lstmcast.experiment.picture import draw
    from lstmcast.reports import plots

    found = [runs.find(reference, output_dir) for reference in run or ["latest"]]
    for one in found:
        path = one.path / f"{kind}.{format}"
        plots.save(draw(one, kind), path, warn)
        emit(str(path))
