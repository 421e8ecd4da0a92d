"""The whole config, from top to bottom; each section is described where its part lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import Field, PrivateAttr

from lstmcast.config.contradictions import contradictions
from lstmcast.config.places import Places, locate
from lstmcast.data import DataSection
from lstmcast.data.generators import NumericSection
from lstmcast.data.quantized import Quantized
from lstmcast.data.text import Text
from lstmcast.errors import LstmcastError
from lstmcast.network.section import ModelSection
from lstmcast.sections import Document
from lstmcast.training.optimizers import OptimizerSection
from lstmcast.training.schedules import Constant, ScheduleSection
from lstmcast.training.section import TrainingSection
from lstmcast.training.stages import NextStage, Stage
from lstmcast.training.trackers import TrackerName


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
        stages = [Stage(self.optimizer, self.schedule, self.training, self.model.dtype, self.model)]
        for index, following in enumerate(self.then):
            stages.append(stages[-1].after(following, index))
        return stages

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
        return contradictions(self)
