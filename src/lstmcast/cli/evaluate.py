"""``lstmcast evaluate``."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

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
    from lstmcast.experiment.trained import TrainedTokens
    from lstmcast.runs import Run

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
    try:
        asked = [int(text) for text in horizons.split(",")]
    except ValueError:
        raise UsageError(f"--horizons {horizons!r}: not whole numbers separated by commas") from None
    if not all(0 < h <= MAX_HORIZON for h in asked):
        raise UsageError(f"--horizons {horizons!r}: each must be from 1 to {MAX_HORIZON:,}")

    from lstmcast import runs
    from lstmcast.experiment.trained import TrainedTokens, load_trained
    from lstmcast.forecasting.evaluate import evaluate as score

    found = runs.find(run, output_dir)
    trained = load_trained(found)
    if isinstance(trained, TrainedTokens):
        _evaluate_tokens(found, trained, json, quiet)
        return
    # several origins in a synthetic series need room to spread
    dataset = trained.dataset(future=max(asked) * (1 if origins == 1 else 2))
    evaluation = score(trained.forecaster, dataset, asked, origins)
    if evaluation.beyond:
        beyond, longest = ", ".join(f"{h:,}" for h in evaluation.beyond), max(evaluation.model.rollout)
        what = f"cut to {longest:,}" if origins == 1 else "left out"
        warn(f"horizons {beyond} are {what}: the test part is shorter")
    if json:
        emit_json(_document(found, evaluation.summary()))
    elif quiet:
        emit(repr(list(evaluation.model.rollout.values())[-1]))
    else:
        from lstmcast.reports import tables

        show(tables.scores(evaluation))
        measured = {
            f"amplitude ratio {evaluation.amplitude_ratio:.3f}": evaluation.amplitude_ratio,
            f"frequency {evaluation.frequency_error:+.3g} cycles per 1,000 steps off": evaluation.frequency_error,
            f"phase {evaluation.phase_error:+.3f} cycles off at the end": evaluation.phase_error,
        }
        # short rollouts, and lost ones, have no phase
        emit(
            "; ".join(
                [
                    f"holds for {counted(evaluation.valid_horizon, 'step')}",
                    *(text for text, value in measured.items() if isfinite(value)),
                ]
            )
        )
        emit(f"verdict: {evaluation.verdict.text}")
        if evaluation.verdict.advice:
            say(f"hint: {evaluation.verdict.advice}")


def _evaluate_tokens(run: Run, trained: TrainedTokens, json: bool, quiet: bool) -> None:
    from lstmcast.forecasting.tokens import evaluate_tokens

    evaluation = evaluate_tokens(trained.engine, trained.tokens())
    if json:
        emit_json(_document(run, evaluation.summary()))
    elif quiet:
        emit(repr(evaluation.model.cross_entropy))
    else:
        from lstmcast.reports import tables

        show(tables.token_scores(evaluation))
        emit(f"verdict: {evaluation.verdict}")


def _document(run: Run, summary: dict[str, Any]) -> dict[str, Any]:
    from lstmcast.files import SCHEMA_VERSION

    status = run.read_manifest().get("status")
    return {"schema_version": SCHEMA_VERSION, "run": str(run.path), "status": status, **summary}
