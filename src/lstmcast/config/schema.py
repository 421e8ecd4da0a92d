"""The whole config, from top to bottom; each section is described where its part lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field, PrivateAttr

from lstmcast.config.places import Places, locate
from lstmcast.data import DataSection
from lstmcast.data.quantized import NumericSection, Quantized
from lstmcast.data.text import Text
from lstmcast.errors import LstmcastError
from lstmcast.network.cells import CELLS
from lstmcast.network.engine import EngineName
from lstmcast.network.section import ModelSection
from lstmcast.sections import Document
from lstmcast.training.optimizers import OptimizerSection
from lstmcast.training.schedules import Constant, ScheduleSection
from lstmcast.training.section import TrainingSection
from lstmcast.training.stages import NextStage, Stage
from lstmcast.training.trackers import TrackerName

# a gigabyte
MAX_VALUES = 2**27


class Config(Document):
    """All that decides a training run: the same config on the same machine gives the same bytes."""

    seed: int = Field(0, ge=0, lt=2**32, description="of the data, the parameters and the batches")
    data: DataSection = Field(description="the data generator")
    model: ModelSection = Field(ModelSection(), description="the network")
    optimizer: OptimizerSection = Field(description="the optimizer")
    schedule: ScheduleSection = Field(Constant(kind="constant"), description="the learning rate's schedule")
    training: TrainingSection = Field(description="the training loop")
    then: list[NextStage] = Field([], max_length=100, description="further stages of the training, one after another")
    tracker: list[TrackerName] = Field([], max_length=2, description="other tools that show the training as it goes")

    _places: Places | None = PrivateAttr(None)

    def remember(self, places: Places) -> None:
        """Keep where its keys were written."""
        self._places = places

    @contextmanager
    def placing_errors(self) -> Iterator[None]:
        """Put the place of a key before the errors of the block that begin with it, as ``data: …``."""
        try:
            yield
        except LstmcastError as error:
            location = locate(error.message.partition(":")[0])
            if self._places and location[0] in type(self).model_fields:
                error.put_before(self._places.place(location))
            raise

    @property
    def stages(self) -> list[Stage]:
        """The stages of the training, of which there is at least one."""
        stages = [Stage(self.optimizer, self.schedule, self.training, self.model.dtype)]
        for index, following in enumerate(self.then):
            stages.append(stages[-1].after(following, index))
        return stages

    def engine(self, stage: Stage) -> EngineName:
        """Return the engine that trains a stage."""
        training = stage.training
        return self.model.faster_engine(stage.dtype, training.batch_size, rollout=training.rollout is not None)

    @property
    def generator(self) -> NumericSection | Text:
        """The generator of the values themselves."""
        return self.data.source if isinstance(self.data, Quantized) else self.data

    @property
    def known_features(self) -> int:
        """Input features that are known in advance, beside the values."""
        covariates = getattr(self.data, "covariates", None)
        return covariates.features if covariates else 0

    @property
    def loss_name(self) -> str:
        """What the loss is, for people."""
        return "cross-entropy, nats" if self.model.output == "categorical" else "mean squared error"

    @property
    def last_step_loss(self) -> bool:
        """Whether the loss counts the last step alone."""
        default = "last_step" if self.generator.kind == "windowed_sine" else "every_step"
        return (self.training.loss or default) == "last_step"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield each combination that makes no sense: the key at fault and what is wrong."""
        data, generator, training = self.data, self.generator, self.training
        source = "data.source" if data.kind == "quantized" else "data"
        if CELLS[self.model.cell].torch_step is None:
            numpy_alone = f"the cell {self.model.cell} is written in NumPy alone; leave it out"
            if self.model.engine == "torch":
                yield "model.engine", numpy_alone
            if self.model.device == "cuda":
                yield "model.device", numpy_alone
            for stage in self.stages:
                if stage.optimizer.kind == "levenberg_marquardt":
                    yield f"{stage.key}optimizer.kind", f"it needs the cell's step in torch, and {numpy_alone}"
        for stage in self.stages:
            yield from self._stage_contradictions(stage)
        held_out = getattr(generator, "validation_share", 0) or getattr(generator, "validation_sequences", 0)
        if len(set(self.tracker)) < len(self.tracker):
            yield "tracker", "the same tracker stands there twice"
        values = getattr(generator, "sequences", 1) * getattr(generator, "length", 1)
        if values > MAX_VALUES:
            yield f"{source}.length", f"{values:,} values in all; at most {MAX_VALUES:,} are generated"
        if generator.kind == "sine_bank" and generator.phase_seed is not None and generator.phases == "real":
            yield f"{source}.phases", "phase_seed draws whole phases as the example does; leave it out for real ones"
        if training.early_stopping and not training.validation:
            yield "training.early_stopping", "it watches the validation metric; add training.validation"
        if training.validation and not held_out:
            part = "validation_sequences" if generator.kind == "sine_bank" else "validation_share"
            yield "training.validation", f"there is no validation data; set {source}.{part}"
        if data.kind == "quantized" and getattr(generator, "covariates", None):
            yield "data.source.covariates", "a network of classes reads no covariates; leave them out"
        classes = data.kind in ("text", "quantized")
        if classes != (self.model.output == "categorical"):
            wanted = "categorical" if classes else "value"
            yield "model.output", f"data.kind {data.kind} needs output {wanted}, not {self.model.output}"
        if self.model.output == "categorical" and self.model.residual:
            yield "model.residual", "a class is no number that something could be added to; leave residual out"
        if self.model.autoregression and self.model.output == "categorical":
            yield "model.autoregression", "a class is no number that a linear part could forecast; leave it out"
        if self.model.autoregression and generator.horizon > 1:
            yield f"{source}.horizon", "model.autoregression forecasts one step; leave out one of them"
        if self.model.autoregression and self.model.residual:
            yield "model.residual", "the autoregression has the last value already; leave one of them out"
        if data.kind == "text" and training.validation and training.validation.metric != "next_step":
            yield "training.validation.metric", "text has no rollout error; use next_step, the cross-entropy"

    def _stage_contradictions(self, stage: Stage) -> Iterator[tuple[str, str]]:
        optimizer, schedule, training, key = stage.optimizer, stage.schedule, stage.training, stage.key
        engine = self.engine(stage)
        if self.model.recompute and engine == "torch":
            yield "model.recompute", "the numpy engine recomputes; leave out engine and device, or recompute"
        if self.model.device == "cuda" and engine == "numpy":
            yield "model.device", "the numpy engine runs on the processor; use engine torch or auto"
        if self.model.device == "cuda" and self.model.processes not in (None, 1):
            yield "model.processes", "processes share the processor's cores, not a GPU; leave it out"
        rollout = training.rollout
        if optimizer.kind in ("lbfgs", "levenberg_marquardt") and training.clip:
            yield (
                f"{key}training.clip",
                f"{optimizer.kind} needs the true gradient; leave out clip, or choose another optimizer.kind",
            )
        if optimizer.kind == "levenberg_marquardt" and self.model.output == "categorical":
            yield f"{key}optimizer.kind", "levenberg_marquardt takes squared errors; choose another for classes"
        if optimizer.kind == "sgd" and optimizer.nesterov and not optimizer.momentum:
            yield f"{key}optimizer.nesterov", "nesterov needs a momentum above 0"
        if training.clip and (training.clip.norm is None) == (training.clip.value is None):
            yield f"{key}training.clip", "give one of norm and value"
        if training.steps and training.epochs:
            yield f"{key}training.epochs", "give steps or epochs, not both"
        if training.epochs and self.generator.kind == "random_segments":
            yield f"{key}training.epochs", "random segments have no epochs; give training.steps"
        if training.epochs and training.fixed_batch:
            yield f"{key}training.epochs", "one batch is no pass over the data; give training.steps"
        endless = not training.steps and not training.epochs
        if endless and not training.early_stopping:
            yield (
                f"{key}training.steps",
                "give steps or epochs; only early_stopping can end a training without them",
            )
        if endless and schedule.kind in ("one_cycle", "cosine") and not getattr(schedule, "length", None):
            yield (
                f"{key}schedule.length",
                f"a {schedule.kind} schedule needs a length: its own, training.steps or epochs",
            )
        if schedule.kind == "one_cycle" and schedule.warmup_steps:
            yield f"{key}schedule.warmup_steps", "one_cycle has a rise of its own; set schedule.rise instead"
        length = getattr(schedule, "length", None) or training.steps
        if length and schedule.warmup_steps >= length:
            yield f"{key}schedule.warmup_steps", f"{schedule.warmup_steps} leaves nothing of the {length} steps"
        if schedule.kind == "one_cycle" and schedule.length and training.steps and training.steps > schedule.length:
            yield f"{key}schedule.length", f"{schedule.length} is less than training.steps {training.steps}"
        if schedule.kind == "plateau" and not training.validation:
            yield f"{key}schedule.kind", "plateau watches the validation metric; add training.validation"
        if not rollout:
            return
        if self.model.output == "categorical":
            yield f"{key}training.rollout", "a drawn class has no gradient; train through true inputs only"
        if self.model.autoregression:
            yield (
                f"{key}training.rollout",
                "with model.autoregression the network forecasts what a linear part leaves, from true inputs; leave out"
                " one of them",
            )
        if self.last_step_loss:
            yield f"{key}training.rollout", "with the loss on the last step alone no prediction is ever read"
        starts = [milestone.start for milestone in rollout.milestones]
        if endless and any(starts):
            yield f"{key}training.rollout.start", "a share of the steps needs training.steps or epochs"
        if starts != sorted(set(starts)):
            yield f"{key}training.rollout.curriculum", f"each start must be later than the one before: {starts}"
        for milestone in rollout.milestones:
            if milestone.timesteps and milestone.timesteps <= training.warmup:
                yield (
                    f"{key}training.rollout.timesteps",
                    f"{milestone.timesteps} leaves nothing after the warmup of {training.warmup}",
                )
