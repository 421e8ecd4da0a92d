"""``lstmcast runs``."""

from __future__ import annotations

from lstmcast.cli.output import OUTPUTS, Json, OutputDir, Quiet, emit, emit_json, refuse_both, say, show


def runs(output_dir: OutputDir = OUTPUTS, json: Json = False, quiet: Quiet = False) -> None:
    """List the runs, oldest first."""
    refuse_both(json, quiet)
    from lstmcast.runs import SCHEMA_VERSION, all_runs

    found = all_runs(output_dir)
    if json:
        emit_json(
            {
                "schema_version": SCHEMA_VERSION,
                "runs": [{"run": str(run.path), **manifest} for run, manifest in found],
            }
        )
    elif quiet:
        for run, _ in found:
            emit(str(run.path))
    elif not found:
        say(f"no runs in {output_dir}")
    else:
        from lstmcast.reports import tables

        headers = ("run", "status", "created (UTC)", "steps", "next step", "rollout", "verdict")
        show(tables.listing(headers, (tables.run_row(run.name, manifest) for run, manifest in found)))
