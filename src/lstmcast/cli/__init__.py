"""The command line: one file a command, each of which parses, calls one function and renders its result."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Annotated, Never


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
from lstmcast.cli.output import abandon_stdout
from lstmcast.errors import ExitCode, LstmcastError

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


def _version(asked: bool) -> None:
    if asked:
        print(f"lstmcast {__version__}")
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
        app(arguments)
    except LstmcastError as error:
        if debug:
            raise
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except MemoryError as error:
        if debug:
            raise
        print(f"error: out of memory: {error}", file=sys.stderr)
        print("hint: make the data or the network smaller", file=sys.stderr)
        sys.exit(ExitCode.INVALID)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            abandon_stdout()
            print(f"error: standard output: cannot be written: {error.strerror}", file=sys.stderr)
            sys.exit(ExitCode.UNWRITABLE)
        print(
            f"error: internal error ({type(error).__name__}: {error}); this is a bug in lstmcast",
            file=sys.stderr,
        )
        print("hint: run the command again with --debug and report what it prints", file=sys.stderr)
        sys.exit(ExitCode.INTERNAL_ERROR)
