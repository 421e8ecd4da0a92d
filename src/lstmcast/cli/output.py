"""What all commands share: their common options, and how results leave the program."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from lstmcast.cli import complete
from lstmcast.errors import LstmcastError, UnwritableError, UsageError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

RunArgument = Annotated[
    str, typer.Argument(metavar="[RUN]", help="A run's path, its name, or 'latest'.", autocompletion=complete.runs)
]
OutputDir = Annotated[Path, typer.Option("--output-dir", help="The folder of all runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the one essential value.")]

OUTPUTS = Path("outputs")
# what could give a terminal orders; lines and tabs may stay
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """Write out control characters, which a stranger's file may hold: a terminal would obey them."""
    return CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def emit(text: str) -> None:
    """Write a line to standard output; a reader that has left has had all it wanted.

    Raises:
        UnwritableError: if standard output cannot be written.
    """
    emit_text(text + "\n")


def emit_text(text: str) -> None:
    """Write text to standard output, to a file or a pipe as it is.

    Raises:
        UnwritableError: if standard output cannot be written.
    """
    _write(harmless(text) if sys.stdout.isatty() else text)


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        abandon(sys.stdout)
        raise SystemExit(0) from None
    except OSError as error:
        abandon(sys.stdout)
        raise UnwritableError(f"standard output: cannot be written: {error.strerror or error}") from None


def abandon(stream: TextIO) -> None:
    """Let go of a stream: what is left in the buffer must not fail once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def emit_json(document: Any) -> None:
    """Print one JSON document."""
    from lstmcast.files import to_json

    emit(to_json(document))


def show(item: RenderableType) -> None:
    """Print a table on standard output, as wide as the terminal or 120 columns."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    text = io.StringIO()
    Console(file=text, force_terminal=terminal, width=None if terminal else 120).print(Harmless(item))
    _write(text.getvalue())


class Harmless:
    """A table with its control characters written out."""

    def __init__(self, item: RenderableType) -> None:
        self._item = item

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield what rich makes of it, piece by piece."""
        for piece in console.render(self._item, options):
            yield piece if piece.control else piece._replace(text=harmless(piece.text))


def say(text: str) -> None:
    """Print a line on standard error; nobody has to hear it."""
    try:
        print(harmless(text), file=sys.stderr, flush=True)
    except OSError:
        abandon(sys.stderr)


def warn(text: str) -> None:
    """Print a warning."""
    say(f"warning: {text}")


def say_error(error: LstmcastError) -> None:
    """Print an error and its hint."""
    say(f"error: {error.message}")
    if error.hint:
        say(f"hint: {error.hint}")


def refuse_both(json: bool, quiet: bool) -> None:
    """Refuse --json with --quiet.

    Raises:
        UsageError: if both are given.
    """
    if json and quiet:
        raise UsageError("--json and --quiet: give one of them")
