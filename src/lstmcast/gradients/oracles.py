"""Ways to differentiate a loss without its backward pass.

Each returns the gradient with respect to a whole vector of variables; those of an `Objective` are parameters, then
inputs, then initial state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch
from lstmcast.network.cells import CELLS
from lstmcast.network.description import Network
from lstmcast.network.engine import Engine
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters

# no rounding error at all: its square is below the smallest number
COMPLEX_STEP = 1e-200
CENTRAL_STEP = 2e-3
EngineMaker: TypeAlias = Callable[[Network, Parameters], Engine]


class Differentiable(Protocol):
    """A loss as a function of one vector."""

    @property
    def variables(self) -> Array:
        """Where it is differentiated, ``(V,)``."""

    def loss(self, variables: Array) -> complex | float:
        """Return the loss at real or complex variables."""


@dataclass(frozen=True)
class Objective:
    """A network with values for its parameters, and a batch to compute the loss on.

    Attributes:
        label: says what is special about it.
        network: the network.
        values: the parameters, ``(P,)``.
        batch: with an initial state.
    """

    label: str
    network: Network
    values: Array
    batch: Batch

    @property
    def variables(self) -> Array:
        """All that the loss depends on, as one vector ``(V,)``."""
        assert self.batch.initial_state is not None
        return np.concatenate([self.values, self.batch.inputs.ravel(), self.batch.initial_state.ravel()])

    @property
    def slices(self) -> Mapping[str, Array]:
        """The places of each named part in the vector of variables; a cell's parameters gate by gate."""
        cell = CELLS[self.network.cell]
        parts: dict[str, Array] = {}
        start = 0
        for name, shape in self.network.shapes.items():
            places = np.arange(start, start + int(np.prod(shape)))
            start += len(places)
            part, layer, _ = name.split(".")
            gates = len(cell.gate_names)
            if part == "cells" and gates and shape[0] == gates * self.network.hidden_sizes[int(layer)]:
                blocks = np.split(places, gates)
                parts |= {f"{name} {gate}": block for gate, block in zip(cell.gate_names, blocks, strict=True)}
            else:
                parts[name] = places
        end = start + self.batch.inputs.size
        parts["inputs"] = np.arange(start, end)
        parts["initial_state"] = np.arange(end, len(self.variables))
        return parts

    def _at(self, variables: Array) -> tuple[Parameters, Batch]:
        parameters = Parameters(self.network, variables.dtype)
        P, I = len(self.values), self.batch.inputs.size
        parameters.values[:] = variables[:P]
        assert self.batch.initial_state is not None
        inputs = variables[P : P + I].reshape(self.batch.inputs.shape)
        state = variables[P + I :].reshape(self.batch.initial_state.shape)
        return parameters, replace(self.batch, inputs=inputs, initial_state=state)

    def loss(self, variables: Array) -> complex | float:
        """Return the loss by the NumPy engine's forward pass, real or complex."""
        parameters, batch = self._at(variables)
        value: complex | float = NumpyEngine(self.network, parameters).loss(batch).item()
        return value

    def gradient(self, make: EngineMaker) -> Array:
        """Return the gradient ``(V,)`` by an engine's own backward pass."""
        parameters, batch = self._at(self.variables)
        inputs, state = make(self.network, parameters).input_gradients(batch)
        return np.concatenate([parameters.gradient, inputs.ravel(), state.ravel()])


def complex_step(problem: Differentiable, directions: Array | None = None) -> Array:
    """Differentiate by a complex step: dL/dv = Im L(x + i h v) / h, exact to rounding.

    Source: Squire and Trapp 1998, https://doi.org/10.1137/S003614459631241X

    Args:
        problem: what to differentiate.
        directions: ``(M, V)``; None: each variable for itself.

    Returns:
        ``(M,)``, or ``(V,)``.
    """
    x = problem.variables
    derivatives = np.empty(len(x) if directions is None else len(directions))
    for m in range(len(derivatives)):
        moved = x.astype(np.complex128)
        if directions is None:
            moved[m] += 1j * COMPLEX_STEP
        else:
            moved += 1j * COMPLEX_STEP * directions[m]
        derivatives[m] = np.imag(problem.loss(moved)) / COMPLEX_STEP
    return derivatives


@dataclass(frozen=True)
class Central:
    """What central differences found, all ``(V,)``: the gradient, its likely error, and where a kink lies."""

    gradient: Array
    error: Array
    kink: Array


def central_differences(problem: Differentiable, noise: float = 0.0) -> Central:
    """Differentiate by central differences D at two steps, (4 D(h/2) - D(h)) / 3, and estimate the error.

    The difference of the two estimates bounds the error of the better one. Where a ReLU bends within the step the
    slopes of the two sides differ by as much at h/2 as at h; on a smooth function that gap halves. A loss that rounds
    by more than float64 does, by ``noise``, is differenced at larger steps.
    Source: Richardson's extrapolation, https://en.wikipedia.org/wiki/Richardson_extrapolation
    """
    x = problem.variables.astype(np.float64)
    middle = float(np.real(problem.loss(x)))
    # where the rounding of the loss and its curvature do the same harm
    relative_step = max(CENTRAL_STEP, (noise / max(1.0, abs(middle))) ** 0.2)
    V = len(x)
    gradient, error, kink = np.empty(V), np.empty(V), np.zeros(V, dtype=bool)
    for v in range(V):
        h = relative_step * max(1.0, abs(x[v]))
        slopes = []
        for distance in (h, h / 2):
            sides = []
            for sign in (1, -1):
                moved = x.copy()
                moved[v] += sign * distance
                sides.append(float(np.real(problem.loss(moved))))
            slopes.append(((sides[0] - middle) / distance, (middle - sides[1]) / distance))
        wide, near = (sum(pair) / 2 for pair in slopes)
        gradient[v] = (4 * near - wide) / 3
        rounding = max(noise, 1e-14 * max(1.0, abs(middle))) / h
        error[v] = abs(near - wide) + rounding
        gaps = [abs(right - left) for right, left in slopes]
        least = 1e-7 * max(1.0, abs(gradient[v])) + 20 * noise / h
        kink[v] = abs(gaps[1] - gaps[0] / 2) > 0.01 * gaps[0] + 20 * noise / h and gaps[0] > least
    return Central(gradient, error, kink)
