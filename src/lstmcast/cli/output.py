"""What all commands share: their common options, and how results leave the program."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstmcast.cli import complete
from lstmcast.errors import UnwritableError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

RunArgument = Annotated[
    str, typer.Argument(metavar="[RUN]", help="A run's path, its name, or 'latest'.", autocompletion=complete.runs)
]
OutputDir = Annotated[Path, typer.Option("--output-dir", help="The folder of all runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the one essential value.")]

OUTPUTS = Path("outputs")


def emit(text: str) -> None:
    """Write a line to standard output; a reader that has left has had all it wanted.

    Raises:
        UnwritableError: if standard output cannot be written.
    """
    emit_text(text + "\n")


def emit_text(text: str) -> None:
    """Write text to standard output as it is.

    Raises:
        UnwritableError: if standard output cannot be written.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        abandon_stdout()
        raise SystemExit(0) from None
    except OSError as error:
        abandon_stdout()
        raise UnwritableError(f"standard output: cannot be written: {error.strerror or error}") from None


def abandon_stdout() -> None:
    """Let go of standard output: what is left in the buffer must not fail once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def emit_json(document: Any) -> None:
    """Print one JSON document."""
    from lstmcast.runs import to_json

    emit(to_json(document))


def show(item: RenderableType) -> None:
    """Print a table on standard output, as wide as the terminal or 120 columns."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    text = io.StringIO()
    Console(file=text, force_terminal=terminal, width=None if terminal else 120).print(item)
    emit_text(text.getvalue())


def say(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def refuse_both(json: bool, quiet: bool) -> None:
    """Refuse --json with --quiet.

    Raises:
        UsageError: if both are given.
    """
    if json and quiet:
        raise UsageError("--json and --quiet: give one of them")
