"""``lstmcast evaluate``."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from lstmcast.cli.output import (
    OUTPUTS,
    Json,
    OutputDir,
    Quiet,
    RunArgument,
    emit,
    emit_json,
    refuse_both,
    say,
    show,
    warn,
)
from lstmcast.errors import UsageError, counted

if TYPE_CHECKING:
    from lstmcast.forecasting.evaluate import Evaluation
    from lstmcast.forecasting.tokens import TokenEvaluation

MAX_HORIZON = 1_000_000


def evaluate(
    run: RunArgument = "latest",
    horizons: Annotated[str, typer.Option(help="Steps of the rollouts, separated by commas.")] = "1,10,100,1000",
    origins: Annotated[int, typer.Option(min=1, max=100_000, help="Starting points, spread over the test part.")] = 1,
    output_dir: OutputDir = OUTPUTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a trained run on its test part, beside the baselines that might beat it."""
    refuse_both(json, quiet)
    asked = _horizons(horizons)

    from lstmcast import runs
    from lstmcast.experiment.trained import TrainedTokens, load_trained
    from lstmcast.files import SCHEMA_VERSION
    from lstmcast.forecasting.evaluate import Evaluation

    found = runs.find(run, output_dir)
    trained = load_trained(found)
    evaluation = trained.evaluate() if isinstance(trained, TrainedTokens) else trained.evaluate(asked, origins)
    if isinstance(evaluation, Evaluation) and evaluation.beyond:
        beyond, longest = ", ".join(f"{h:,}" for h in evaluation.beyond), max(evaluation.model.rollout)
        what = f"cut to {longest:,}" if origins == 1 else "left out"
        warn(f"horizons {beyond} are {what}: the test part is shorter")
    if json:
        status = found.read_manifest().get("status")
        emit_json({"schema_version": SCHEMA_VERSION, "run": str(found.path), "status": status, **evaluation.summary()})
    elif quiet:
        emit(repr(evaluation.essential))
    else:
        _render(evaluation)


def _horizons(text: str) -> list[int]:
    try:
        asked = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--horizons {text!r}: not whole numbers separated by commas") from None
    if not all(0 < h <= MAX_HORIZON for h in asked):
        raise UsageError(f"--horizons {text!r}: each must be from 1 to {MAX_HORIZON:,}")
    return asked


def _render(evaluation: Evaluation | TokenEvaluation) -> None:
    from lstmcast.forecasting.evaluate import Evaluation
    from lstmcast.reports import tables

    show(tables.of(evaluation))
    if isinstance(evaluation, Evaluation):
        measured = {
            f"amplitude ratio {evaluation.amplitude_ratio:.3f}": evaluation.amplitude_ratio,
            f"frequency {evaluation.frequency_error:+.3g} cycles per 1,000 steps off": evaluation.frequency_error,
            f"phase {evaluation.phase_error:+.3f} cycles off at the end": evaluation.phase_error,
        }
        # short rollouts, and lost ones, have no phase
        known = [text for text, value in measured.items() if isfinite(value)]
        emit("; ".join([f"holds for {counted(evaluation.valid_horizon, 'step')}", *known]))
    summary = evaluation.summary()
    emit(f"verdict: {summary['verdict']}")
    if advice := summary.get("advice"):
        say(f"hint: {advice}")
