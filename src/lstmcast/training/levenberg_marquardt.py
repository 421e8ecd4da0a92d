"""The Levenberg-Marquardt method, which ``torch.optim`` does not have."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from lstmcast.arrays import Array

# of the damping, after a step that was not taken, and at best after one that was
RAISED, EASED = 4.0, 1 / 3
LARGEST = 1e6
# the largest acceleration, as a share of the velocity: beyond it the parabola is not trusted
BEND = 0.75


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

    def bending(self, direction: Array) -> Array:
        """Return 2 Jᵀ r̈ ``(P,)``: how the residuals bend along a direction ``(P,)``."""
        ...


class LevenbergMarquardt(torch.optim.Optimizer):
    """Damped Gauss-Newton steps along a parabola, which only ever go down.

        (G + λD) v = -∇L,   (G + λD) a = -2 Jᵀ r̈(v),   θ ← θ + η v + η² a / 2,   D = diag G,   η: learning_rate

    A long narrow valley bends: straight steps soon leave it, the acceleration a follows it. Where |a| > 3/4 |v|, with
    D as the measure, the parabola is not trusted and the step is straight. After a step that lowers the loss λ falls,
    at most to a third, if more than half of the predicted gain came true, and rises, at most to twice, if less; after
    one that does not λ rises, and the step is redone.
    Sources: Marquardt (1963), https://doi.org/10.1137/0111030; for a, Transtrum and Sethna (2012),
    https://arxiv.org/abs/1201.5885; for λ's fall, Madsen, Nielsen and Tingleff (2004), algorithm 3.16,
    https://www2.imm.dtu.dk/pubdb/edoc/imm3215.pdf.
    """

    def __init__(self, parameter: torch.nn.Parameter, lr: float, damping: float, attempts: int) -> None:
        super().__init__([parameter], {"lr": lr})
        self._parameter, self._attempts = parameter, attempts
        self.state[parameter]["damping"] = damping

    def step(self, closure: SquaredError) -> float:  # type: ignore[override]
        """Take one step; if no damping within the attempts lowers the loss, stay."""
        loss = closure()
        theta, state, rate = self._parameter.detach(), self.state[self._parameter], self.param_groups[0]["lr"]
        assert self._parameter.grad is not None
        start, gradient = theta.clone(), self._parameter.grad.clone()
        matrix = torch.from_numpy(closure.curvature())
        diagonal = matrix.diagonal().clone()
        # a parameter that changes nothing must not make the system singular
        diagonal.clamp_(min=float(diagonal.max()) * torch.finfo(theta.dtype).eps)
        for _ in range(self._attempts):
            factor, failed = torch.linalg.cholesky_ex(matrix + torch.diag(state["damping"] * diagonal))
            if not failed:
                v = solve(factor, -gradient)
                a = solve(factor, -torch.from_numpy(closure.bending(v.numpy())))
                if not a @ (diagonal * a) <= BEND**2 * v @ (diagonal * v):
                    a.zero_()
                theta.copy_(start + rate * v + rate**2 / 2 * a)
                gain = loss - closure.trial()
                if gain > 0:
                    # -η gᵀv - η² vᵀGv / 2, with Gv = -g - λDv
                    slope, damped = float(gradient @ v), state["damping"] * float(v @ (diagonal * v))
                    ratio = gain / ((rate**2 / 2 - rate) * slope + rate**2 / 2 * damped)
                    damping = state["damping"] * max(EASED, 1 - (2 * ratio - 1) ** 3)
                    state["damping"] = min(max(damping, 1e-15), LARGEST)
                    return loss
                theta.copy_(start)
            state["damping"] *= RAISED
        state["damping"] = min(state["damping"], LARGEST)
        return loss


def solve(factor: Tensor, right: Tensor) -> Tensor:
    """Return x with L Lᵀ x = right, of a Cholesky ``factor`` L."""
    return torch.cholesky_solve(right[:, None], factor)[:, 0]
