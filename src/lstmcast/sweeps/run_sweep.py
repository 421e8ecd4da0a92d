"""Running a sweep: hand out trials, take results, write down both, until there are none left or someone says stop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool

from lstmcast.errors import ExitCode, LstmcastError
from lstmcast.sweeps.folder import Sweep
from lstmcast.sweeps.search import make_search
from lstmcast.sweeps.spec import Trial
from lstmcast.sweeps.trial import Ended, Order, Progress
from lstmcast.sweeps.workers import Workers

POLL = 0.1


def prepare(sweep: Sweep, *, retry: bool = False) -> None:
    """Prepare to resume a sweep: take results that came in unnoticed, run trials again that were cut off or failed.

    The sweep must be locked.
    """
    for trial in sweep.trials:
        if trial.status == "running" and not sweep.take_result(trial):
            trial.status = "waiting"
        if retry and trial.unsuccessful:
            sweep.discard(trial)
    sweep.save()


class RunningSweep:
    """A sweep whose trials run.

    Args:
        sweep: the sweep, which must be locked.
        workers: who trains.
        on_change: called when a trial starts or ends.
        on_report: called with the progress of running trials.
    """

    def __init__(
        self,
        sweep: Sweep,
        workers: Workers,
        on_change: Callable[[Trial], None],
        on_report: Callable[[Progress], None],
    ) -> None:
        self._sweep, self._workers, self._on_change, self._on_report = sweep, workers, on_change, on_report
        self._search = make_search(sweep)
        self._running: dict[Future[Ended], Trial] = {}
        self._stopping = False

    def finish(self, stop: Callable[[], bool], *, fail_fast: bool) -> ExitCode:
        """Run all trials that wait.

        Args:
            stop: whether to stop; running trials then save their state.
            fail_fast: whether to stop after the first trial that fails.

        Returns:
            ``DONE``, ``FAILED_TRIALS``, or ``STOPPED`` if there is more to do.
        """
        while True:
            if not self._stopping and (stop() or (fail_fast and self._failed)):
                self._stop()
            self._start_waiting()
            if not self._running and (self._stopping or self._next() is None):
                break
            ended, _ = wait(self._running, POLL, FIRST_COMPLETED)
            self._read_reports()
            for future in ended:
                self._take(future)
        if self._failed:
            return ExitCode.FAILED_TRIALS
        return ExitCode.DONE if self._sweep.status == "finished" else ExitCode.STOPPED

    @property
    def _failed(self) -> bool:
        return any(trial.unsuccessful for trial in self._sweep.trials)

    def _stop(self) -> None:
        self._stopping = True
        for trial in self._running.values():
            self._workers.tell(trial.number, "stop")

    def _start_waiting(self) -> None:
        while not self._stopping and len(self._running) < self._workers.slots and (trial := self._next()):
            self._search.begin(trial)
            self._running[_start(self._sweep, self._workers, trial)] = trial
            self._sweep.save()
            self._on_change(trial)

    def _next(self) -> Trial | None:
        """Return the next trial that waits, if need be of a new point."""
        waiting = next((trial for trial in self._sweep.trials if trial.status == "waiting"), None)
        if waiting is None:
            new = self._search.ask()
            self._sweep.trials.extend(new)
            waiting = next(iter(new), None)
        return waiting

    def _read_reports(self) -> None:
        by_number = {trial.number: trial for trial in self._running.values()}
        for report in self._workers.reports():
            self._on_report(report)
            trial = by_number.get(report.number)
            if trial and report.validation is not None and self._search.hopeless(trial, report.step, report.validation):
                self._workers.tell(report.number, "prune")

    def _take(self, future: Future[Ended]) -> None:
        trial = self._running.pop(future)
        trial.status, trial.reason = _outcome(self._sweep, trial, future, stopping=self._stopping)
        if trial.status != "waiting":
            self._search.end(trial)
        self._sweep.save()
        self._on_change(trial)


def _start(sweep: Sweep, workers: Workers, trial: Trial) -> Future[Ended]:
    trial.status = "running"
    try:
        order = Order(trial.number, trial.name, sweep.config(trial), sweep.name, tuple(trial.overrides))
        return workers.submit(order, sweep.path)
    except LstmcastError as error:
        failed: Future[Ended] = Future()
        failed.set_exception(error)
        return failed


def _outcome(sweep: Sweep, trial: Trial, future: Future[Ended], *, stopping: bool) -> tuple[str, str]:
    """Return how a trial has ended, and why if it failed."""
    try:
        ended = future.result()
    except BrokenProcessPool:
        return "failed", "its process was killed; had it enough memory?"
    except (CancelledError, Exception) as error:
        return "failed", error.message if isinstance(error, LstmcastError) else f"{type(error).__name__}: {error}"
    if ended.status == "stopped":
        return ("waiting", "") if stopping else ("failed", "it was stopped by a signal")
    if sweep.take_result(trial):
        return trial.status, trial.reason
    return "failed", "its run has no result"
