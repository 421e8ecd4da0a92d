"""``lstmcast sweep``."""

from __future__ import annotations

import os
import sys
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lstmcast.cli import complete
from lstmcast.cli.output import (
    OUTPUTS,
    Harmless,
    Json,
    OutputDir,
    Quiet,
    emit,
    emit_json,
    refuse_both,
    say,
    show,
)
from lstmcast.errors import ExitCode, UsageError, counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.table import Table

    from lstmcast.sweeps.folder import Sweep
    from lstmcast.sweeps.spec import Trial
    from lstmcast.sweeps.trial import Progress
    from lstmcast.sweeps.workers import Workers

app = typer.Typer(help="Many trainings from one spec: grid, random and tpe searches.", no_args_is_help=True)

SpecArgument = Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep's YAML file.")]
SweepArgument = Annotated[
    str,
    typer.Argument(metavar="[SWEEP]", help="A sweep's path, its name, or 'latest'.", autocompletion=complete.sweeps),
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Trials at once, one thread each; else one for each core.")]
Cluster = Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler: tcp://host:8786.")]
FailFast = Annotated[
    bool, typer.Option("--fail-fast/--keep-going", help="Stop after the first trial that fails, or do all others.")
]


@app.command()
def run(
    spec: SpecArgument,
    name: Annotated[str | None, typer.Option(help="Name of the sweep; else the spec's name and the time.")] = None,
    output_dir: OutputDir = OUTPUTS,
    jobs: Jobs = None,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the sweep of this name, or spec.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every trial of a sweep, on this machine's cores or on a Dask cluster."""
    refuse_both(json, quiet)
    from lstmcast import runs
    from lstmcast.sweeps.folder import Sweep, find_same
    from lstmcast.sweeps.search import needs_optuna
    from lstmcast.sweeps.spec import read_plan

    if name is not None and not resume:
        runs.check_name(name)
    plan = read_plan(spec)
    needs_optuna(plan.spec)
    with closing(_workers(jobs, cluster)) as workers:
        sweep = find_same(plan, output_dir, name) if resume else Sweep.create(plan, output_dir, name)
        again = f"lstmcast sweep run {spec} --name {sweep.name} --resume"
        _run(sweep, workers, again, fail_fast=fail_fast, retry=False, json=json, quiet=quiet)


@app.command()
def retry(
    sweep: SweepArgument = "latest",
    output_dir: OutputDir = OUTPUTS,
    jobs: Jobs = None,
    cluster: Cluster = None,
    fail_fast: FailFast = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a sweep's failed and diverged trials again from their start, and those that have not been run."""
    refuse_both(json, quiet)
    from lstmcast.sweeps.folder import Sweep, find

    found = Sweep.load(find(sweep, output_dir))
    again = f"lstmcast sweep retry {found.path}"
    with closing(_workers(jobs, cluster)) as workers:
        _run(found, workers, again, fail_fast=fail_fast, retry=True, json=json, quiet=quiet)


@app.command()
def status(
    sweep: SweepArgument = "latest", output_dir: OutputDir = OUTPUTS, json: Json = False, quiet: Quiet = False
) -> None:
    """Show a sweep's trials, best first."""
    refuse_both(json, quiet)
    from lstmcast.sweeps.folder import Sweep, find

    found = Sweep.load(find(sweep, output_dir))
    if json:
        emit_json(found.as_json())
    elif quiet:
        emit(found.status)
    else:
        show(_table(found, found.ranked()))
        emit(_summary(found))


@app.command()
def best(
    sweep: SweepArgument = "latest", output_dir: OutputDir = OUTPUTS, json: Json = False, quiet: Quiet = False
) -> None:
    """Show the best run: of the point with the best mean over its seeds, the best one."""
    refuse_both(json, quiet)
    from dataclasses import asdict

    from lstmcast.files import SCHEMA_VERSION
    from lstmcast.sweeps.folder import Sweep, find

    found = Sweep.load(find(sweep, output_dir))
    trial = found.best()
    path = str(found.run(trial).path)
    if json:
        emit_json({"schema_version": SCHEMA_VERSION, "run": path, "metric": found.spec.metric, **asdict(trial)})
    elif quiet:
        emit(path)
    else:
        emit(f"{path}: {found.spec.metric} {trial.score:.4g}, {' '.join(trial.overrides) or 'the base'}")


@app.command("list")
def list_(
    spec: SpecArgument,
    commands: Annotated[bool, typer.Option("--commands", help="Print a `lstmcast train` line for each trial.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the trials of a grid or random search, for people or for xargs, and run none."""
    refuse_both(json, quiet)
    import shlex

    from lstmcast.files import SCHEMA_VERSION
    from lstmcast.sweeps.spec import read_plan, refuse_tpe

    plan = read_plan(spec)
    refuse_tpe(plan)
    if commands:
        for trial in plan.trials:
            emit(shlex.join(plan.command(trial)))
    elif json:
        trials = [
            {"number": t.number, "point": t.point, "parameters": t.parameters, "seed": t.seed} for t in plan.trials
        ]
        emit_json({"schema_version": SCHEMA_VERSION, "trials": trials})
    elif quiet:
        emit(str(plan.total))
    else:
        from lstmcast.reports import tables

        rows = ([trial.name, " ".join(trial.overrides)] for trial in plan.trials)
        show(tables.listing(("trial", "sets"), rows))


def _workers(jobs: int | None, cluster: str | None) -> Workers:
    if cluster is None:
        from lstmcast.sweeps.workers import LocalWorkers

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return LocalWorkers(jobs or cores)
    if jobs is not None:
        raise UsageError("--jobs and --cluster: a cluster's workers decide how many trials run at once; give one")
    from lstmcast.sweeps.cluster import ClusterWorkers

    return ClusterWorkers(cluster)


def _run(
    sweep: Sweep,
    workers: Workers,
    again: str,
    *,
    fail_fast: bool,
    retry: bool,
    json: bool,
    quiet: bool,
) -> None:
    from lstmcast.runs import Run
    from lstmcast.stop import StopRequest
    from lstmcast.sweeps.folder import Sweep as Folder
    from lstmcast.sweeps.run_sweep import RunningSweep, prepare

    stop = StopRequest()
    with Run(sweep.path).locked(), stop.listening():
        # nobody else writes from here on
        sweep = Folder.load(sweep.path)
        prepare(sweep, retry=retry)
        if not quiet:
            say(f"sweep {sweep.path}: {counted(sweep.total, 'trial')}")
        with _watched(sweep, quiet=quiet) as (on_change, on_report):
            code = RunningSweep(sweep, workers, on_change, on_report).finish(stop, fail_fast=fail_fast)
    if json:
        emit_json(sweep.as_json())
    elif quiet:
        emit(str(sweep.path))
    else:
        show(_table(sweep, sweep.ranked()))
        emit(_summary(sweep))
    code = stop.exit_code or code
    if code in (ExitCode.INTERRUPTED, ExitCode.STOPPED):
        say("stopped; everything is saved")
        say(f"hint: resume it: {again}")
    elif code == ExitCode.FAILED_TRIALS:
        failed = [trial for trial in sweep.trials if trial.unsuccessful]
        say(
            f"error: {len(failed)} of {counted(sweep.total, 'trial')} failed;"
            f" the first, {failed[0].name}: {failed[0].reason}"
        )
        say(f"hint: run them again: lstmcast sweep retry {sweep.path}")
    raise typer.Exit(code)


def _table(sweep: Sweep, trials: list[Trial], progress: dict[int, str] | None = None) -> Table:
    from lstmcast.reports import tables

    keys = list(sweep.spec.parameters)
    seeds = ["seed"] if sweep.spec.seeds else []
    headers = ["trial", *(key.rpartition(".")[2] for key in keys), *seeds, "status", sweep.spec.metric]
    progress = progress or {}

    def row(trial: Trial) -> list[str]:
        values = [override.partition("=")[2] for override in trial.overrides]
        return [trial.name, *values, progress.get(trial.number, trial.status), tables.number(trial.score)]

    return tables.listing(headers, map(row, trials))


def _summary(sweep: Sweep) -> str:
    from lstmcast.errors import NotFoundError

    counts = ", ".join(f"{count} {status}" for status, count in sweep.counts().items())
    try:
        trial = sweep.best()
    except NotFoundError:
        return f"{counts} of {counted(sweep.total, 'trial')}"
    return f"{counts} of {counted(sweep.total, 'trial')}; best: {sweep.run(trial).path}"


@contextmanager
def _watched(sweep: Sweep, *, quiet: bool) -> Iterator[tuple[Callable[[Trial], None], Callable[[Progress], None]]]:
    """Show a live table on a terminal, else a line for each trial that ends, or nothing when quiet."""
    from rich.console import Console
    from rich.live import Live

    terminal = sys.stderr.isatty() and not quiet
    progress: dict[int, str] = {}
    live = Live(console=Console(stderr=True), transient=True, refresh_per_second=4)

    def picture() -> Any:
        from rich.console import Group
        from rich.text import Text

        at_work = [trial for trial in sweep.trials if trial.status == "running"]
        ended = [trial for trial in sweep.ranked() if trial.status not in ("running", "waiting")]
        rows = max(1, live.console.height - len(at_work) - 8)
        return Group(_table(sweep, at_work + ended[:rows], progress), Text(_summary(sweep)))

    def on_change(trial: Trial) -> None:
        progress.pop(trial.number, None)
        if terminal:
            live.update(Harmless(picture()))
        elif not quiet and trial.status not in ("running", "waiting"):
            score = "" if trial.score is None else f"  {sweep.spec.metric} {trial.score:.4g}"
            ended = sum(t.status not in ("running", "waiting") for t in sweep.trials)
            reason = f"  {trial.reason}" if trial.unsuccessful else ""
            say(f"{ended}/{sweep.total}  {trial.name}  {' '.join(trial.overrides)}  {trial.status}{score}{reason}")

    def on_report(report: Progress) -> None:
        of = f"/{report.steps:,}" if report.steps else ""
        progress[report.number] = f"step {report.step:,}{of}"
        if terminal:
            live.update(Harmless(picture()))

    with live if terminal else nullcontext():
        yield on_change, on_report
