"""Training in stages: Adam first, say, then a second-order method on long rollouts."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from lstmcast.network.engine import EngineName
from lstmcast.network.section import DtypeName, ModelSection
from lstmcast.sections import Section
from lstmcast.training.optimizers import OptimizerSection
from lstmcast.training.schedules import Constant, ScheduleSection
from lstmcast.training.section import Loop, TrainingSection


class NextStage(Section):
    """A further stage: it takes over the parameters (their average, if there is one) and nothing else."""

    optimizer: OptimizerSection = Field(description="the stage's optimizer")
    schedule: ScheduleSection = Field(Constant(kind="constant"), description="the learning rate's schedule")
    training: Loop = Field(description="the stage's training loop")
    dtype: DtypeName | None = Field(None, description="precision from here on; null: as before")


@dataclass(frozen=True)
class Stage:
    """One stage with all that holds for it.

    Attributes:
        model: the network, the same in all stages but for its ``dtype``.
        key: where its keys stand in the config: "" or "then.0." and so on.
    """

    optimizer: OptimizerSection
    schedule: ScheduleSection
    training: TrainingSection
    dtype: DtypeName
    model: ModelSection
    key: str = ""

    @property
    def engine(self) -> EngineName:
        """The engine that trains the stage."""
        rollout = self.training.rollout is not None
        return self.model.faster_engine(self.dtype, self.training.batch_size, rollout=rollout)

    @property
    def remedy(self) -> str:
        """What to change if the stage diverges."""
        key, optimizer = self.key, self.optimizer
        remedy = f"lower {key}optimizer.learning_rate, which is {optimizer.learning_rate:g}"
        if optimizer.kind == "levenberg_marquardt":
            return f"{remedy}, or raise {key}optimizer.damping"
        if optimizer.kind == "lbfgs":
            search = f", or set {key}optimizer.line_search=strong_wolfe"
            return remedy + search * (optimizer.line_search == "none")
        if optimizer.kind == "sgd" and not self.training.clip:
            return f"{remedy}, or clip the gradient: {key}training.clip.norm=1.0"
        # the others divide by the gradient's size, so its clipping shortens no step
        return remedy

    def after(self, following: NextStage, index: int) -> Stage:
        """Return the stage that follows this one."""
        for_all = {
            name: getattr(self.training, name) for name in TrainingSection.model_fields.keys() - Loop.model_fields
        }
        training = TrainingSection.model_construct(**vars(following.training), **for_all)
        dtype, key = following.dtype or self.dtype, f"then.{index}."
        return Stage(following.optimizer, following.schedule, training, dtype, self.model, key)
