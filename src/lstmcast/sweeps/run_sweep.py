"""Running a sweep: hand out trials, take results, write down both, until there are none left or someone says stop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool

from lstmcast.errors import ExitCode, LstmcastError
from lstmcast.sweeps.folder import Sweep
from lstmcast.sweeps.search import Search, needs_optuna
from lstmcast.sweeps.spec import Trial
from lstmcast.sweeps.trial import Ended, Order, Progress
from lstmcast.sweeps.workers import Workers

POLL = 0.1


def prepare(sweep: Sweep, *, retry: bool = False) -> None:
    """Take up a sweep where it was left: results that came in unnoticed, trials that were cut off, failed ones.

    The sweep must be locked.
    """
    for trial in sweep.trials:
        if trial.status == "running" and not sweep.take_result(trial):
            trial.status = "waiting"
        if retry and trial.unsuccessful:
            sweep.discard(trial)
    sweep.save()


def conduct(
    sweep: Sweep,
    workers: Workers,
    stop: Callable[[], bool],
    *,
    fail_fast: bool,
    on_change: Callable[[Trial], None],
    on_report: Callable[[Progress], None],
) -> ExitCode:
    """Run all trials that wait.

    Args:
        sweep: the sweep, which must be locked.
        workers: who trains.
        stop: whether to stop; running trials then save their state.
        fail_fast: whether to stop after the first trial that fails.
        on_change: called when a trial starts or ends.
        on_report: called with the progress of running trials.

    Returns:
        ``DONE``, ``FAILED_TRIALS``, or ``STOPPED`` if there is more to do.
    """
    search = Search(sweep) if needs_optuna(sweep.spec) else None
    running: dict[Future[Ended], Trial] = {}
    stopping = False
    while True:
        if not stopping and (stop() or (fail_fast and any(trial.unsuccessful for trial in sweep.trials))):
            stopping = True
            for trial in running.values():
                workers.tell(trial.number, "stop")
        while not stopping and len(running) < workers.slots:
            following = _next(sweep, search)
            if following is None:
                break
            if search is not None:
                search.begin(following)
            running[_start(sweep, workers, following)] = following
            sweep.save()
            on_change(following)
        if not running and (stopping or _next(sweep, search) is None):
            break
        ended, _ = wait(running, POLL, FIRST_COMPLETED)
        by_number = {trial.number: trial for trial in running.values()}
        for report in workers.reports():
            on_report(report)
            watched = by_number.get(report.number)
            if search is None or watched is None or report.validation is None:
                continue
            if search.hopeless(watched, report.step, report.validation):
                workers.tell(report.number, "prune")
        for future in ended:
            trial = running.pop(future)
            _take(sweep, trial, future, stopping)
            if search is not None and trial.status != "waiting":
                search.end(trial)
            sweep.save()
            on_change(trial)
    if any(trial.unsuccessful for trial in sweep.trials):
        return ExitCode.FAILED_TRIALS
    return ExitCode.DONE if sweep.status == "finished" else ExitCode.STOPPED


def _next(sweep: Sweep, search: Search | None) -> Trial | None:
    """Return the next trial that waits, if need be of a new point."""
    waiting = next((trial for trial in sweep.trials if trial.status == "waiting"), None)
    if waiting is None and sweep.spec.search == "tpe" and search is not None:
        new = search.ask()
        sweep.trials.extend(new)
        return new[0] if new else None
    return waiting


def _start(sweep: Sweep, workers: Workers, trial: Trial) -> Future[Ended]:
    trial.status = "running"
    try:
        order = Order(trial.number, trial.name, sweep.config(trial), sweep.name, tuple(trial.overrides))
        return workers.submit(order, sweep.path)
    except LstmcastError as error:
        failed: Future[Ended] = Future()
        failed.set_exception(error)
        return failed


def _take(sweep: Sweep, trial: Trial, future: Future[Ended], stopping: bool) -> None:
    """Write down how a trial has ended."""
    try:
        ended = future.result()
    except BrokenProcessPool:
        trial.status, trial.reason = "failed", "its process was killed; had it enough memory?"
        return
    except (CancelledError, Exception) as error:
        message = error.message if isinstance(error, LstmcastError) else f"{type(error).__name__}: {error}"
        trial.status, trial.reason = "failed", message
        return
    if ended.status == "stopped":
        trial.status, trial.reason = ("waiting", "") if stopping else ("failed", "it was stopped by a signal")
    elif not sweep.take_result(trial):
        trial.status, trial.reason = "failed", "its run has no result"
