"""The learning rate's schedules, all of them ``torch.optim.lr_scheduler``'s.

To add one, write its section and add it to `ScheduleSection`.
Source: https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from lstmcast.sections import Section

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

Factor = Annotated[float, Field(gt=0, lt=1)]


class Scheduled(Section):
    """What all schedules have."""

    warmup_steps: int = Field(0, ge=0, description="steps of linear rise: step k has the share k/(warmup_steps + 1)")


class Constant(Scheduled):
    """One rate throughout."""

    kind: Literal["constant"]

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:  # noqa: ARG002
        """Make the schedule."""
        from torch.optim.lr_scheduler import ConstantLR

        return ConstantLR(optimizer, factor=1.0)


class Step(Scheduled):
    """Times ``gamma`` after every ``step_size`` steps."""

    kind: Literal["step"]
    step_size: int = Field(gt=0, description="steps between two falls")
    gamma: Factor = Field(0.1, description="factor of each fall")

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:  # noqa: ARG002
        """Make the schedule."""
        from torch.optim.lr_scheduler import StepLR

        return StepLR(optimizer, self.step_size, self.gamma)


class Exponential(Scheduled):
    """Times ``gamma`` after every step."""

    kind: Literal["exponential"]
    gamma: Factor = Field(description="factor of each step")

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:  # noqa: ARG002
        """Make the schedule."""
        from torch.optim.lr_scheduler import ExponentialLR

        return ExponentialLR(optimizer, self.gamma)


class Cosine(Scheduled):
    """Down to ``final_learning_rate`` along half a cosine (Loshchilov and Hutter 2017)."""

    kind: Literal["cosine"]
    final_learning_rate: float = Field(0.0, ge=0, description="the rate after the last step")
    length: int | None = Field(None, gt=0, description="steps, warm-up included; null: training.steps")

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """Make the schedule over ``steps`` steps, those of the warm-up not counted."""
        from torch.optim.lr_scheduler import CosineAnnealingLR

        return CosineAnnealingLR(optimizer, max(1, steps), self.final_learning_rate)


class OneCycle(Scheduled):
    """Up to the optimizer's learning rate and far down again (Smith and Topin 2018)."""

    kind: Literal["one_cycle"]
    length: int | None = Field(None, gt=0, description="steps; null: training.steps")
    rise: Factor = Field(0.3, description="share of the steps in which the rate rises")
    initial_divisor: float = Field(25.0, gt=1, description="the first rate is the highest divided by this")
    final_divisor: float = Field(1e4, gt=1, description="the last rate is the first divided by this")

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
        """Make the schedule over ``steps`` steps."""
        from torch.optim.lr_scheduler import OneCycleLR

        # the scheduler is stepped once more after the last step, and refuses more than it was told
        return OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=steps + 1,
            pct_start=self.rise,
            cycle_momentum=False,
            div_factor=self.initial_divisor,
            final_div_factor=self.final_divisor,
        )


class Plateau(Scheduled):
    """Times ``factor`` when the validation metric has not fallen for ``patience`` validations."""

    kind: Literal["plateau"]
    factor: Factor = Field(0.1, description="factor of each fall")
    patience: int = Field(10, ge=0, description="validations without an improvement that are waited for")
    threshold: float = Field(1e-4, ge=0, description="relative improvement that counts")

    def build(self, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:  # noqa: ARG002
        """Make the part that is stepped at every step: constant."""
        from torch.optim.lr_scheduler import ConstantLR

        return ConstantLR(optimizer, factor=1.0)

    def build_plateau(self, optimizer: torch.optim.Optimizer) -> ReduceLROnPlateau:
        """Make the part that is stepped at every validation."""
        from torch.optim.lr_scheduler import ReduceLROnPlateau

        return ReduceLROnPlateau(optimizer, factor=self.factor, patience=self.patience, threshold=self.threshold)


ScheduleSection = Annotated[Constant | Step | Exponential | Cosine | OneCycle | Plateau, Field(discriminator="kind")]


class Schedule:
    """A schedule at work: stepped after every optimizer step, and told of every validation."""

    def __init__(self, settings: ScheduleSection, optimizer: torch.optim.Optimizer, steps: int | None) -> None:
        """Make the schedule for a training of ``steps`` steps, if that is known."""
        from torch.optim.lr_scheduler import LinearLR, SequentialLR

        self._end: int | None = getattr(settings, "length", None)
        length = self._end or steps or 1
        self._warmup = warmup = settings.warmup_steps
        self._optimizer = optimizer
        self._plateau = settings.build_plateau(optimizer) if isinstance(settings, Plateau) else None
        if warmup:
            rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
            main = settings.build(optimizer, length - warmup)
            self._every_step: LRScheduler = SequentialLR(optimizer, [rise, main], milestones=[warmup])
        else:
            self._every_step = settings.build(optimizer, length)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Go on after an optimizer step; a schedule that has come to its own end stays there."""
        if self._end is None or self._every_step.last_epoch < self._end:
            self._every_step.step()

    def validated(self, metric: float) -> None:
        """Go on after a validation; the rise at the start is no plateau."""
        if self._plateau is not None and self._every_step.last_epoch >= self._warmup:
            self._plateau.step(metric)

    def state(self) -> dict[str, Any]:
        """Return the schedule's state."""
        return {
            "every_step": self._every_step.state_dict(),
            "plateau": self._plateau.state_dict() if self._plateau is not None else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the schedule's state; the learning rate itself is the optimizer's."""
        self._every_step.load_state_dict(state["every_step"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
