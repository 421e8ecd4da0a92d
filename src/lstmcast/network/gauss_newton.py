"""The Gauss-Newton matrix of a squared error: its curvature as far as first derivatives of the outputs tell it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters
from lstmcast.network.torch_engine import TorchEngine

# numbers in the derivatives that are made at once: enough to fill the processor, few enough to be stopped between
NUMBERS = 2**22
# of the differences along a direction, as a share of it: the outputs' fourth derivatives cost h²/12, rounding 1e-16/h²
BENDING_STEP = 0.1


class FlatStep(nn.Module):
    """One step of one sequence, as a module under the parameters' own names."""

    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        self.cells, self.head = nn.ModuleList(engine.cells), nn.ModuleList(engine.head)
        self._engine = engine

    def forward(self, state_and_input: Tensor) -> Tensor:
        """Return the state after the step and the output, ``(S + O,)``, from the state before and the input."""
        engine = self._engine
        state, x = torch.split(state_and_input[None], [engine.network.state_size, engine.network.input_size], dim=1)
        h, states = engine.step(x, engine.split(state))
        return torch.cat([*(part for layer in states for part in layer), engine.outputs_of(h, x)], dim=1)[0]


def gauss_newton_matrix(
    network: Network, parameters: Parameters, batch: Batch, pause: Callable[[], None] = lambda: None
) -> Array:
    """Return the Gauss-Newton matrix ``(P, P)`` of `Engine.loss_and_gradient`'s loss, through rollouts too.

        L = Σ_k r_k²,   G = 2 Jᵀ J,   J_kp = ∂r_k/∂θ_p,   r_k = sqrt(w / (O Σw)) (y - target)

    The derivatives of the state s and the output y go forward in time with them, as in real-time recurrent learning:

        d(s, y)(t)/dθ = ∂(s, y)/∂θ + ∂(s, y)/∂(s', x) d(s', x)(t)/dθ,   dx(t)/dθ = dy(t - delay)/dθ if fed back, or 0

    and the partial derivatives of many steps are computed at once.
    Sources: Nocedal and Wright, Numerical Optimization (2006), section 10.3; Williams and Zipser (1989),
    https://doi.org/10.1162/neco.1989.1.2.270.

    Args:
        network: what is differentiated.
        parameters: where; they are not changed.
        batch: the problem.
        pause: called now and then; what it raises ends the computation.
    """
    S, O, P = network.state_size, network.output_size, network.size
    N, T, _ = batch.inputs.shape
    theta = torch.from_numpy(parameters.values)
    step = FlatStep(TorchEngine(network, parameters, fused=False))

    def after(flat: Tensor, before: Tensor) -> Tensor:
        parts = torch.split(flat, [prod(shape) for shape in network.shapes.values()])
        views = {name: part.view(shape) for part, (name, shape) in zip(parts, network.shapes.items(), strict=True)}
        result: Tensor = functional_call(step, views, (before,))
        return result

    partials = vmap(vmap(jacrev(after, argnums=(0, 1)), in_dims=(None, 0)), in_dims=(None, 0))
    run = NumpyEngine(network, parameters).forward(batch, T)
    before = torch.from_numpy(
        np.stack([np.concatenate([*run.tape.states(t), run.tape.x[t]]) for t in range(T)]).swapaxes(1, 2)
    )  # (T, N, S + F)
    w = np.ones((N, T)) if batch.weights is None else batch.weights
    roots = torch.tensor(np.sqrt(w.T / (O * w.sum()))[:, :, None, None], dtype=theta.dtype)
    counted = torch.tensor(w.T > 0)
    fed = np.zeros((N, T), bool) if batch.feedback is None else batch.feedback
    read = torch.tensor(fed.T[:, :, None, None])

    matrix = theta.new_zeros(P, P)
    at_once = max(1, NUMBERS // ((S + O) * P))
    steps = max(1, at_once // N)
    for first in range(0, N, at_once):
        some = slice(first, first + at_once)
        ds = theta.new_zeros(len(before[0, some]), S, P)
        dy = deque([theta.new_zeros(len(ds), O, P)] * batch.delay, maxlen=batch.delay)
        for start in range(0, T, steps):
            pause()
            now = slice(start, start + steps)
            d, to = partials(theta, before[now, some])  # (steps, n, S + O, P), (steps, n, S + O, S + F)
            to = torch.cat([to[..., :S], to[..., S : S + O] * read[now, some]], dim=-1)
            for t in range(len(d)):
                d[t].baddbmm_(to[t], torch.cat([ds, dy[0]], dim=1))
                ds, y = d[t, :, :S], d[t, :, S:]
                dy.append(y)
            J = (d[:, :, S:] * roots[now, some])[counted[now, some]].reshape(-1, P)
            matrix += 2 * (J.T @ J)
    result: Array = matrix.numpy()
    return result


def bending(network: Network, parameters: Parameters, batch: Batch, direction: Array) -> Array:
    """Return how the residuals bend along a direction v ``(P,)``, as far as the parameters can follow: 2 Jᵀ r̈ ``(P,)``.

        r̈ = d²r(θ + s v)/ds² at s = 0, by central differences: (r(θ + h v) - 2 r(θ) + r(θ - h v)) / h²

    Arguments and residuals r are those of `gauss_newton_matrix`; whatever the dtype, differences are taken in float64.
    """
    moved = Parameters(network, np.float64)
    engine = NumpyEngine(network, moved)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the result
        moved.values[:] = parameters.values + BENDING_STEP * direction
        ahead = engine.forward(batch).y
        moved.values[:] = parameters.values - BENDING_STEP * direction
        behind = engine.forward(batch).y
        moved.values[:] = parameters.values
        run = engine.forward(batch)
        second = (ahead - 2 * run.y + behind) / BENDING_STEP**2
        # the loss of outputs r̈ whose targets are 0 has the derivative that goes back through the steps
        engine.backward(run, engine.loss_of(replace(batch, targets=np.zeros_like(batch.targets)), second)[1])
    result: Array = moved.gradient.astype(parameters.values.dtype)
    return result
