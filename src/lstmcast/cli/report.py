"""``lstmcast report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, OutputDir, emit


def report(
    run: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="A run, or many: a sweep, a folder of runs, a pattern of names.",
            autocompletion=complete.runs,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else report.html in the run's folder.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="(many runs) The score to rank them by; else the longest rollout's error.")
    ] = None,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Write one HTML file that shows a run, or compares many, and print its path."""
    from lstmcast import files
    from lstmcast.reports import comparison, page, records

    references = run or ["latest"]
    folder = records.folder_of_runs(references[0], output_dir) if len(references) == 1 else None
    found = records.collect(references, output_dir)
    if folder is None and len(found) == 1:
        text, place = page.run_page(found[0]), found[0].run.path
    else:
        title = folder.resolve().name if folder else " ".join(references)
        sweep = records.sweep_manifest(folder) if folder else {}
        chosen = metric or comparison.default_metric(found, sweep.get("metric"))
        text = page.sweep_page(title, found, chosen, sweep.get("trials") or ())
        place = folder or output_dir
    path = output or place / "report.html"
    files.write(path, text)
    emit(str(path))
