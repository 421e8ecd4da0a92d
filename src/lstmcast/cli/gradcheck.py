"""``lstmcast gradcheck``."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import Json, Quiet, emit, emit_json, emit_text, refuse_both, show
from lstmcast.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from lstmcast.gradients.report import Finding, Report


ORACLES = {
    "complex": "the complex step",
    "central": "central differences",
    "torch": "torch's autograd",
    "all": "complex step, central differences and autograd",
}
NOTATION = """Notation: samples in rows; dz is the gradient of the loss with respect to z; x input, h state,
c cell state, tc = tanh(c), p prediction, y target, k as said with the loss above; da* of a gate's pre-activation;
*_next goes on to the step before.
"""


def gradcheck(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the config.", autocompletion=complete.overrides),
    ] = None,
    code: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check your own program, and name its mistakes.")
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Check the network of a config.", autocompletion=complete.configs),
    ] = None,
    template: Annotated[
        Literal["lstm", "gru", "rnn"] | None, typer.Option(help="Print a working example for --code.")
    ] = None,
    oracle: Annotated[
        Literal["complex", "central", "torch", "all"] | None,
        typer.Option(help="(--config) What to compare with; else complex."),
    ] = None,
    rollout: Annotated[int | None, typer.Option(min=0, help="(--config) Steps fed back.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(min=0.1, help="(--code) Seconds that the program may take; else 60.")
    ] = None,
    diagnose: Annotated[
        bool | None, typer.Option("--diagnose/--no-diagnose", help="(--code) Look for the mistakes, or only check.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check gradients: a config's, or those of your own program, whose mistakes are named."""
    refuse_both(json, quiet)
    if sum(given is not None for given in (code, config, template)) != 1:
        raise UsageError("give one of --code FILE, --config FILE and --template CELL")
    if config is None and (overrides or oracle is not None or rollout is not None):
        raise UsageError("KEY=VALUE, --oracle and --rollout go with --config")
    if code is None and (time_limit is not None or diagnose is not None):
        raise UsageError("--time-limit and --diagnose go with --code")
    if template is not None:
        from importlib.resources import files

        emit_text(files("lstmcast.doctor.templates").joinpath(f"{template}.txt").read_text(encoding="utf-8"))
        return
    if code is not None:
        from lstmcast.doctor.check_program import check_code

        report = check_code(code, 60.0 if time_limit is None else time_limit, diagnose is not False)
    else:
        from lstmcast.config.load import load
        from lstmcast.gradients.check import check_config

        assert config is not None
        report = check_config(load(config, overrides or []), oracle or "complex", rollout)
    if json:
        emit_json(report.as_json())
    elif quiet:
        emit(repr(report.worst_relative_error))
    else:
        _render(report)
    if not report.passed:
        raise SystemExit(ExitCode.CHECK_FAILED)


def _render(report: Report) -> None:
    for note in report.notes:
        emit(note)
    show(_table(report))
    for number, finding in enumerate(report.diagnosis, 1):
        emit_text(_text(number, finding))
    if any("= " in finding.expected for finding in report.diagnosis):
        emit(NOTATION)
    oracle = ORACLES.get(report.oracle, report.oracle)
    error = f"worst relative error {report.worst_relative_error:.2g}, against {oracle}"
    if isnan(report.worst_relative_error):
        emit("failed: not every gradient is there to compare")
    elif report.passed:
        emit(f"passed: {error}")
    elif all(result.passed for result in report.parameters.values()):
        emit(f"failed: see above; the gradients themselves are right ({error})")
    else:
        emit(f"failed: {error}")


def _table(report: Report) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("gradient of")
    table.add_column("relative error", justify="right")
    table.add_column("")
    table.add_column("worst at")
    table.add_column("")
    for name, result in report.parameters.items():
        worst = "" if result.worst_element is None else ", ".join(map(str, result.worst_element))
        texts = (name, f"{result.relative_error:.2g}", "right" if result.passed else "WRONG", worst, result.note)
        # as text: brackets in a name are no markup
        table.add_row(*map(Text, texts))
    return table


def _text(number: int, finding: Finding) -> str:
    indented = finding.expected.replace("\n", "\n              ")
    return (
        f"{number}. {finding.slot}\n"
        f"   found:     {finding.found}\n"
        f"   expected:  {indented}\n"
        f"   evidence:  {finding.evidence}\n\n"
    )
