"""``lstmcast runs``."""

from __future__ import annotations

from typing import Annotated

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, Json, OutputDir, Quiet, emit, emit_json, refuse_both, say, show


def runs(
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Only runs whose config or score is so; also !=, <, <=, >, >=.",
            autocompletion=complete.conditions,
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="KEY", help="By a score (rollout.rmse@1000) or a key of the config; else age.")
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    output_dir: OutputDir = OUTPUTS,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the runs, oldest first."""
    refuse_both(json, quiet)
    from lstmcast.files import SCHEMA_VERSION
    from lstmcast.reports import records
    from lstmcast.runs import SWEEP

    everything = records.records(output_dir)
    found = records.select(everything, where or [])
    if sort is not None:
        records.require_key("--sort", sort, everything)
        found = records.ordered(found, sort, reverse=reverse) if found else found
    elif reverse:
        found.reverse()
    if json:
        listed = [{"run": str(record.run.path), **record.manifest} for record in found]
        emit_json({"schema_version": SCHEMA_VERSION, "runs": listed})
    elif quiet:
        for record in found:
            emit(str(record.run.path))
    elif not found:
        say(f"no runs in {output_dir}" if not everything else f"no run of {len(everything)} in {output_dir} is so")
        sweeps = sorted(path.parent for path in output_dir.glob(f"*/{SWEEP}"))
        if sweeps:
            say(f"hint: a sweep's are in its own folder: lstmcast runs --output-dir {sweeps[-1]}")
    else:
        from lstmcast.reports import tables

        show(tables.runs(found, sort))
