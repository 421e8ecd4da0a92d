"""``lstmcast trace``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, OutputDir, emit, say, show
from lstmcast.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from lstmcast.gradients.trace import Row

# heading of what is set beside the hand-derived values; anything else is the user's file
OTHER = {"torch": "autograd", "none": ""}


def trace(
    run_or_overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN | KEY=VALUE...]",
            help="A run's path, its name, or 'latest'; with --config overrides of the config.",
            autocompletion=complete.run_or_overrides,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Trace a config's untrained network instead of a run.", autocompletion=complete.configs),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=0, help="Which sequence of the first training batch; else the first, 0.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=1000, help="Its first steps.")] = 3,
    units: Annotated[int, typer.Option(min=1, help="Hidden units shown of each layer.")] = 2,
    against: Annotated[
        str, typer.Option(metavar="torch|none|FILE.py", help="Set autograd, nothing, or your own program beside it.")
    ] = "torch",
    format: Annotated[Literal["table", "csv", "latex"], typer.Option(help="Format of the trace.")] = "table",  # noqa: A002
    output_dir: OutputDir = OUTPUTS,
) -> None:
    """Show each gate and state forward, and each gradient backward, of a few steps."""
    given = run_or_overrides or []
    if against not in OTHER:
        if given or config is not None or sample is not None:
            raise UsageError("--against FILE: traces a random sequence; leave out RUN, --config and --sample")
        from lstmcast.doctor.trace_program import trace_code

        _render(trace_code(Path(against), steps, units), against, format)
        return

    from lstmcast import runs
    from lstmcast.config.build import make_dataset, make_network_engine, make_sampler
    from lstmcast.config.load import load
    from lstmcast.experiment.trained import TrainedTokens, load_trained
    from lstmcast.gradients.trace import trace as trace_batch

    if config is None and len(given) > 1:
        hint = "overrides go with --config" if "=" in given[1] else None
        raise UsageError(f"trace: one run is traced at a time, not {' and '.join(map(repr, given))}", hint)
    sample = sample or 0
    if config is not None:
        settings = load(config, given)
        dataset = make_dataset(settings)
        engine = make_network_engine(settings, dataset.features, "numpy")
    else:
        trained = load_trained(runs.find(given[0] if given else runs.LATEST, output_dir))
        settings = trained.config
        if isinstance(trained, TrainedTokens):
            dataset, engine = trained.tokens(), trained.engine
        else:
            dataset, engine = trained.dataset(), trained.forecaster.engine
    batch = make_sampler(settings, dataset).next()
    if sample >= len(batch.inputs):
        raise UsageError(f"--sample {sample}: the first batch has the sequences 0 to {len(batch.inputs) - 1}")
    # the first steps of a window have no target: the autoregressive component needs their past
    first = (settings.model.autoregression or 1) - 1
    one = slice(sample, sample + 1), slice(first, first + steps)
    short = dataclasses.replace(batch, inputs=batch.inputs[one], targets=batch.targets[one], weights=None, lengths=None)
    _render(trace_batch(engine, short, autograd=against == "torch", units=units), against, format)


def _render(rows: list[Row], against: str, format: str) -> None:  # noqa: A002
    alone = dict.fromkeys(row.quantity for row in rows if row.other is None) if against not in OTHER else {}
    if format == "csv":
        emit("step,layer,quantity,unit,ours,other,differs")
        for row in rows:
            other = "" if row.other is None else repr(row.other)
            emit(f"{row.step},{row.layer},{row.quantity},{row.unit},{row.ours!r},{other},{str(row.differs).lower()}")
    elif format == "latex":
        emit(_latex(rows, OTHER.get(against, "your program")))
    else:
        from lstmcast.reports import tables

        marked = False
        cells = []
        for row in rows:
            first = row.differs and not marked
            marked = marked or row.differs
            other = "" if row.other is None else f"{row.other:+.10f}"
            mark = "<- first difference" if first else "differs" if row.differs else ""
            cells.append((str(row.step), str(row.layer), row.quantity, str(row.unit), f"{row.ours:+.10f}", other, mark))
        other = OTHER.get(against, "your program")
        show(tables.listing(("step", "layer", "quantity", "unit", "by hand", other, ""), cells))
        if against != "none" and not marked:
            say("no difference beyond rounding" + (" in what could be compared" if alone else ""))
    if alone:
        say(f"not compared, because your trace does not return them: {', '.join(alone)}")
    if any(row.differs for row in rows):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _latex(rows: list[Row], other: str) -> str:
    lines = [r"\begin{tabular}{rrlrrr}", rf"step & layer & quantity & unit & by hand & {other} \\ \hline"]
    for row in rows:
        kind, _, gate = row.quantity.partition("_")
        symbol = rf"\partial L/\partial {kind[1:]}" if kind.startswith("d") else kind
        symbol += f"_{gate}" if gate else ""
        value = "" if row.other is None else f"{row.other:.6f}"
        lines.append(rf"{row.step} & {row.layer} & ${symbol}$ & {row.unit} & {row.ours:.6f} & {value} \\")
    return "\n".join([*lines, r"\end{tabular}"])
