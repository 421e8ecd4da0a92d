"""``lstmcast train``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, Json, OutputDir, Quiet, emit, emit_json, refuse_both, say, show, warn
from lstmcast.errors import UsageError, counted

if TYPE_CHECKING:
    from lstmcast.config.schema import Config
    from lstmcast.experiment.train_run import Result, Training
    from lstmcast.runs import Run


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Overrides of the config.", autocompletion=complete.overrides),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="A YAML file, or the name of a shipped config.", autocompletion=complete.configs),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; else the config's name and the time.")] = None,
    output_dir: OutputDir = OUTPUTS,
    seed: Annotated[int | None, typer.Option(help="The same as the override seed=N.")] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="[RUN]",
            help="Resume a run that was stopped; without RUN the latest.",
            autocompletion=complete.runs,
        ),
    ] = None,
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop and save after this time: 90, 90s, 15m or 2h.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, train nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network, score it beside the baselines, and keep everything in a run folder."""
    refuse_both(json, quiet)
    typed = _Typed(overrides or [], config, name, output_dir, seed, resume)
    typed.check()
    limit = None if max_time is None else _seconds(max_time)

    import time

    # what is wrong is said before torch is imported, which takes longer than all of this
    run, settings, stem = typed.load()
    if run is not None and run.read_manifest().get("status") == "finished":
        say(f"{run.path} is finished; nothing to do")
        _render_finished(run, json, quiet)
        return

    from lstmcast.experiment import train_run
    from lstmcast.stop import StopRequest
    from lstmcast.training import distributed

    training = train_run.Training(settings, run)
    if dry_run:
        _render_plan(train_run.describe(training), json, quiet)
        return
    begun = f", which has done {counted(done, 'step')}" if (done := training.trainer.total) else ""
    stop = StopRequest(None if limit is None else time.monotonic() + limit)
    with _Progress(training, quiet=quiet or distributed.follows()) as progress:
        result = training.execute(
            output_dir,
            name,
            stem,
            stop,
            on_record=progress.update,
            on_start=lambda run: None if quiet else say(f"training {run.path}{begun}"),
            warn=warn,
            overrides=[*(overrides or []), *([] if seed is None else [f"seed={seed}"])],
        )
    if result is None:
        return  # one of several processes, and not the one that reports
    _render(result, stop.reason, json=json, quiet=quiet)
    raise typer.Exit(result.exit_code)


class _Typed(NamedTuple):
    """What to train, as it was typed."""

    overrides: list[str]
    config: str | None
    name: str | None
    output_dir: Path
    seed: int | None
    resume: str | None

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            UsageError: if there are any.
        """
        own = self.config is not None or self.overrides or self.name is not None or self.seed is not None
        if self.resume is not None and own:
            raise UsageError(
                "--resume: a run resumes with its own config; leave out --config, --name, --seed, KEY=VALUE"
            )
        if self.resume is None and self.config is None:
            word = next(iter(self.overrides), "=")
            hint = "see `lstmcast config list`" if "=" in word else f"did you mean --config {word}?"
            raise UsageError("give --config FILE, or --resume to resume a run", hint)

    def load(self) -> tuple[Run | None, Config, str]:
        """Return the run to resume, the config, and what a new run is named after."""
        from lstmcast import runs
        from lstmcast.config.load import load

        if self.resume is not None:
            run = runs.find(self.resume, self.output_dir)
            return run, load(str(run.config)), run.name
        assert self.config is not None
        if self.name is not None:
            runs.check_name(self.name)
        return None, load(self.config, self.overrides, self.seed), Path(self.config).stem


def _render_plan(plan: dict[str, Any], json: bool, quiet: bool) -> None:
    if json:
        emit_json(plan)
    elif not quiet:
        steps = counted(plan["steps"], "step") if plan["steps"] else "open-ended"
        emit(f"valid: {counted(plan['parameters'], 'parameter')}, {steps}, nothing trained")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text, re.ASCII)
    if not match or not float(match[1]):
        raise UsageError(f"--max-time {text!r}: not a time; it is a number of seconds, or ends in s, m or h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _render(result: Result, why: str, *, json: bool, quiet: bool) -> None:
    if json:
        emit_json(result.summary())
    elif quiet:
        emit(str(result.run.path))
    elif result.evaluation is not None:
        from lstmcast.reports import tables

        evaluation = result.evaluation
        show(tables.of(evaluation))
        emit(f"verdict: {evaluation.summary()['verdict']}")
        emit(f"run: {result.run.path} ({counted(result.step, 'step')}, {result.seconds:.1f} s)")
        if result.status == "finished" and (advice := evaluation.summary().get("advice")):
            say(f"hint: {advice}")
        if result.status == "finished" and result.reason:
            say(result.reason)
    if result.status == "diverged":
        say(f"error: training diverged: {result.reason}; the best parameters before it are kept in {result.run.path}")
        say(f"hint: {result.remedy}")
    if result.status == "stopped":
        say(f"stopped by {result.reason or why} after step {result.step:,}; everything is saved")
        say(f"hint: resume it: lstmcast train --resume {result.run.path}")


def _render_finished(run: Run, json: bool, quiet: bool) -> None:
    manifest = run.read_manifest()
    if json:
        emit_json({"run": str(run.path), **manifest})
    else:
        emit(str(run.path) if quiet else f"verdict: {manifest.get('verdict', '-')}")


class _Progress:
    """A bar on a terminal, a line now and then elsewhere, nothing when quiet; always on standard error."""

    def __init__(self, training: Training, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._done = training.trainer.total
        self._lines = not quiet and not sys.stderr.isatty()
        self._steps = training.steps
        self._bar = Progress(
            TextColumn("step {task.completed:,.0f}" + (f"/{self._steps:,}" if self._steps else "")),
            BarColumn(),
            TextColumn("loss {task.fields[loss]:.3g}  rate {task.fields[rate]:.2g}  {task.fields[speed]:,.1f} steps/s"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            disable=quiet or self._lines,
            transient=True,
        )

    def __enter__(self) -> _Progress:
        import time

        self._clock = time.monotonic
        self._begun = self._shown = self._clock()
        self._first = self._done
        self._bar.start()
        nan = float("nan")
        self._task = self._bar.add_task("", total=self._steps, completed=self._first, loss=nan, rate=nan, speed=0.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, record: object) -> None:
        from lstmcast.training.trainer import Record

        assert isinstance(record, Record)
        now = self._clock()
        speed = (record.step - self._first) / max(now - self._begun, 1e-9)
        if self._lines:
            if now - self._shown < 5 and record.step != self._steps:
                return
            of = f"/{self._steps:,}" if self._steps else ""
            rate = record.learning_rate
            say(f"step {record.step:,}{of}  loss {record.loss:.3g}  rate {rate:.2g}  {speed:,.1f} steps/s")
        elif now - self._shown >= 0.1 or record.step == self._steps:
            self._bar.update(
                self._task, completed=record.step, loss=record.loss, rate=record.learning_rate, speed=speed
            )
        else:
            return
        self._shown = now
