"""The config's section on the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lstmcast.settings import Section


class Clip(Section):
    """Clipping of the gradient, by norm or by value."""

    norm: float | None = Field(None, gt=0, description="scale the gradient down to this L2 norm")
    value: float | None = Field(None, gt=0, description="clamp each element to ± this")


class RolloutTraining(Section):
    """Training through the network's own predictions."""

    steps: int = Field(gt=0, description="the last so many inputs of a window are the network's own predictions")
    start: float = Field(0.0, ge=0, lt=1, description="share of the training steps before it begins")


class Validation(Section):
    """Selection of the best checkpoint on the data's validation part."""

    every: int = Field(100, gt=0, description="steps between two validations")
    metric: Literal["next_step", "rollout"] = Field("rollout", description="RMSE of the next step or of a rollout")
    horizon: int = Field(100, gt=0, description="steps of the rollout")


class EarlyStopping(Section):
    """Stopping when the validation metric no longer falls."""

    patience: int = Field(10, gt=0, description="validations without an improvement that are waited for")
    min_delta: float = Field(0.0, ge=0, description="improvement that counts")


class TrainingSettings(Section):
    """The loop."""

    steps: int | None = Field(None, gt=0, description="optimizer steps; null: epochs, or until early stopping")
    epochs: int | None = Field(None, gt=0, description="passes over all training windows, instead of steps")
    batch_size: int | None = Field(None, gt=0, description="windows in a batch; null: all of them")
    loss: Literal["every_step", "last_step"] | None = Field(
        None, description="the steps that the loss counts; null: last_step for windowed_sine, else every_step"
    )
    warmup: int = Field(0, ge=0, description="first steps of a window that the loss does not count")
    initial_state_std: float = Field(0.0, ge=0, description="standard deviation of random initial states; 0: zero")
    rollout: RolloutTraining | None = Field(None, description="train through the network's own predictions")
    clip: Clip | None = Field(None, description="clip the gradient")
    weight_average: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of an exponential average of the parameters, used for all forecasts",
    )
    validation: Validation | None = Field(None, description="select the best checkpoint; null: keep the last")
    early_stopping: EarlyStopping | None = Field(None, description="stop when validation no longer improves")
