"""The optimizers, on the one flat vector of parameters: ``torch.optim``'s, and one that it does not have.

To add one, write its section and add it to `OptimizerSection`.
Source: https://docs.pytorch.org/docs/stable/optim.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lstmcast.sections import Section

if TYPE_CHECKING:
    import torch

Share = Annotated[float, Field(ge=0, lt=1)]


class Optimizer(Section):
    """What all optimizers have."""

    learning_rate: float = Field(gt=0, description="step size")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty on the parameters")


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"]
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    betas: list[Share] = Field([0.9, 0.999], min_length=2, max_length=2, description="decay of the two moments")
    eps: float = Field(1e-8, gt=0, description="added to the denominator")

    def build(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        """Make the optimizer of one flat parameter."""
        import torch

        return torch.optim.Adam(
            [parameter], self.learning_rate, (self.betas[0], self.betas[1]), self.eps, self.weight_decay
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"]
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    weight_decay: float = Field(1e-2, ge=0, description="decay of the parameters, times the learning rate")
    betas: list[Share] = Field([0.9, 0.999], min_length=2, max_length=2, description="decay of the two moments")
    eps: float = Field(1e-8, gt=0, description="added to the denominator")

    def build(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        """Make the optimizer of one flat parameter."""
        import torch

        return torch.optim.AdamW(
            [parameter], self.learning_rate, (self.betas[0], self.betas[1]), self.eps, self.weight_decay
        )


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked."""

    kind: Literal["sgd"]
    learning_rate: float = Field(1e-2, gt=0, description="step size")
    momentum: Share = Field(0.0, description="decay of the velocity")
    nesterov: bool = Field(False, description="look ahead along the velocity; needs momentum")

    def build(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        """Make the optimizer of one flat parameter."""
        import torch

        return torch.optim.SGD(
            [parameter],
            self.learning_rate,
            self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012)."""

    kind: Literal["rmsprop"]
    learning_rate: float = Field(1e-3, gt=0, description="step size")
    momentum: Share = Field(0.0, description="decay of the velocity")
    alpha: Share = Field(0.99, description="decay of the mean square")
    eps: float = Field(1e-8, gt=0, description="added to the denominator")

    def build(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        """Make the optimizer of one flat parameter."""
        import torch

        return torch.optim.RMSprop(
            [parameter], self.learning_rate, self.alpha, self.eps, self.weight_decay, self.momentum
        )


class LBFGS(Section):
    """L-BFGS (Liu and Nocedal 1989); one step is up to ``max_iterations`` iterations on one batch."""

    kind: Literal["lbfgs"]
    learning_rate: float = Field(1.0, gt=0, description="first step tried along a direction")
    line_search: Literal["strong_wolfe", "none"] = Field(
        "strong_wolfe",
        description="none: always take the full step, as PyTorch's example does; it may diverge",
    )
    max_iterations: int = Field(20, gt=0, description="iterations in a step")
    history_size: int = Field(100, gt=0, description="pairs of differences kept")
    tolerance_grad: float = Field(1e-7, ge=0, description="a step ends early when no gradient is larger")
    tolerance_change: float = Field(
        1e-9,
        ge=0,
        description="a step ends early when loss or parameters change by less; where the loss is below 1e-6 that is"
        " where it began, and 0 goes on",
    )

    def build(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        """Make the optimizer of one flat parameter."""
        import torch

        return torch.optim.LBFGS(
            [parameter],
            self.learning_rate,
            self.max_iterations,
            tolerance_grad=self.tolerance_grad,
            tolerance_change=self.tolerance_change,
            history_size=self.history_size,
            line_search_fn=None if self.line_search == "none" else self.line_search,
        )


class LevenbergMarquardt(Section):
    """Levenberg-Marquardt, for networks of a few hundred parameters; one step is one damped Gauss-Newton step."""

    kind: Literal["levenberg_marquardt"]
    learning_rate: float = Field(1.0, gt=0, le=1, description="share of the solved step that is taken")
    damping: float = Field(1e-3, gt=0, description="first weight of the damping; it adapts from step to step")
    attempts: int = Field(10, gt=0, description="dampings tried in a step before it is given up")

    def build(self, parameter: torch.nn.Parameter) -> torch.optim.Optimizer:
        """Make the optimizer of one flat parameter."""
        from lstmcast.training.levenberg_marquardt import LevenbergMarquardt

        return LevenbergMarquardt(parameter, self.learning_rate, self.damping, self.attempts)


OptimizerSection = Annotated[Adam | AdamW | SGD | RMSprop | LBFGS | LevenbergMarquardt, Field(discriminator="kind")]
