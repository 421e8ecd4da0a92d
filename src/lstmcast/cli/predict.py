"""``lstmcast predict``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, get_args

import typer

from lstmcast.cli.output import OUTPUTS, OutputDir, RunArgument, emit_text, say, warn
from lstmcast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Format: TypeAlias = Literal["csv", "json", "npz"]
MAX_FUTURE = 1_000_000_000
# formats that are written whole, and pictures, keep all values
MAX_WHOLE = 10_000_000


def predict(
    run: RunArgument = "latest",
    future: Annotated[int, typer.Option(help="Steps to forecast.")] = 1000,
    data: Annotated[Path | None, typer.Option(help="Forecast past the end of this CSV file instead.")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Its column; once for each column of the run.")] = None,
    format: Annotated[  # noqa: A002
        Format | None, typer.Option(help="Of the forecast; else as FILE ends, or csv.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the forecast into this .png, .svg or .pdf file.")] = None,
    interval: Annotated[
        float | None, typer.Option(help="Add bands that hold the truth with this probability, between 0 and 1.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Paths drawn from a categorical network; else 100.")
    ] = None,
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Forecast past the end of the run's series, or of your own, in your units."""
    if output == Path("-"):
        output = None
    format = _format(format, json, output)  # noqa: A001
    for problem in _problems(future, data, column, format, output, plot, interval):
        raise UsageError(problem)

    from lstmcast import files, runs
    from lstmcast.experiment.forecast import csv_text, prepare, steps_of, whole
    from lstmcast.experiment.trained import load_forecaster

    found = runs.find(run, output_dir)
    trained = load_forecaster(found, "predict")
    if samples is not None:
        if trained.forecaster.bins is None:
            warn("--samples: this network forecasts values and draws nothing; it changes nothing")
        trained = trained.with_paths(samples)
    start, margins = prepare(trained, future, data, column, interval)
    for note in start.notes:
        warn(note)
    if format == "csv" and plot is None:
        steps = islice(steps_of(trained, start, margins), future)
        _write(csv_text(steps, start, trained.columns, bands=margins is not None), output)
        return
    forecast = whole(trained, start, future, margins)
    if format == "csv":
        _write(csv_text(forecast.steps(), start, trained.columns, bands=margins is not None), output)
    elif format == "json":
        _write([files.to_json(forecast.as_json(str(found.path)), indent=None), "\n"], output)
    else:
        assert output is not None
        with files.replacing(output) as file:
            forecast.save_npz(file)
        say(f"wrote {output}")
    if plot is not None:
        from lstmcast.reports import plots

        plots.save(forecast.plot(), plot, warn)
        say(f"wrote {plot}")


def _problems(
    future: int,
    data: Path | None,
    column: list[str] | None,
    format: Format,  # noqa: A002
    output: Path | None,
    plot: Path | None,
    interval: float | None,
) -> Iterator[str]:
    """Yield what is wrong with the options."""
    if not 1 <= future <= MAX_FUTURE:
        yield f"--future {future}: must be from 1 to {MAX_FUTURE:,}"
    if (format != "csv" or plot) and future > MAX_WHOLE:
        yield f"--future {future}: at most {MAX_WHOLE:,} with --plot or --format {format}; csv streams"
    if format == "npz" and output is None:
        yield "--format npz: is binary; give a file with -o FILE"
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        yield f"--plot {plot}: must end in .png, .svg or .pdf"
    if interval is not None and not 0 < interval < 1:
        yield f"--interval {interval}: must lie between 0 and 1"
    if column and data is None:
        yield "--column: names a column of the file given by --data; give both"


def _write(parts: Iterable[str], output: Path | None) -> None:
    """Write text to a file, or to standard output."""
    if output is None:
        for part in parts:
            emit_text(part)
        return

    from lstmcast import files

    with files.replacing(output) as file:
        for part in parts:
            file.write(part.encode())
    say(f"wrote {output}")


def _format(format: Format | None, json: bool, output: Path | None) -> Format:  # noqa: A002
    """Return the format that was asked for, by name or by the file's ending.

    Raises:
        UsageError: if the two contradict each other.
    """
    if json and format not in (None, "json"):
        raise UsageError(f"--json and --format {format}: give one of them")
    asked = "json" if json else format
    ending = output.suffix.lower().removeprefix(".") if output else ""
    by_ending = next((known for known in get_args(Format) if known == ending), None)
    if asked and by_ending and asked != by_ending:
        raise UsageError(f"-o {output}: ends in .{ending}, but the format is {asked}", "leave out --format")
    return asked or by_ending or "csv"
