"""``lstmcast compare``."""

from __future__ import annotations

from typing import Annotated

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, Json, OutputDir, Quiet, emit, emit_json, refuse_both, say, show
from lstmcast.errors import ExitCode, NotFoundError

# runs without a score that are named one by one
MAX_NAMED = 5


def compare(
    run: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Runs, patterns of names ('waves-*') or folders of runs.",
            autocompletion=complete.runs,
        ),
    ],
    metric: Annotated[
        str | None, typer.Option(help="What to compare, e.g. rollout.rmse@100; else the longest rollout's error.")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Exit 7 if so: 'rollout.rmse > 0.05' or 'B worse than A by 5 %'."),
    ] = None,
    output_dir: OutputDir = OUTPUTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Put runs side by side: configs over their seeds, with spread, intervals and paired tests."""
    refuse_both(json, quiet)
    from lstmcast.files import SCHEMA_VERSION
    from lstmcast.reports import comparison, records

    checks = [comparison.Check.read(text) for text in fail_if or []]
    found = records.collect(run, output_dir)
    folder = records.folder_of_runs(run[0], output_dir) if len(run) == 1 else None
    wanted = records.sweep_manifest(folder).get("metric") if folder else None
    # groups are in the order of the command line; a folder's have none, so the best comes first
    chosen = metric or comparison.default_metric(found, wanted)
    result = comparison.compare(found, chosen, ranked=folder is not None)
    for record in result.left_out[:MAX_NAMED]:
        say(f"warning: {record.run.path} is left out: it is {record.manifest.get('status')}, without a {result.metric}")
    if len(result.left_out) > MAX_NAMED:
        say(f"warning: so are {len(result.left_out) - MAX_NAMED} more runs")
    for record in result.repeated:
        say(f"warning: {record.run.path} is left out: another run has the same config and seed")
    failures = [line for check in checks for line in check.failures(result)]
    if json:
        emit_json({"schema_version": SCHEMA_VERSION, **result.as_json(), "failures": failures})
    elif quiet:
        if result.best is None:
            raise NotFoundError("there is no best: of each config a run diverged", "see `lstmcast runs`")
        emit(str(result.best.runs[0].run.path))
    else:
        from lstmcast.reports import tables

        show(tables.comparison(result))
        for line in result.sentences():
            emit(line)
    for line in failures:
        say(f"failed: {line}")
    if failures:
        raise typer.Exit(ExitCode.CHECK_FAILED)
