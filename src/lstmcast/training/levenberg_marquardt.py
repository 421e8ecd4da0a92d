"""The Levenberg-Marquardt method, which ``torch.optim`` does not have."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lstmcast.arrays import Array

# of the damping, after a step that was taken and after one that was not
EASED, RAISED = 1 / 5, 4.0


class SquaredError(Protocol):
    """A sum of squares at the present parameters."""

    def __call__(self) -> float:
        """Return the loss; write its gradient to the parameter's ``grad``."""
        ...

    def trial(self) -> float:
        """Do the same where the loss may be anything, infinite included."""
        ...

    def curvature(self) -> Array:
        """Return the Gauss-Newton matrix ``(P, P)``."""
        ...


class LevenbergMarquardt(torch.optim.Optimizer):
    """Damped Gauss-Newton steps that only ever go down.

        (G + λ diag G) δ = -∇L,   θ ← θ + learning_rate δ

    λ falls after a step that lowers the loss; else it rises and the step is tried again.
    Source: Marquardt (1963), https://doi.org/10.1137/0111030.
    """

    def __init__(self, parameter: torch.nn.Parameter, lr: float, damping: float, attempts: int) -> None:
        super().__init__([parameter], {"lr": lr})
        self._parameter, self._attempts = parameter, attempts
        self.state[parameter]["damping"] = damping

    def step(self, closure: SquaredError) -> float:  # type: ignore[override]
        """Take one step; if no damping within the attempts lowers the loss, stay."""
        loss = closure()
        theta, state = self._parameter.detach(), self.state[self._parameter]
        assert self._parameter.grad is not None
        start, gradient = theta.clone(), self._parameter.grad.clone()
        matrix = torch.from_numpy(closure.curvature())
        diagonal = matrix.diagonal().clone()
        # a parameter that changes nothing must not make the system singular
        diagonal.clamp_(min=float(diagonal.max()) * torch.finfo(theta.dtype).eps)
        for _ in range(self._attempts):
            factor, failed = torch.linalg.cholesky_ex(matrix + torch.diag(state["damping"] * diagonal))
            if not failed:
                step: Tensor = torch.cholesky_solve(-gradient[:, None], factor)[:, 0]
                theta.copy_(start + self.param_groups[0]["lr"] * step)
                if closure.trial() < loss:
                    state["damping"] = max(state["damping"] * EASED, 1e-15)
                    return loss
            state["damping"] *= RAISED
        theta.copy_(start)
        state["damping"] = min(state["damping"], 1e6)
        return loss
