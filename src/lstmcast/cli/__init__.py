"""The command line: one file a command, each of which parses, calls one function and renders its result."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import re
import signal
import sys
from typing import Annotated, Any, Never


def _open_streams() -> None:
    """Put something in the place of a standard stream that is closed, or the next file would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # results that nobody gets are refused, for nothing can be written here; messages may go nowhere
            mode = os.O_WRONLY if name == "stderr" else os.O_RDONLY
            os.set_inheritable(os.open(os.devnull, mode), True)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))


_open_streams()  # before any other file is opened


def _leave(number: int, _frame: object) -> Never:
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    # print() might be interrupted in the middle of itself
    os.write(2, f"stopped by {name}\n".encode())
    raise SystemExit(130 if number == signal.SIGINT else 75)


def _listen() -> None:
    """Leave on a signal with one line and a clean folder; what the shell has us ignore stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _leave)


_listen()  # before the imports below, which take a while

# one thread: these matrices are too small for two, and the second one mostly waits; set the variables to change it
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# the end gives back all memory at once: looking through torch's objects for garbage first takes half a second
atexit.register(gc.freeze)

# pictures go to files: a backend for windows, or one that does not exist, must not stop us
os.environ["MPLBACKEND"] = "agg"

import typer

from lstmcast import __version__
from lstmcast.cli import (
    compare,
    config,
    evaluate,
    export,
    gradcheck,
    plot,
    predict,
    report,
    runs,
    sample,
    sweep,
    trace,
    train,
)
from lstmcast.cli.complete import join_bash_words
from lstmcast.cli.output import abandon, emit, say, say_error
from lstmcast.errors import InvalidError, LstmcastError, UnwritableError, UsageError

app = typer.Typer(
    name="lstmcast",
    help="Train recurrent forecasters of quasi-periodic series, and see honestly how far their forecasts hold.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("predict")(predict.predict)
app.command("evaluate")(evaluate.evaluate)
app.command("plot")(plot.plot)
app.command("sample")(sample.sample)
app.command("trace")(trace.trace)
app.command("gradcheck")(gradcheck.gradcheck)
app.command("runs")(runs.runs)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("export")(export.export)
app.add_typer(sweep.app, name="sweep")
app.add_typer(config.app, name="config")


# what Typer raises for wrong usage; of all these it exports one alone
WrongUsage = typer.BadParameter.__mro__[1]


def _version(asked: bool) -> None:
    if asked:
        emit(f"lstmcast {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere on the command line.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line: the one place where errors become messages and exit codes."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if arguments[:1] == ["train"] and "--resume" in arguments:
        # the value of --resume may be left out
        after = arguments.index("--resume") + 1
        if after == len(arguments) or arguments[after].startswith("-"):
            arguments.insert(after, "latest")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    _listen()
    join_bash_words()
    try:
        sys.exit(app(arguments, standalone_mode=False))
    except Exception as error:
        if debug:
            import traceback

            say(traceback.format_exc().rstrip())
        ours = _as_ours(error)
        if ours.message:
            say_error(ours)
        sys.exit(ours.exit_code)


def _as_ours(error: Exception) -> LstmcastError:
    """Say what an error of any kind means to the user."""
    if isinstance(error, LstmcastError):
        return error
    if isinstance(error, MemoryError):
        return InvalidError(f"out of memory: {error}", "make the data or the network smaller")
    if isinstance(error, WrongUsage):
        return _as_usage_error(error)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EBADF):
        abandon(sys.stdout)
        return UnwritableError(f"standard output: cannot be written: {error.strerror}")
    return LstmcastError(
        f"internal error ({type(error).__name__}: {error}); this is a bug in lstmcast",
        "run the command again with --debug and report what it prints",
    )


def _as_usage_error(error: Any) -> UsageError:
    """Put what Typer says of wrong usage in our form; it says nothing when it has shown the help instead."""
    text = error.format_message().replace("Value error, ", "").removesuffix(".")
    # Typer names what is near at the end of its message
    message, _, near = re.sub(r"\.? (Did you mean|\(Possible options:) ([^?)]*)[?)]$", r"\n\2", text).partition("\n")
    hint = f"did you mean {near.replace(', ', ' or ')}?" if near else None
    if error.ctx and not hint:
        hint = f"{error.ctx.command_path} --help"
    return UsageError(message[:1].lower() + message[1:], hint)
