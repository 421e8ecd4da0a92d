"""The training loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lstmcast.stop import Stopped
from lstmcast.training.divergence import Diverged
from lstmcast.training.trainer import Record, Trainer


@dataclass(frozen=True)
class Outcome:
    """How a training ended: ``finished``, ``stopped`` or ``diverged``, and why."""

    status: str
    reason: str = ""


def fit(
    trainer: Trainer,
    *,
    on_record: Callable[[Record], None],
    save: Callable[[], None],
    save_best: Callable[[], None],
    due: Callable[[], bool],
    stop: Callable[[], bool],
) -> Outcome:
    """Train to the end, or until ``stop`` says so.

    Args:
        trainer: what is trained.
        on_record: called after every step.
        save: saves the trainer's state; called when ``due`` says so and at the end.
        save_best: saves the parameters; called when the validation metric is the best so far.
        due: whether it is time to save.
        stop: whether to stop; asked before every evaluation of the loss.
    """
    outcome = Outcome("finished")
    while not trainer.finished:
        try:
            record = trainer.next(stop)
        except Stopped as reason:
            outcome = Outcome("stopped", str(reason))
            break
        except Diverged as reason:
            if trainer.retry():
                continue
            tried = (
                f", after {trainer.divergence.retried} retries with a lower learning rate"
                if trainer.divergence.retried
                else ""
            )
            outcome = Outcome("diverged", f"at step {trainer.total + 1:,} {reason}{tried}")
            break
        on_record(record)
        if trainer.selection.improved(record.validation):
            save_best()
        if due():
            save()
    save()
    if outcome.status == "finished" and trainer.step != trainer.steps:
        return Outcome("finished", f"stopped early: no better validation for {trainer.selection.waited} in a row")
    return outcome
