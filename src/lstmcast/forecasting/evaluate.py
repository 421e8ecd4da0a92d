"""Scores of a forecaster on held-out rows, beside the baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lstmcast.arrays import Array, finite_or_none
from lstmcast.data.autoregression import Autoregression
from lstmcast.data.covariates import Covariates
from lstmcast.data.dataset import Dataset, Held
from lstmcast.errors import InvalidError
from lstmcast.forecasting import metrics
from lstmcast.forecasting.baselines import Baseline, BesidePeriods, delayed, fit_baselines
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.forecasting.verdict import ADVICE_ON_PERIODS, ADVICE_ON_ROLLOUTS, LEVEL, Verdict, judge

HORIZONS = (1, 10, 100, 1000)
# the baseline that a network with one has within it
LINEAR_PART = "linear_part"


@dataclass(frozen=True)
class Score:
    """Errors of one forecast: of the next step, and over the first h steps of the rollout for each h."""

    label: str
    next_step: float | None
    rollout: dict[int, float]
    forecast: Array


@dataclass(frozen=True)
class Evaluation:
    """All scores, in the user's units (several columns: in standard deviations of the training part).

    Attributes:
        model: the network's score; its ``forecast`` is ``(M, K, F)``, M = series × origins.
        baselines: name to score.
        truth: ``(M, K, F)``, in the user's units, as are all forecasts.
        history: the known values before each forecast, ``(M, T, F)``.
        columns: each column's RMSE by horizon, in its own units.
        origins: the step in the test rows at which each rollout starts.
        unit: ``(F,)``, turns an error in the user's units into one in the scores' units.
        beyond: horizons asked for that are longer than the truth: cut to it, or left out if there are several origins.
        amplitude_ratio: the forecast's standard deviation in time over the truth's; NaN, as the two after it, where
            it cannot be measured.
        frequency_error: of the main frequency, in cycles per 1,000 steps.
        phase_error: at the end of the rollout, in cycles.
        valid_horizon: the steps before the error first exceeds 20% of the training part's standard deviation.
        verdict: what it comes to.
    """

    model: Score
    baselines: dict[str, Score]
    truth: Array
    history: Array
    columns: dict[str, dict[int, float]]
    origins: list[int]
    unit: Array
    beyond: list[int]
    amplitude_ratio: float
    frequency_error: float
    phase_error: float
    valid_horizon: int
    verdict: Verdict

    @property
    def essential(self) -> float:
        """The one number that scripts ask for: the RMSE of the longest rollout."""
        return list(self.model.rollout.values())[-1]

    def summary(self) -> dict[str, Any]:
        """Return the scores as JSON, with the fields that scripts rely on."""

        def rollout(score: Score) -> dict[str, Any]:
            return {"rmse": {str(h): finite_or_none(value) for h, value in score.rollout.items()}}

        return {
            "next_step": {"rmse": finite_or_none(self.model.next_step)},
            "rollout": {
                **rollout(self.model),
                "columns": {
                    name: {str(h): finite_or_none(value) for h, value in values.items()}
                    for name, values in self.columns.items()
                },
                "origins": self.origins,
                "valid_horizon": self.valid_horizon,
                "amplitude_ratio": finite_or_none(self.amplitude_ratio),
                "frequency_error": finite_or_none(self.frequency_error),
                "phase_error": finite_or_none(self.phase_error),
            },
            "baselines": {
                name: {
                    "label": score.label,
                    "next_step": {"rmse": finite_or_none(score.next_step)},
                    "rollout": rollout(score),
                    "skill": {
                        str(h): finite_or_none(1 - self.model.rollout[h] / value) if value else None
                        for h, value in score.rollout.items()
                    },
                }
                for name, score in self.baselines.items()
            },
            "verdict": self.verdict.text,
            "verdict_kind": self.verdict.kind,
            "advice": self.verdict.advice,
        }


def _linear_part(linear: Autoregression, covariates: Covariates | None) -> Baseline:
    """Return what is left of a forecast without its network."""
    return BesidePeriods(linear, covariates, f"{linear.label} beside known periods") if covariates else linear


def _linear_order(baseline: Baseline) -> int | None:
    linear = baseline.inner if isinstance(baseline, BesidePeriods) else baseline
    return linear.order if isinstance(linear, Autoregression) else None


def next_step_rmse(forecaster: Forecaster, held: Held, unit: Array) -> float:
    """Return the RMSE of forecasts of ``rows[:, scored_from:known]`` from true values, times ``unit`` (F,).

    Steps before which too little is known do not count.
    """
    first, known = max(held.scored_from, forecaster.least), held.rows[:, : held.known]
    return metrics.rmse(forecaster.next_step(known, first)[:, first:] * unit, known[:, first:] * unit)


def spread(held: Held, steps: int, origins: int) -> list[int]:
    """Spread up to ``origins`` starting points evenly over the held-out part, each with ``steps`` of truth after it."""
    return sorted({int(start) for start in np.linspace(held.origin, held.rows.shape[1] - steps, origins)})


def split_at(held: Held, starts: Sequence[int], reach: int, steps: int) -> tuple[Array, Array, Array]:
    """Split at each start.

    Returns:
        The ``reach`` values before each start and the ``steps`` after it, ``(origins N, …, F)``, and the step at
        which what comes before begins, ``(origins N,)``.
    """
    reach = min(reach, starts[0])
    before = np.concatenate([held.rows[:, start - reach : start] for start in starts])
    after = np.concatenate([held.rows[:, start : start + steps] for start in starts])
    return before, after, np.repeat(np.array(starts) - reach, len(held.rows))


def rollout_rmse(forecaster: Forecaster, held: Held, steps: int, origins: int = 16) -> float:
    """Return the RMSE of rollouts of ``steps`` from origins spread over ``held``, in the network's units."""
    history, truth, first = split_at(held, spread(held, steps, origins), forecaster.context, steps)
    return metrics.rmse(forecaster.rollout(history, steps, first), truth)


