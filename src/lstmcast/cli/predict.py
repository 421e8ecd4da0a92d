"""``lstmcast predict``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

import typer

from lstmcast.cli.output import OUTPUTS, OutputDir, RunArgument, emit, emit_text, say, warn
from lstmcast.errors import InvalidError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lstmcast.arrays import Array
    from lstmcast.data.time_axis import Clock
    from lstmcast.experiment.trained import Trained
    from lstmcast.forecasting.rollout import Forecaster

Format: TypeAlias = Literal["csv", "json", "npz"]
MAX_FUTURE = 1_000_000_000
# names of a band's two columns
BAND = ("lower", "upper")
# steps kept in memory at a time
CHUNK = 1000
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
    if not 1 <= future <= MAX_FUTURE:
        raise UsageError(f"--future {future}: must be from 1 to {MAX_FUTURE:,}")
    if (format != "csv" or plot) and future > MAX_WHOLE:
        raise UsageError(f"--future {future}: at most {MAX_WHOLE:,} with --plot or --format {format}; csv streams")
    if format == "npz" and output is None:
        raise UsageError("--format npz: is binary; give a file with -o FILE")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UsageError(f"--plot {plot}: must end in .png, .svg or .pdf")
    if interval is not None and not 0 < interval < 1:
        raise UsageError(f"--interval {interval}: must lie between 0 and 1")
    if column and data is None:
        raise UsageError("--column: names a column of the file given by --data; give both")

    from lstmcast import files, runs
    from lstmcast.experiment.trained import load_forecaster
    from lstmcast.forecasting.intervals import calibrate
    from lstmcast.forecasting.table import series_label

    found = runs.find(run, output_dir)
    trained = load_forecaster(found, "predict")
    if samples is not None and trained.forecaster.bins is None:
        warn("--samples: this network forecasts values and draws nothing; it changes nothing")
    forecaster = dataclasses.replace(trained.forecaster, paths=samples or 100)
    dataset = trained.dataset() if data is None or interval is not None else None
    margins = None
    if interval is not None:
        assert dataset is not None
        margins = calibrate(forecaster, dataset.test, future, interval)
    if data is None:
        assert dataset is not None
        history = trained.scaler.invert(dataset.test.rows[:, : dataset.test.known])
        clock, notes = dataset.clock, dataset.notes
    else:
        history, forecaster, clock, notes = _own_data(data, column, trained, forecaster)
    for note in notes:
        warn(note)
    N, _, F = history.shape
    labels = [series_label(n, f, N, trained.columns) for n in range(N) for f in range(F)]
    paths = forecaster.stream_paths(trained.scaler.apply(history))
    chunks = _chunks(_steps(paths, trained, interval, margins), future)
    kept: list[Array] = []
    known = history.shape[1]
    times = (clock.write(step) for step in range(known, known + future)) if clock else None
    if format == "csv":
        text = _csv(chunks, labels, kept if plot else None, BAND if interval else (), times)
        if output is None:
            for part in text:
                emit_text(part)
        else:
            with files.replacing(output) as file:
                for part in text:
                    file.write(part.encode())
    else:
        kept = list(chunks)
        values = _whole(kept)
        flat = values.transpose(0, 2, 1, 3).reshape(N * F, future, -1)
        if format == "json":
            document = {
                "schema_version": files.SCHEMA_VERSION,
                "run": str(found.path),
                "future": future,
                "labels": labels,
                **{name: _numbers(flat[..., k]) for k, name in enumerate(("series", *BAND)[: flat.shape[2]])},
                **({"times": list(times)} if times else {}),
            }
            text_document = files.to_json(document, indent=None)
            if output is None:
                emit(text_document)
            else:
                files.write(output, text_document + "\n")
        else:
            import numpy as np

            assert output is not None
            with files.replacing(output) as file:
                arrays = {name: flat[..., k] for k, name in enumerate(("series", *BAND)[: flat.shape[2]])}
                arrays |= {"times": np.array(list(times))} if times else {}
                np.savez(file, labels=np.array(labels), **arrays)  # type: ignore[arg-type]
    if output is not None:
        say(f"wrote {output}")
    if plot is not None:
        from lstmcast.reports import plots

        plots.save(plots.forecast(history, _whole(kept), trained.columns, found.name, interval, clock), plot, warn)
        say(f"wrote {plot}")


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


def _own_data(
    path: Path, column: list[str] | None, trained: Trained, forecaster: Forecaster
) -> tuple[Array, Forecaster, Clock | None, tuple[str, ...]]:
    """Read the user's file; return the history ``(1, L, F)``, the forecaster at its place in time, its clock, notes."""
    import numpy as np

    from lstmcast.data.series import Series, read_series
    from lstmcast.data.time_axis import TOLERANCE

    columns = column or list(trained.columns)
    if sorted(columns) == sorted(trained.columns):
        columns = list(trained.columns)  # the run's own names, in the run's own order
    if len(columns) != len(trained.columns):
        raise UsageError(
            f"--column: the run forecasts {len(trained.columns)} columns together"
            f" ({', '.join(trained.columns)}), here are {len(columns)}"
        )
    settings, covariates = trained.config.generator, forecaster.covariates
    if isinstance(settings, Series):
        time_column, missing = settings.time_column, settings.missing
    else:
        time_column, missing = None, "error"
    series = read_series(path, columns, time_column, missing, timed=covariates is not None)
    notes, origin = series.notes, series.origin
    if series.clock and trained.step:
        step = series.clock.step
        if not step.is_like(trained.step):
            raise InvalidError(
                f"{path}: rows are {step} apart; the run was trained on rows {trained.step} apart",
                "give rows as far apart as the run's, or train a run on these",
            )
        # the run's own step: the file's is as exact as its clock
        origin *= step.size / trained.step.size
    elif trained.step and covariates is not None:
        raise InvalidError(
            f"{path}: column {time_column!r} does not tell when its rows are, which the run's known periods need",
            "give at least two rows, with times like those that the run was trained on",
        )
    elif trained.step:
        notes = (*notes, f"{path}: no times in a column {time_column!r}: nobody has looked for missing rows")
    if covariates is not None:
        if time_column is None:
            notes = (*notes, f"{path}: its first row counts as the time of the run's first row: no data.time_column")
        off = (origin - covariates.origin + 0.5) % 1 - 0.5
        if trained.step and abs(off) > TOLERANCE:
            notes = (
                *notes,
                f"{path}: rows lie {off:+.2g} steps beside those of the run; known periods are moved along",
            )
        forecaster = dataclasses.replace(forecaster, covariates=dataclasses.replace(covariates, origin=origin))
    history = series.values[None]
    scaled = trained.scaler.apply(history)
    off = float(np.abs(scaled).max())
    if off > 20:
        notes = (
            *notes,
            f"--data: values up to {off:,.0f} training standard deviations off: are these the run's units?",
        )
    if scaled.shape[1] < forecaster.context:
        notes = (
            *notes,
            f"--data: {scaled.shape[1]} rows; the network was trained to read {forecaster.context} before it forecasts",
        )
    return history, forecaster, series.clock, notes


