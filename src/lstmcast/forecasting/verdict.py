"""One line that says how a forecast fails, if it does: measured, not guessed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from lstmcast.arrays import Array
from lstmcast.errors import counted
from lstmcast.forecasting import metrics

# a forecast that leaves this many standard deviations has left the signal
DIVERGED = 100.0
HOLDS = 0.2
# an error up to this many times the best baseline's is as good
ON_PAR = 1.1
# and within this factor either way nobody is ahead
LEVEL = 1.01
# below this share of the truth's variation an error asks for no change, even where a baseline has less
NEGLIGIBLE = 0.01
# and below this share of the truth's variation it knows something
INFORMED = 0.8
# a next step that moves away from the last value by less than this share of what the series does is a copy
ECHO = 0.1
# what to change in the config, by what is wrong
ADVICE = {
    "diverges": "lower optimizer.learning_rate or training.clip.norm, and train through rollouts:"
    " training.rollout.steps",
    "trails_baseline": "train longer (training.steps) and through longer rollouts (training.rollout.steps), or use the"
    " baseline",
    "echoes": "train longer (training.steps) or with a higher optimizer.learning_rate, and through rollouts, where a"
    " copy costs most: training.rollout.steps",
    "wrong_level": "train through rollouts (training.rollout.steps), and let more of a window be read before it"
    " counts: training.warmup",
    "collapsed": "lower optimizer.learning_rate if the loss has jumped, train longer (training.steps), and through"
    " rollouts: training.rollout.steps",
    "dies_out": "train through longer rollouts (training.rollout.steps) on longer windows (data.timesteps)",
    "blows_up": "train through longer rollouts (training.rollout.steps) with a lower training.clip.norm",
    "wrong_frequency": "give windows of several periods (data.timesteps), and train longer (training.steps)",
    "out_of_phase": "train through longer rollouts (training.rollout.steps) and to a lower learning rate"
    " (schedule.kind: cosine); periods that are known go to data.covariates",
    "inaccurate": "train through rollouts (training.rollout.steps), longer (training.steps), or a larger network"
    " (model.hidden_sizes); what is noise stays",
}
# where the network forecasts what an autoregression leaves: it cannot train through rollouts
ADVICE_BESIDE_AUTOREGRESSION = (
    "try {}, and keep the network small where little is left to forecast: kind adamw with a"
    " higher optimizer.weight_decay, fewer training.steps"
)
ADVICE_ON_ROLLOUTS = "rollouts need training.loss=every_step"
ADVICE_ON_PERIODS = "data.covariates.periods explain nothing of it: set them to the series' own periods, in rows"


@dataclass(frozen=True)
class Verdict:
    """What is wrong, in one word for scripts, in one line for people, and what to change in the config about it."""

    kind: str
    text: str
    advice: str | None


def judge(
    forecast: Array,
    truth: Array,
    scale: Array,
    model_rmse: float,
    baselines: Mapping[str, float],
    echo: float = float("nan"),
    orders: Mapping[str, int] = MappingProxyType({}),
    order: int | None = None,
) -> Verdict:
    """Judge a rollout ``(N, K, F)`` against the truth.

    Args:
        forecast: the rollout.
        truth: what came.
        scale: standard deviation of each feature of the training part, ``(F,)``.
        model_rmse: the rollout's RMSE over all K steps.
        baselines: label to RMSE over the same steps.
        echo: `metrics.echo` of the forecasts of the next step.
        orders: label to order, of those baselines that could be the autoregressive component of such a network.
        order: that of the autoregressive component which it has.
    """
    K = truth.shape[1]
    holds = metrics.valid_steps(forecast, truth, scale, HOLDS)
    label, best = min(baselines.items(), key=lambda item: item[1])
    kind, how = _failure(forecast, truth, scale, holds, echo, on_par=model_rmse <= ON_PAR * best)
    if best / LEVEL <= model_rmse <= best * LEVEL:
        beside = f"is level with {label}, the best baseline"
    elif model_rmse <= best:
        times = "over 1,000" if best > 1000 * model_rmse else f"{best / model_rmse:.3g}"
        beside = f"beats every baseline; the next is {label}, with {times} times its error"
    else:
        beside = f"trails {label}, which has {_share(best / model_rmse)} of its error"
        worse = [name for name, error in baselines.items() if error < model_rmse]
        beside += "; even a constant is better" if any(name.startswith("mean") for name in worse) else ""
        kind = "trails_baseline" if kind == "holds" else kind
    span = f"all {counted(K, 'step')}" if holds == K else f"{holds:,} of {counted(K, 'step')}"
    text = f"{how}; stays within {HOLDS:.0%} of the signal's standard deviation for {span}; {beside}"
    advice = ADVICE.get(kind)
    if kind == "trails_baseline":
        spread = metrics.rmse(truth / scale, truth.mean(axis=1, keepdims=True) / scale)
        if metrics.rmse(forecast / scale, truth / scale) < NEGLIGIBLE * spread:
            advice = None
    better = orders.get(label) if best < model_rmse else None
    if advice and order:
        another = f"model.autoregression={better}" if better and better != order else "another model.autoregression"
        advice = ADVICE_BESIDE_AUTOREGRESSION.format(another)
    # an autoregression that is exact belongs to a made-up series, on which nobody wants its help
    elif advice and better and NEGLIGIBLE * model_rmse < best:
        advice += (
            f"; or let the network forecast only what {label} leaves: model.autoregression={better},"
            " without training.rollout"
        )
    return Verdict(kind, text, advice)


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.01 else "less than 1%"


def _failure(forecast: Array, truth: Array, scale: Array, holds: int, echo: float, *, on_par: bool) -> tuple[str, str]:
    """Name the failure, the gravest first."""
    K = truth.shape[1]
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.abs((forecast - truth.mean(axis=1, keepdims=True)) / scale).max(axis=(0, 2))
    outside = ~(distance <= DIVERGED)
    if outside.any():
        step = int(outside.argmax()) + 1
        return "diverges", f"diverges: at step {step:,} it is {DIVERGED:.0f} standard deviations off"
    if holds == K:
        return "holds", "holds"
    error = metrics.rmse(forecast / scale, truth / scale)
    spread = metrics.rmse(truth / scale, truth.mean(axis=1, keepdims=True) / scale)
    if K >= 8 and on_par and error < INFORMED * spread:
        # noise alone can exceed what `holds` allows; nobody here forecasts it better
        return "on_par", f"is as good as any baseline, its error {error / spread:.0%} of the truth's variation"
    if echo < ECHO:
        return "echoes", (
            f"echoes the last value: one step ahead it moves away from it by {echo:.0%} of what the series does,"
            " no better than persistence"
        )
    if K < 8:
        return "inaccurate", "is inaccurate"
    half, quarter = K // 2, max(2, K // 4)
    late = metrics.amplitude_ratio(forecast[:, half:], truth[:, half:])
    early = metrics.amplitude_ratio(forecast[:, :quarter], truth[:, :quarter])
    away = float(np.median((forecast - truth)[:, half:].mean(axis=1) / scale))
    if error > spread and abs(away) > 1:
        return "wrong_level", f"runs off to a wrong level: its later half lies {away:+.1f} standard deviations off"
    if early < 0.1 and late < 0.1:
        return "collapsed", f"collapsed to a constant: its amplitude is {late:.0%} of the truth's"
    if late < 0.5 * early and late < 0.5:
        return "dies_out", f"dies out: its amplitude falls from {early:.0%} to {late:.0%} of the truth's"
    if late > 2 * early and late > 2:
        return "blows_up", f"blows up: its amplitude grows from {early:.0%} to {late:.0%} of the truth's"
    if 0.5 <= late <= 2:
        off, lead = metrics.frequency_error(forecast, truth), metrics.phase_error(forecast, truth)
        true = float(np.median(metrics.frequency(truth))) * 1000
        if true * K >= 3000 and abs(off) > 0.1 * true:
            return "wrong_frequency", f"has a wrong frequency: {true + off:.3g} cycles per 1,000 steps for {true:.3g}"
        if np.isfinite(lead) and abs(lead) > 0.03:
            return "out_of_phase", (
                f"drifts out of phase: its frequency is {off:+.2g} cycles per 1,000 steps off,"
                f" its phase {lead:+.2f} cycles at the end"
            )
    share = f"its error is {error / spread:.0%} of the truth's variation, " if spread else ""
    return "inaccurate", f"is inaccurate: {share}its amplitude is {late:.0%} of the truth's"
