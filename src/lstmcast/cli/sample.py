"""``lstmcast sample``."""

from __future__ import annotations

from typing import Annotated

import typer

from lstmcast.cli.output import OUTPUTS, Json, OutputDir, RunArgument, emit, emit_json
from lstmcast.errors import UsageError


def sample(
    run: RunArgument = "latest",
    count: Annotated[int, typer.Option(min=1, max=100_000, help="Sequences to draw.")] = 10,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="1: as learned; less: bolder on what is likely; 0: the likeliest.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    prompt: Annotated[str, typer.Option(help="How every sequence begins.")] = "",
    max_length: Annotated[int, typer.Option(min=1, max=1_000_000, help="Symbols drawn at most.")] = 200,
    output_dir: OutputDir = OUTPUTS,
    json: Json = False,
) -> None:
    """Draw new sequences from a network trained on text."""
    from lstmcast import files, runs
    from lstmcast.experiment.trained import TrainedTokens, load_trained
    from lstmcast.forecasting.tokens import sample as draw

    found = runs.find(run, output_dir)
    trained = load_trained(found)
    if not isinstance(trained, TrainedTokens):
        raise UsageError(f"sample: {found.path} was trained on values, not on text", "forecast: lstmcast predict")
    drawn = draw(
        trained.engine,
        trained.vocabulary,
        lines=trained.lines,
        count=count,
        temperature=temperature,
        seed=seed,
        prompt=prompt,
        max_length=max_length,
    )
    if json:
        emit_json({"schema_version": files.SCHEMA_VERSION, "run": str(found.path), "samples": list(drawn)})
    else:
        for text in drawn:
            emit(text)
