"""The Gauss-Newton matrix of a squared error: its curvature as far as first derivatives of the outputs tell it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.network.description import Network
from lstmcast.network.parameters import Parameters
from lstmcast.network.torch_engine import TorchEngine

# parameters differentiated at once: enough to fill the processor, few enough to be stopped between
CHUNK = 128
# steps of all sequences that are differentiated at once: J takes P times as many numbers
STEPS = 4096


class Outputs(nn.Module):
    """An engine's outputs on one batch, as a module under the parameters' own names."""

    def __init__(self, engine: TorchEngine, batch: Batch) -> None:
        super().__init__()
        self.cells, self.head = nn.ModuleList(engine._cells), nn.ModuleList(engine._head)
        self._engine, self._batch = engine, batch

    def forward(self) -> Tensor:
        """Return the outputs ``(N, T, O)``."""
        engine, batch = self._engine, self._batch
        return engine._outputs(batch, engine._tensor(batch.inputs), engine._initial(batch))


def gauss_newton_matrix(
    network: Network, parameters: Parameters, batch: Batch, pause: Callable[[], None] = lambda: None
) -> Array:
    """Return the Gauss-Newton matrix ``(P, P)`` of `Engine.loss_and_gradient`'s loss, through rollouts too.

        L = Σ_k r_k²,   G = 2 Jᵀ J,   J_kp = ∂r_k/∂θ_p,   r_k = sqrt(w / (O Σw)) (y - target)

    J comes by forward mode, one tangent a parameter.
    Source: Nocedal and Wright, Numerical Optimization (2006), section 10.3.

    Args:
        network: what is differentiated.
        parameters: where; they are not changed.
        batch: the problem.
        pause: called now and then; what it raises ends the computation.
    """
    engine = TorchEngine(network, parameters, fused=False)
    theta = torch.from_numpy(parameters.values)
    N, T, _ = batch.inputs.shape
    w = np.ones((N, T)) if batch.weights is None else batch.weights
    all_roots = torch.from_numpy(np.sqrt(w / (network.output_size * w.sum()))[:, :, None]).to(theta.dtype)

    def residuals(flat: Tensor, outputs: Outputs, root: Tensor) -> Tensor:
        parts = torch.split(flat, [prod(shape) for shape in network.shapes.values()])
        views = {name: part.view(shape) for part, (name, shape) in zip(parts, network.shapes.items(), strict=True)}
        weighted: Tensor = root * functional_call(outputs, views, ())
        return weighted[root[:, :, 0] > 0].reshape(-1)

    together = max(1, STEPS // T)
    tangents = torch.split(torch.eye(network.size, dtype=theta.dtype), CHUNK)
    matrix = theta.new_zeros(network.size, network.size)
    for first in range(0, N, together):
        some = slice(first, first + together)
        function = partial(residuals, outputs=Outputs(engine, batch.part(some)), root=all_roots[some])
        rows = []
        for some_tangents in tangents:
            pause()
            rows.append(vmap(lambda tangent, function=function: jvp(function, (theta,), (tangent,))[1])(some_tangents))
        J = torch.cat(rows)  # (P, residuals of some sequences)
        matrix += 2 * (J @ J.T)
    result: Array = matrix.numpy()
    return result
