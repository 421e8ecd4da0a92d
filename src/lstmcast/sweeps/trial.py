"""Training one trial, in whatever process it is done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lstmcast import __version__
from lstmcast.config.schema import Config
from lstmcast.errors import InvalidError, counted

# what the sweep may say to a trial: stop and keep the state, or stop for good
Word = Literal["stop", "prune"]
# a sweep that is stopped must not wait longer for a trial that works on
ASK_EVERY = 0.1


@dataclass(frozen=True)
class Order:
    """What a worker process needs to know."""

    number: int
    name: str
    config: Config
    stem: str
    overrides: tuple[str, ...]
    version: str = __version__


@dataclass(frozen=True)
class Progress:
    """How far a trial is: the step, of how many, and the validation metric if it has just been measured."""

    number: int
    step: int
    steps: int | None
    loss: float
    validation: float | None


@dataclass(frozen=True)
class Ended:
    """How a trial ended: ``finished``, ``stopped``, ``pruned`` or ``diverged``, and why."""

    status: str
    reason: str = ""


def train_trial(
    order: Order,
    folder: Path,
    report: Callable[[Progress], None],
    told: Callable[[], Word | None],
    report_every: float,
) -> Ended:
    """Train a trial into its run in ``folder``, or resume where it was stopped.

    Args:
        order: the trial.
        folder: where its run is, or will be.
        report: takes each validation, and the progress now and then.
        told: what the sweep says; asked every `ASK_EVERY` seconds.
        report_every: seconds between two reports of progress.

    Raises:
        LstmcastError: if it cannot be trained.
    """
    from lstmcast.experiment.train_run import Training
    from lstmcast.runs import Run
    from lstmcast.stop import StopRequest

    if order.version != __version__:
        raise InvalidError(f"this worker has lstmcast {__version__}, the sweep {order.version}; use one version")
    run = Run(folder / order.name)
    if run.last.exists():
        training = Training.resume(run)
    else:
        # what was killed before its first checkpoint begins anew
        shutil.rmtree(run.path, ignore_errors=True)
        training = Training(order.config)
    word: Word | None = None
    asked = reported = time.monotonic()

    def stopping() -> bool:
        nonlocal word, asked
        now = time.monotonic()
        if word is None and now - asked >= ASK_EVERY:
            word, asked = told(), now
        return word is not None

    def on_record(record: object) -> None:
        nonlocal reported
        from lstmcast.training.trainer import Record

        assert isinstance(record, Record)
        now = time.monotonic()
        if record.validation is not None or now - reported >= report_every:
            reported = now
            report(Progress(order.number, record.step, training.steps, record.loss, record.validation))

    stop = StopRequest(also=stopping)
    result = training.execute(folder, order.name, order.stem, stop, on_record, overrides=order.overrides)
    assert result is not None
    if result.status == "stopped" and word == "prune":
        reason = f"pruned after {counted(result.step, 'step')}"
        run.write_manifest(status="pruned", reason=reason)
        return Ended("pruned", reason)
    return Ended(result.status, result.reason)