def _next_step_errors(
    forecaster: Forecaster, baselines: Mapping[str, Baseline], held: Held, unit: Array
) -> dict[str, float]:
    """Return the RMSE of the next step by name, all over the same steps: those that everyone can forecast.

    A network that looks further than one step ahead is measured alone, for the baselines look one step ahead.
    """
    known = held.rows[:, : held.known]
    forecasts = {"network": forecaster.next_step(known, held.scored_from)}
    if forecaster.horizon == 1:
        forecasts |= {name: baseline.next_step(known) for name, baseline in baselines.items()}
    scored = np.arange(held.known) >= held.scored_from
    for forecast in forecasts.values():
        scored &= ~np.isnan(forecast).any(axis=(0, 2))
    if not scored.any():
        return {"network": next_step_rmse(forecaster, held, unit)}
    truth = known[:, scored] * unit
    return {name: metrics.rmse(forecast[:, scored] * unit, truth) for name, forecast in forecasts.items()}


def _echo(forecaster: Forecaster, held: Held) -> float:
    known = held.rows[:, : held.known]
    forecast = forecaster.next_step(known, held.scored_from)
    scored = slice(held.scored_from, None)
    return metrics.echo(forecast[:, scored], known[:, scored], delayed(known, forecaster.horizon)[:, scored])


