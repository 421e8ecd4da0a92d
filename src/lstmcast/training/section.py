"""The config's section on the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lstmcast.sections import Section


class Clip(Section):
    """Clipping of the gradient, by norm or by value."""

    norm: float | None = Field(None, gt=0, description="scale the gradient down to this L2 norm")
    value: float | None = Field(None, gt=0, description="clamp each element to ± this")


class Milestone(Section):
    """What the windows look like from some point of the training on."""

    start: float = Field(0.0, ge=0, lt=1, description="share of the training steps before it begins")
    steps: int = Field(0, ge=0, description="the last so many inputs of a window are the network's own predictions")
    timesteps: int | None = Field(
        None, gt=0, description="read only so many first steps of a window; null: all of them"
    )


class RolloutTraining(Milestone):
    """Training through the network's own predictions, with the gradient through all of them.

    Before ``start`` the network reads true inputs alone.
    """

    curriculum: list[Milestone] = Field(
        [], description="later milestones, by rising start: longer rollouts, longer windows"
    )
    sampling: float = Field(
        1.0,
        gt=0,
        le=1,
        description="probability that one of those inputs is a prediction and not the truth (scheduled sampling,"
        " Bengio et al. 2015)",
    )
    teacher_forcing: float = Field(
        0.0, ge=0, lt=1, description="share of a batch's sequences that read true inputs alone"
    )

    @property
    def milestones(self) -> list[Milestone]:
        """All milestones, in their order."""
        return [self, *self.curriculum]


class Validation(Section):
    """Selection of the best checkpoint on the data's validation part."""

    every: int = Field(100, gt=0, description="steps between two validations")
    metric: Literal["next_step", "rollout"] = Field("rollout", description="RMSE of the next step or of a rollout")
    horizon: int = Field(100, gt=0, description="steps of the rollout")


class EarlyStopping(Section):
    """Stopping when the validation metric no longer falls."""

    patience: int = Field(10, gt=0, description="validations without an improvement that are waited for")
    min_delta: float = Field(0.0, ge=0, description="improvement that counts")


class Retries(Section):
    """What to do about a divergence: back to the lowest loss seen, and on with a lower learning rate."""

    times: int = Field(3, gt=0, description="how often, before the training ends as diverged")
    factor: float = Field(0.5, gt=0, lt=1, description="of the learning rate, each time")


class Loop(Section):
    """The training loop of one stage."""

    steps: int | None = Field(None, gt=0, description="optimizer steps; null: epochs, or until early stopping")
    epochs: int | None = Field(None, gt=0, description="passes over all training windows, instead of steps")
    batch_size: int | None = Field(None, gt=0, description="windows in a batch; null: all of them")
    fixed_batch: bool = Field(False, description="draw one batch and keep it, as second-order methods like it")
    warmup: int = Field(0, ge=0, description="first steps of a window that the loss does not count")
    initial_state_std: float = Field(0.0, ge=0, description="standard deviation of random initial states; 0: zero")
    input_noise_std: float = Field(0.0, ge=0, description="standard deviation of noise added to true inputs")
    rollout: RolloutTraining | None = Field(None, description="train through the network's own predictions")
    clip: Clip | None = Field(None, description="clip the gradient")
    retries: Retries | None = Field(None, description="continue after a divergence; null: end the training")
    weight_average: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of an exponential average of the parameters, used for all forecasts",
    )


class TrainingSection(Loop):
    """The training loop, and what holds for all stages."""

    loss: Literal["every_step", "last_step"] | None = Field(
        None, description="the steps that the loss counts; null: last_step for windowed_sine, else every_step"
    )
    validation: Validation | None = Field(None, description="select the best checkpoint; null: keep the last")
    early_stopping: EarlyStopping | None = Field(None, description="end a stage when validation no longer improves")
