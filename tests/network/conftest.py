"""Problems that a network is put to, and the oracle of its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, loss_weights
from lstmcast.network.cells import CellName
from lstmcast.network.description import Network
from lstmcast.network.engine import Engine
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters, named_views
from lstmcast.network.torch_engine import TorchEngine

# no cancellation, so the smaller the better
COMPLEX_STEP = 1e-200


@dataclass
class Problem:
    """A network with its parameters, and a batch."""

    network: Network
    parameters: Parameters
    batch: Batch

    def numpy(self) -> NumpyEngine:
        return NumpyEngine(self.network, self.parameters)

    def torch(self, *, fused: bool = True) -> TorchEngine:
        return TorchEngine(self.network, self.parameters, fused=fused)

    def gradient(self, engine: Engine) -> tuple[float, Array]:
        loss = engine.loss_and_gradient(self.batch)
        return loss, engine.parameters.gradient.copy()

    def slope(self) -> Callable[[Array], float]:
        """Return the derivative of the loss along a direction, by the complex step: Im L(p + ihd) / h."""
        parameters = Parameters(self.network, np.complex128)
        engine = NumpyEngine(self.network, parameters)

        def along(direction: Array) -> float:
            parameters.values[:] = self.parameters.values + 1j * COMPLEX_STEP * direction
            return float(engine.loss(self.batch).imag) / COMPLEX_STEP

        return along

    def complex_gradient(self) -> Array:
        slope = self.slope()
        return np.array([slope(unit) for unit in np.eye(self.network.size)])

    def directions(self, random: np.random.Generator) -> Iterator[tuple[str, Array]]:
        """Yield a random direction in the space of each parameter, by name, and one in the space of all."""
        for name in self.network.shapes:
            direction = np.zeros(self.network.size)
            view = named_views(direction, self.network.shapes)[name]
            view[...] = random.standard_normal(view.shape)
            yield name, direction
        yield "all", random.standard_normal(self.network.size)

    def by_name(self, flat: Array) -> Mapping[str, Array]:
        return named_views(flat, self.network.shapes)

    def mismatch(self, gradient: Array, true: Array) -> float:
        """Return the relative error of a gradient, norm-wise, of the parameter where it is worst."""
        whole = float(np.linalg.norm(true))
        ours, theirs = self.by_name(gradient), self.by_name(true)
        return max(
            float(np.linalg.norm(ours[name] - theirs[name]) / (np.linalg.norm(theirs[name]) + 1e-3 * whole))
            for name in ours
        )


def _weights(kind: str, lengths: Array, T: int, random: np.random.Generator) -> Array | None:
    if kind == "all":
        return None
    if kind == "random":
        return random.uniform(0.1, 1, (len(lengths), T)) * loss_weights(lengths, T, last_step=False, warmup=1)
    return loss_weights(lengths, T, last_step=kind == "last_step", warmup=2)


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    """Return a maker of small random problems."""

    def make(
        cell: CellName,
        hidden: tuple[int, ...] = (3, 3),
        head: tuple[int, ...] = (),
        *,
        residual: bool = False,
        features: int = 2,
        T: int = 7,
        B: int = 3,
        weights: str = "all",
        feedback: bool = False,
        delay: int = 1,
        initial: bool = False,
        output: str = "value",
        dtype: Any = np.float64,
        seed: int = 0,
    ) -> Problem:
        random = np.random.default_rng([seed, T, B])
        network = Network(cell, features, hidden, head, features, residual, output)
        parameters = Parameters(network, dtype)
        parameters.initialize(network, random)
        lengths = random.integers(T - 2, T + 1, B) if weights == "random" else np.full(B, T)
        steps = np.arange(T)
        fed = (random.random((B, T)) < 0.6) & (steps >= delay) if feedback else None
        inputs, targets = random.standard_normal((2, B, T, features))
        if output == "categorical":
            inputs, targets = (np.eye(features)[values.argmax(axis=2)] for values in (inputs, targets))
        batch = Batch(
            inputs,
            targets,
            _weights(weights, lengths, T, random),
            fed,
            delay,
            random.standard_normal((B, network.state_size)) if initial else None,
            lengths,
        )
        return Problem(network, parameters, batch)

    return make
