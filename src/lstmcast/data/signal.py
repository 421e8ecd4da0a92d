"""What makes a sine quasi-periodic: modulation, chirp, trend, further sines, noise."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lstmcast.arrays import Array
from lstmcast.sections import Section


class Modulation(Section):
    """A slow sine of time."""

    depth: float = Field(description="amplitude: a share of the amplitude, or radians of the phase")
    period: float = Field(gt=0, description="period, in steps")


class Sine(Section):
    """One more sine in the sum."""

    amplitude: float = Field(description="amplitude; the main sine has 1")
    frequency: float = Field(description="frequency, in multiples of the main sine's")
    phase: float = Field(0.0, description="phase, in radians")


class Signal(Section):
    """Departures from a pure sine; with the defaults there are none."""

    noise: float = Field(0.0, ge=0, description="standard deviation of white noise added to each value")
    amplitude_modulation: Modulation | None = Field(None, description="depth is a share of the amplitude")
    frequency_modulation: Modulation | None = Field(None, description="depth is in radians of the phase")
    chirp: float = Field(0.0, description="growth of the frequency, in radians per step, per step")
    trend: float = Field(0.0, description="slope of a line, per step")
    sines: list[Sine] = Field([], description="sines added to the main one")

    @np.errstate(over="ignore", invalid="ignore")  # `Dataset` refuses what overflows
    def sample(self, angle: Array, random: np.random.Generator) -> Array:
        """Sample the signal whose main sine has phase ``angle`` (L, N), in radians, at steps 0 to L - 1.

            y(t) = (1 + m_a(t)) [sin a(t) + Σ_k A_k sin(r_k a(t) + p_k)] + trend t + noise
            a(t) = angle(t) + m_f(t) + chirp t² / 2,   m(t) = depth sin(2π t / period)

        Returns:
            ``(N, L)``. The first values do not depend on L: noise is drawn in the order of time.
        """
        t = np.arange(len(angle), dtype=np.float64)[:, None]

        def modulation(settings: Modulation) -> Array:
            wave: Array = settings.depth * np.sin(2 * np.pi * t / settings.period)
            return wave

        if self.frequency_modulation:
            angle = angle + modulation(self.frequency_modulation)
        if self.chirp:
            angle = angle + self.chirp * t**2 / 2
        value: Array = np.sin(angle)
        for sine in self.sines:
            value = value + sine.amplitude * np.sin(sine.frequency * angle + sine.phase)
        if self.amplitude_modulation:
            value = value * (1 + modulation(self.amplitude_modulation))
        if self.trend:
            value = value + self.trend * t
        if self.noise:
            value = value + self.noise * random.standard_normal(value.shape)
        return value.T