def evaluate(
    forecaster: Forecaster, dataset: Dataset, horizons: Sequence[int] = HORIZONS, origins: int = 1
) -> Evaluation:
    """Score a forecaster on the test rows, from ``origins`` starting points spread evenly over them.

    Raises:
        InvalidError: with several origins, if the test part holds fewer steps than the smallest horizon.
    """
    held, scaler = dataset.test, dataset.scaler
    available = held.rows.shape[1] - held.origin
    usable = _usable(horizons, available, origins)
    steps = usable[-1]
    starts = spread(held, steps, origins)
    histories, truth, first = split_at(held, starts, dataset.context, steps)
    # one column is scored in the user's units, several in standard deviations
    unit = scaler.scale if len(dataset.columns) == 1 else np.ones(len(dataset.columns))

    fitted = fit_baselines(dataset.train, dataset.covariates)
    if forecaster.remainder:
        fitted[LINEAR_PART] = _linear_part(forecaster.remainder.autoregression, forecaster.covariates)
    next_steps = _next_step_errors(forecaster, fitted, held, unit)

    def score(name: str, label: str, forecast: Array) -> Score:
        errors = {h: metrics.rmse(forecast[:, :h] * unit, truth[:, :h] * unit) for h in usable}
        return Score(label, next_steps.get(name), errors, scaler.invert(forecast))

    forecast = forecaster.rollout(histories, steps, first).astype(np.float64)
    model = score("network", "network", forecast)
    # baselines may read further back than the network does
    baselines = {
        name: score(
            name,
            baseline.label + (", the autoregressive component" if name == LINEAR_PART else ""),
            np.concatenate([baseline.forecast(held.rows[:, :start], steps) for start in starts]),
        )
        for name, baseline in fitted.items()
    }
    deviation = dataset.train.std(axis=(0, 1))
    deviation = np.where(deviation > 0, deviation, 1.0)
    verdict = judge(
        forecast,
        truth,
        deviation,
        model.rollout[steps],
        {baseline.label: baseline.rollout[steps] for baseline in baselines.values()},
        _echo(forecaster, held),
        {baseline.label: order for baseline in fitted.values() if (order := _linear_order(baseline))},
        forecaster.remainder.autoregression.order if forecaster.remainder else None,
    )
    finite = np.nan_to_num(forecast, posinf=0, neginf=0)
    shape = (metrics.amplitude_ratio, metrics.frequency_error, metrics.phase_error)
    amplitude, frequency, phase = (measure(finite, truth) if steps >= 8 else float("nan") for measure in shape)
    return Evaluation(
        model=model,
        baselines=baselines,
        truth=scaler.invert(truth),
        history=scaler.invert(histories),
        columns={
            name: {
                h: metrics.rmse(forecast[:, :h, f] * scaler.scale[f], truth[:, :h, f] * scaler.scale[f]) for h in usable
            }
            for f, name in enumerate(dataset.columns)
        },
        origins=starts,
        unit=unit / scaler.scale,
        beyond=sorted({h for h in horizons if h > available}),
        amplitude_ratio=amplitude,
        frequency_error=frequency,
        phase_error=phase,
        valid_horizon=metrics.valid_steps(forecast, truth, deviation),
        verdict=_advised(verdict, baselines, steps, sliding=forecaster.sliding is not None),
    )


def _usable(horizons: Sequence[int], available: int, origins: int) -> list[int]:
    """Return the horizons that are scored, in their order.

    Raises:
        InvalidError: with several origins, if all horizons are longer than what is available.
    """
    # one rollout goes as far as the truth does; several need room to start from
    usable = {min(h, available) for h in horizons} if origins == 1 else {h for h in horizons if h <= available}
    if not usable:
        raise InvalidError(
            f"--horizons: the shortest is {min(horizons)}, and the test part holds {available} steps after its first"
            " origin"
        )
    return sorted(usable)


def _advised(verdict: Verdict, baselines: Mapping[str, Score], steps: int, *, sliding: bool) -> Verdict:
    """Add to a verdict's advice what known periods and the kind of forecast have to do with it."""
    periods = baselines.get("periods")
    if verdict.advice and periods and periods.rollout[steps] * LEVEL >= baselines["mean"].rollout[steps]:
        verdict = replace(verdict, advice=f"{ADVICE_ON_PERIODS}; {verdict.advice}")
    if verdict.advice and sliding and "training.rollout.steps" in verdict.advice:
        verdict = replace(verdict, advice=f"{verdict.advice}; {ADVICE_ON_ROLLOUTS}")
    return verdict
