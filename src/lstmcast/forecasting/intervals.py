"""Bands around a forecast, calibrated on rollouts that were held out: split conformal prediction, step by step.

From many starting points in the test part the network forecasts what is already known there. How far the truth lies
outside of the uncalibrated band (of one path: the forecast itself), k steps ahead, is that rollout's score; the band of
step k is widened by the ⌈(n + 1) level⌉-th smallest of the n scores. If a new forecast's score is exchangeable with
those, the band holds the truth with a probability of at least ``level``, whatever the network and the noise are.

Source: Vovk, Gammerman, Shafer 2005; per step of a forecast Stankevičiūtė, Alaa, van der Schaar 2021,
https://arxiv.org/abs/2010.09107; of drawn paths Romano, Patterson, Candès 2019, https://arxiv.org/abs/1905.03222
"""

from __future__ import annotations

from itertools import islice
from math import ceil

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.dataset import Held
from lstmcast.errors import UsageError
from lstmcast.forecasting.rollout import Forecaster

# starting points, in all and at once
ORIGINS = 500
TOGETHER = 32


def band(paths: Array, level: float, half_bin: float | Array = 0.0) -> Array:
    """Return the mean of paths ``(N, M, F)`` and the two quantiles between which ``level`` of them lie: ``(N, F, 3)``.

    Paths of classes say which bin, not where in it: their quantiles lie ``half_bin`` further out.
    """
    mean = paths.mean(axis=1)
    low, high = np.quantile(paths, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return np.stack([mean, np.minimum(low - half_bin, mean), np.maximum(high + half_bin, mean)], axis=-1)


def widen(bands: Array, margin: Array) -> Array:
    """Move the bounds of bands ``(N, F, 3)`` out by ``margin`` (F,), or in, but not across the forecast."""
    mean = bands[..., 0]
    low, high = np.minimum(bands[..., 1] - margin, mean), np.maximum(bands[..., 2] + margin, mean)
    return np.stack([mean, low, high], axis=-1)


def needed(level: float) -> int:
    """Return the least number of scores among which there is one that is large enough for ``level``."""
    # of n scores the ⌈(n + 1) level⌉-th; the small number is for the rounding of 0.9 / 0.1
    return ceil(level / (1 - level) - 1e-9)


def conformal_quantile(scores: Array, level: float) -> Array:
    """Return for each column of ``scores`` (n, …) the ⌈(n + 1) level⌉-th smallest, NaN left out: ``(…)``."""
    n = (~np.isnan(scores)).sum(axis=0)
    rank = np.ceil((n + 1) * level - 1e-9).astype(int)
    # NaN is sorted to the end
    quantile: Array = np.take_along_axis(np.sort(scores, axis=0), (rank - 1)[None], axis=0)[0]
    return quantile


def calibrate(forecaster: Forecaster, held: Held, steps: int, level: float) -> Array:
    """Measure by how much the band of each step has to be widened to hold ``level`` of what comes.

    Scores come from what is known of ``held`` alone, from up to `ORIGINS` starting points spread over it; those of
    all rows and of overlapping rollouts are pooled. A network starts from half a row at least.

    Returns:
        The margins ``(steps, F)``, in the network's units.

    Raises:
        UsageError: if ``steps`` is more than half of the part from which rollouts start, or leaves too few of them.
    """
    N = len(held.rows)
    first = max(held.scored_from, min(forecaster.context, held.known // 2), forecaster.least)
    span = held.known - first
    limit = ORIGINS // (10 if forecaster.bins else 1)
    starts = np.arange(held.known - 1, first - 1, -max(1, ceil(span / limit)))
    # how far the known values reach beyond each start; the last of those that are far enough decides
    reach = np.sort(held.known - starts)[::-1]
    rollouts = ceil(needed(level) / N)
    longest = min(span // 2, int(reach[rollouts - 1]) if rollouts <= len(reach) else 0)
    if steps > longest:
        raise UsageError(
            f"--interval {level:g}: {steps:,} steps cannot be calibrated: the test part has {max(span, 0):,} steps to"
            f" start rollouts from, enough for {max(longest, 0):,} steps ahead",
            f"lower --future to {longest:,}, or leave out --interval" if longest > 0 else "leave out --interval",
        )
    half_bin = forecaster.bins.width / 2 if forecaster.bins else 0.0
    scores = np.full((len(starts), N, steps, held.rows.shape[2]), np.nan)
    for begin in range(0, len(starts), TOGETHER):
        some = starts[begin : begin + TOGETHER]
        read = min(forecaster.context, int(some.min()))
        histories = np.concatenate([held.rows[:, start - read : start] for start in some])
        paths = forecaster.stream_paths(histories, np.repeat(some - read, N))
        for k, step in enumerate(islice(paths, steps)):
            known = np.flatnonzero(some + k < held.known)
            if not len(known):
                break
            _, low, high = np.moveaxis(band(step, level, half_bin).reshape(len(some), N, -1, 3)[known], -1, 0)
            truth = held.rows[:, some[known] + k].swapaxes(0, 1)
            scores[begin + known, :, k] = np.maximum(low - truth, truth - high)
    return conformal_quantile(scores.reshape(-1, *scores.shape[2:]), level)
