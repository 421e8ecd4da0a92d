"""What is known of every step in advance: waves of given periods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from lstmcast.arrays import Array
from lstmcast.sections import Section

Period = Annotated[float, Field(gt=1, le=1e9)]


class CovariateSection(Section):
    """Known periodic parts of a series, such as the hour of the day or the tides."""

    periods: list[Period] = Field(
        min_length=1, max_length=200, description="in steps (rows); 24 is the day of hourly rows"
    )
    inputs: bool = Field(True, description="let the network read the sine and cosine of each period at every step")
    subtract: bool = Field(
        False,
        description="fit them to the training part by least squares and let the network forecast what they leave",
    )

    @property
    def features(self) -> int:
        """The network's further input features."""
        return 2 * len(self.periods) if self.inputs else 0


@dataclass(frozen=True)
class Covariates:
    """Waves sin(2π t / period), cos(2π t / period) of the step t, and the part of the values that they explain.

    A network's value is u(t) = (v(t) - waves(t) W) / scale, v the standardised one; W is 0 if nothing is subtracted.

    Attributes:
        periods: ``(P,)``, in steps.
        origin: the time of step 0, in steps.
        inputs: whether the network reads the waves.
        weights: W, ``(2P, F)``.
        scale: ``(F,)``.
    """

    periods: Array
    origin: float
    inputs: bool
    weights: Array
    scale: Array

    @classmethod
    def fit(cls, settings: CovariateSection, origin: float, train: Array) -> Covariates:
        """Make them for the training part ``(L, F)``, whose first row is step 0, and fit them if asked."""
        P, F = len(settings.periods), train.shape[1]
        made = cls(np.array(settings.periods), origin, settings.inputs, np.zeros((2 * P, F)), np.ones(F))
        return made.fitted(train) if settings.subtract else made

    def fitted(self, train: Array) -> Covariates:
        """Return them with the least-squares fit to the training part ``(L, F)`` subtracted."""
        waves = self.waves(np.arange(len(train)))
        # the constant beside them is left to the network; of periods too close to be told apart, the smallest solution
        design = np.concatenate([waves, np.ones((len(train), 1))], axis=1)
        weights = np.linalg.lstsq(design, train, rcond=1e-3)[0][:-1]
        scale = (train - waves @ weights).std(axis=0)
        return replace(self, weights=weights, scale=np.where(scale > 1e-9, scale, 1.0))

    def waves(self, steps: Array) -> Array:
        """Return the waves at ``steps`` (…): ``(…, 2P)``."""
        cycles = (self.origin + np.asarray(steps, dtype=np.float64))[..., None] / self.periods
        # whole cycles go first: what is left keeps its digits however long the series is
        angle = 2 * np.pi * (cycles - np.floor(cycles))
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)

    def known(self, steps: Array) -> Array:
        """Return what the network reads of ``steps`` (…) beside the values: ``(…, 2P)``, or ``(…, 0)``."""
        waves = self.waves(steps)
        return waves if self.inputs else waves[..., :0]

    def remove(self, values: Array, steps: Array) -> Array:
        """From standardised values ``(…, F)`` at ``steps`` (…) to the network's."""
        left: Array = (values - self.waves(steps) @ self.weights) / self.scale
        return left

    def restore(self, values: Array, steps: Array) -> Array:
        """From the network's values ``(…, F)`` at ``steps`` (…) to standardised ones."""
        whole: Array = values * self.scale + self.waves(steps) @ self.weights
        return whole

    def inputs_of(self, values: Array, steps: Array) -> Array:
        """Turn standardised values ``(N, T, F)`` at ``steps`` (N, T) into inputs ``(N, T, F + 2P)``."""
        waves = self.known(steps)
        known = np.broadcast_to(waves, (*values.shape[:2], waves.shape[-1]))
        return np.concatenate([self.remove(values, steps), known], axis=2)
