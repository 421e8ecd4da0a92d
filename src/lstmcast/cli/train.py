"""``lstmcast train``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import OUTPUTS, Json, OutputDir, Quiet, emit, emit_json, refuse_both, say, show, warn
from lstmcast.errors import UsageError, counted

if TYPE_CHECKING:
    from lstmcast.experiment.train_run import Result, Training


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
            help="Go on with a run that was stopped; without RUN the latest.",
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
    if resume is None and config is None:
        hint = f"did you mean --config {overrides[0]}?" if overrides and "=" not in overrides[0] else None
        raise UsageError("give --config FILE, or --resume to go on with a run", hint or "see `lstmcast config list`")
    if resume is not None and (config is not None or overrides or name is not None or seed is not None):
        raise UsageError("--resume: a run goes on with its own config; leave out --config, --name, --seed, KEY=VALUE")
    limit = None if max_time is None else _seconds(max_time)

    import time

    from lstmcast import runs
    from lstmcast.config.load import load

    # what is wrong is said before torch is imported, which takes longer than all of this
    if resume is not None:
        run = runs.find(resume, output_dir)
        if run.read_manifest().get("status") == "finished":
            say(f"{run.path} is finished; nothing to do")
            _render_finished(run, json, quiet)
            return
        settings, stem = load(str(run.config)), run.name
    else:
        assert config is not None
        if name is not None:
            runs.check_name(name)
        run, settings, stem = None, load(config, overrides or [], seed), Path(config).stem

    from lstmcast.experiment import train_run
    from lstmcast.stop import StopRequest
    from lstmcast.training import distributed

    training = train_run.Training(settings, run)
    if dry_run:
        plan = train_run.describe(training)
        if json:
            emit_json(plan)
        elif not quiet:
            steps = counted(plan["steps"], "step") if plan["steps"] else "open-ended"
            emit(f"valid: {counted(plan['parameters'], 'parameter')}, {steps}, nothing trained")
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
        say(f"hint: go on with: lstmcast train --resume {result.run.path}")


def _render_finished(run: object, json: bool, quiet: bool) -> None:
    from lstmcast.runs import Run

    assert isinstance(run, Run)
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
