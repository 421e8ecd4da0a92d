"""The whole config, from top to bottom; each section is described where its part lives."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from lstmcast.data import DataSettings
from lstmcast.network.settings import ModelSettings
from lstmcast.settings import Section
from lstmcast.training.optimizers import OptimizerSettings
from lstmcast.training.schedules import Constant, ScheduleSettings
from lstmcast.training.settings import TrainingSettings


class Config(Section):
    """All that decides a training run: the same config on the same machine gives the same bytes."""

    seed: int = Field(0, ge=0, lt=2**32, description="of the data, the parameters and the batches")
    data: DataSettings = Field(description="the data generator")
    model: ModelSettings = Field(ModelSettings(), description="the network")
    optimizer: OptimizerSettings = Field(description="the optimizer")
    schedule: ScheduleSettings = Field(Constant(kind="constant"), description="the learning rate's schedule")
    training: TrainingSettings = Field(description="the training loop")

    @property
    def last_step_loss(self) -> bool:
        """Whether the loss counts the last step alone."""
        return (self.training.loss or ("last_step" if self.data.kind == "windowed_sine" else "every_step")) == (
            "last_step"
        )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield each combination that makes no sense: the key at fault and what is wrong."""
        data, optimizer, schedule, training = self.data, self.optimizer, self.schedule, self.training
        held_out = getattr(data, "validation_share", 0) or getattr(data, "validation_sequences", 0)
        if optimizer.kind == "lbfgs" and training.clip:
            yield (
                "training.clip",
                "lbfgs needs the true gradient; leave out clip, or choose another optimizer.kind",
            )
        if optimizer.kind == "sgd" and optimizer.nesterov and not optimizer.momentum:
            yield "optimizer.nesterov", "nesterov needs a momentum above 0"
        if training.clip and (training.clip.norm is None) == (training.clip.value is None):
            yield "training.clip", "give one of norm and value"
        if training.steps and training.epochs:
            yield "training.epochs", "give steps or epochs, not both"
        if training.epochs and data.kind == "random_segments":
            yield "training.epochs", "random segments have no epochs; give training.steps"
        endless = not training.steps and not training.epochs
        if endless and not training.early_stopping:
            yield (
                "training.steps",
                "give steps or epochs; only early_stopping can end a training without them",
            )
        if endless and schedule.kind in ("one_cycle", "cosine") and not getattr(schedule, "length", None):
            yield (
                "schedule.length",
                f"a {schedule.kind} schedule needs a length: its own, training.steps or epochs",
            )
        if schedule.kind == "one_cycle" and schedule.warmup_steps:
            yield "schedule.warmup_steps", "one_cycle has a rise of its own; set schedule.rise instead"
        length = getattr(schedule, "length", None) or training.steps
        if length and schedule.warmup_steps >= length:
            yield "schedule.warmup_steps", f"{schedule.warmup_steps} leaves nothing of the {length} steps"
        if schedule.kind == "one_cycle" and schedule.length and training.steps and training.steps > schedule.length:
            yield "schedule.length", f"{schedule.length} is less than training.steps {training.steps}"
        if schedule.kind == "plateau" and not training.validation:
            yield "schedule.kind", "plateau watches the validation metric; add training.validation"
        if training.early_stopping and not training.validation:
            yield "training.early_stopping", "it watches the validation metric; add training.validation"
        if training.validation and not held_out:
            part = "validation_sequences" if data.kind == "sine_bank" else "validation_share"
            yield "training.validation", f"there is no validation data; set data.{part}"
        if training.rollout and self.last_step_loss:
            yield "training.rollout", "with the loss on the last step alone no prediction is ever read"
        if training.rollout and endless and training.rollout.start:
            yield "training.rollout.start", "a share of the steps needs training.steps or epochs"