def _steps(paths: Iterator[Array], trained: Trained, level: float | None, margins: Array | None) -> Iterator[Array]:
    """Reduce the paths ``(N, M, F)`` of each step to their mean, and the band if asked: ``(N, F, 1 or 3)``."""
    from lstmcast.forecasting.intervals import band, widen

    bins, scale = trained.forecaster.bins, trained.scaler.scale
    own = map(trained.scaler.invert, paths)
    if level is None or margins is None:
        yield from (step.mean(axis=1)[..., None] for step in own)
        return
    half_bin = scale * (bins.width / 2 if bins else 0.0)
    yield from (widen(band(step, level, half_bin), margin * scale) for step, margin in zip(own, margins, strict=False))


def _chunks(steps: Iterator[Array], future: int) -> Iterator[Array]:
    """Gather steps ``(N, F, Q)`` into chunks ``(N, up to CHUNK, F, Q)``."""
    from itertools import islice

    import numpy as np

    for start in range(0, future, CHUNK):
        yield np.stack(list(islice(steps, min(CHUNK, future - start))), axis=1)


def _numbers(values: Array) -> Any:
    """Return nested lists for JSON; what is not finite is None."""
    import numpy as np

    finite = np.isfinite(values)
    return values.tolist() if finite.all() else np.where(finite, values.astype(object), np.array(None)).tolist()


def _whole(chunks: list[Array]) -> Array:
    import numpy as np

    return np.concatenate(chunks, axis=1)


def _csv(
    chunks: Iterator[Array],
    labels: list[str],
    kept: list[Array] | None,
    band: tuple[str, ...],
    times: Iterator[str] | None,
) -> Iterator[str]:
    """Yield the rows series, step, value and perhaps the band and the time, a chunk of steps at a time."""
    from lstmcast.forecasting.table import csv_rows

    yield ",".join(("series", "step", "value", *band, *(["time"] if times else []))) + "\n"
    step = 0
    for chunk in chunks:
        if kept is not None:
            kept.append(chunk)
        rows = []
        for values in chunk.swapaxes(0, 1).reshape(chunk.shape[1], len(labels), -1).tolist():
            step += 1
            time = [next(times)] if times else []
            rows += [(label, step, *row, *time) for label, row in zip(labels, values, strict=True)]
        yield csv_rows(rows)
