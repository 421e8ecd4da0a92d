"""Forecasters of small networks, and series of which all is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lstmcast.arrays import Array
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.network.description import Network
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.network.parameters import Parameters


@pytest.fixture(scope="session")
def make_forecaster() -> Callable[..., Forecaster]:
    """Return a maker of forecasters of random networks, or with ``value`` of one whose parameters are all that."""

    def make(
        features: int = 1,
        *,
        horizon: int = 1,
        context: int = 1000,
        sliding: int | None = None,
        residual: bool = False,
        value: float | None = None,
    ) -> Forecaster:
        network = Network("lstm", features, (4,), (), features, residual)
        parameters = Parameters(network)
        parameters.initialize(network, np.random.default_rng(0))
        if value is not None:
            parameters.values[:] = value
        return Forecaster(NumpyEngine(network, parameters), horizon, context, sliding)

    return make


@pytest.fixture(scope="session")
def sines() -> Callable[..., Array]:
    """Return a maker of sines ``(N, steps, 1)``, one for each phase (in cycles)."""

    def make(steps: int, period: float, phases: Array = (0.0,), start: int = 0) -> Array:
        cycles = (start + np.arange(steps)) / period + np.asarray(phases)[:, None]
        return np.sin(2 * np.pi * cycles)[:, :, None]

    return make
