"""The pictures: each function returns a matplotlib figure, made without pyplot and without a display."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lstmcast.arrays import Array
from lstmcast.data.time_axis import Clock
from lstmcast.errors import InvalidError, UsageError, counted
from lstmcast.files import write
from lstmcast.forecasting.evaluate import Evaluation

# Okabe and Ito's colours, told apart by all eyes; wine in the place of yellow, which is lost on white
TRUTH, NETWORK, HISTORY = "#999999", "#0072B2", "#333333"
OTHERS = ("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#882255")
# told apart from the network's line, which is solid
DASHES = (":", "--", "-.")
MAX_SERIES = 6
# letters that fit side by side below the axes
WIDTH = 110
MAX_POINTS = 20_000


@contextmanager
def quiet_fonts(warn: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Say once which characters the fonts lack, where matplotlib would for each and each time."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", "Glyph .* missing from")
        yield
    found = [match for warning in caught if (match := re.match(r"Glyph (\d+)", str(warning.message)))]
    missing = "".join(dict.fromkeys(chr(int(match[1])) for match in found))
    if missing:
        warn(f"the picture has boxes for {missing}: its font lacks them; name one that has them in a matplotlibrc")


def save(figure: Figure, path: Path, warn: Callable[[str], None] = lambda _: None) -> None:
    """Write a figure in the format of the path's ending: png, svg or pdf; ``warn`` of characters that no font has.

    Raises:
        UsageError: if the ending is another.
        UnwritableError: if the file cannot be written.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("png", "svg", "pdf"):
        raise UsageError(f"{path}: a plot's name must end in .png, .svg or .pdf")
    buffer = io.BytesIO()
    # no date in the file: the same figure gives the same bytes
    metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind, {})
    # an axis up to 1e300 has ticks beyond the numbers
    with rc_context({"svg.hashsalt": "lstmcast"}), np.errstate(over="ignore"), quiet_fonts(warn):
        figure.savefig(buffer, format=kind, dpi=120, metadata=metadata)
    write(path, buffer.getvalue())


def _figure(rows: int, title: str, height: float = 2.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(10, 1 + height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    figure.suptitle(title, fontsize=11)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def styles() -> Iterator[dict[str, Any]]:
    """Yield styles of lines, without end; the first 18 differ."""
    for dash, color in cycle(product(DASHES, OTHERS)):
        yield {"color": color, "ls": dash}


def _thin(length: int, points: int = MAX_POINTS) -> slice:
    return slice(None, None, max(1, -(-length // points)))


def loss(
    metrics: Sequence[Mapping[str, Any]],
    title: str,
    name: str = "mean squared error",
    points: int = MAX_POINTS,
    rollouts_from: Sequence[int | None] = (),
) -> Figure:
    """Draw the loss, its running median, the validation metric and the learning rate, step by step.

    Args:
        metrics: the lines of ``metrics.jsonl``.
        title: the run's name.
        name: what the loss is.
        points: the most steps that are drawn.
        rollouts_from: for each stage the step in it at which it begins to read the network's own predictions, or None.

    Raises:
        InvalidError: if a step lacks one of these.
    """
    figure, (ax, below) = _figure(2, f"{title}: training loss")
    try:
        steps, values, rates = (
            np.array([record[key] for record in metrics], dtype=float) for key in ("step", "loss", "learning_rate")
        )
        stages = np.array([record.get("stage", 0) for record in metrics], dtype=int)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidError(f"metrics.jsonl of {title}: damaged: {error!r}") from None
    thin = _thin(len(steps), points)
    ax.plot(steps[thin], values[thin], color=NETWORK, lw=0.8, alpha=0.5, label="loss of each batch")
    if len(values) >= 50:
        width = len(values) // 25
        medians = [
            float(np.median(values[start : start + width])) for start in range(0, len(values) - width + 1, width)
        ]
        middles = steps[width // 2 :: width][: len(medians)]
        ax.plot(middles, medians, color=HISTORY, lw=1.5, label=f"median of {width} steps")
    validated = [(record["step"], record["validation"]) for record in metrics if record.get("validation") is not None]
    if validated:
        beside = ax.twinx()
        beside.plot(*zip(*validated, strict=True), color=OTHERS[3], marker="o", ms=3, lw=1, label="validation metric")
        beside.set_ylabel("validation metric", color=OTHERS[3])
    begins = [0, *(np.flatnonzero(np.diff(stages)) + 1)]
    ends = [*begins[1:], len(steps)]
    rollouts = [
        begin + step
        for begin, end, step in zip(begins, ends, rollouts_from, strict=False)
        if step is not None and 0 < begin + step < end
    ]
    for marked in (ax, below):
        for begin in begins[1:]:
            label = "next stage" if begin == begins[1] else None
            marked.axvline(begin, color=HISTORY, lw=0.8, ls="--", label=label)
        for rollout_begin in rollouts:
            label = "rollouts begin" if rollout_begin == rollouts[0] else None
            marked.axvline(rollout_begin, color=HISTORY, lw=0.8, ls=":", label=label)
    if (values > 0).any():
        ax.set_yscale("log")
    ax.set_ylabel(name)
    ax.legend(frameon=False, fontsize=8)
    below.plot(steps[thin], rates[thin], color=OTHERS[1], lw=1)
    below.set_ylabel("learning rate")
    below.set_xlabel("optimizer step")
    return figure


def _labels(count: int, columns: tuple[str, ...]) -> list[tuple[int, int, str]]:
    labels = [
        (n, f, column if count == 1 else f"{column}, series {n}")
        for n in range(count)
        for f, column in enumerate(columns)
    ]
    return labels[:MAX_SERIES]


def _unit(evaluation: Evaluation) -> str:
    """Name the unit of scores where it is not that of the values."""
    return "" if len(evaluation.columns) == 1 else ", in standard deviations"


def _axis_limits(ax: Axes, *arrays: Array) -> None:
    """Show the truth's range and half as much around it: a diverging forecast must not hide it."""
    low = min(float(array.min()) for array in arrays)
    high = max(float(array.max()) for array in arrays)
    margin = 0.6 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)


def _tell_time(axes: Sequence[Axes], clock: Clock | None, last: int) -> None:
    """Count the steps after the one that is ``last`` known, or tell their times."""
    axes[-1].set_xlabel("steps after the last known value" if clock is None else "time")
    if clock is None:
        return
    room = min(8, WIDTH // (len(clock.text) + 2))
    for ax in axes:
        ax.xaxis.set_major_locator(MaxNLocator(room, integer=True))
        ax.xaxis.set_major_formatter(lambda step, _: clock.write(last + round(step)))


def rollout(evaluation: Evaluation, columns: tuple[str, ...], title: str, clock: Clock | None = None) -> Figure:
    """Draw the rollout with the true continuation past the end of the inputs."""
    truth, forecast = evaluation.truth, evaluation.model.forecast
    labels = _labels(len(truth), columns)
    best = min(evaluation.baselines.values(), key=lambda score: list(score.rollout.values())[-1])
    ours, theirs = (list(score.rollout.values())[-1] for score in (evaluation.model, best))
    errors = f"RMSE over {counted(truth.shape[1], 'step')}{_unit(evaluation)}: {ours:.2g}; {best.label}: {theirs:.2g}"
    figure, axes = _figure(len(labels), f"{title}\n{errors}")
    steps = np.arange(1, truth.shape[1] + 1)
    shown = min(evaluation.history.shape[1], max(50, truth.shape[1] // 4))
    past = np.arange(-shown + 1, 1)
    for ax, (n, f, label) in zip(axes, labels, strict=True):
        history = evaluation.history[n, -shown:, f]
        ax.plot(past, history, color=HISTORY, lw=1.2, label="inputs")
        ax.plot(steps, truth[n, :, f], color=TRUTH, lw=2.5, label="true continuation")
        ax.plot(steps, best.forecast[n, :, f], color=OTHERS[0], lw=1, ls=":", label=f"best baseline: {best.label}")
        ax.plot(steps, forecast[n, :, f], color=NETWORK, lw=1.2, ls="--", label="network, on its own predictions")
        ax.axvline(0.5, color=HISTORY, lw=0.8)
        _axis_limits(ax, history, truth[n, :, f])
        ax.set_ylabel(label, fontsize=8)
    axes[0].legend(frameon=False, fontsize=8, ncols=4, loc="upper right")
    _tell_time(axes, clock, evaluation.origins[0] - 1)
    return figure


def horizon(evaluation: Evaluation, title: str) -> Figure:
    """Draw the error over the first h steps against h, beside the baselines."""
    figure, (ax,) = _figure(1, f"{title}: error against horizon", height=4)
    truth = evaluation.truth
    h = np.arange(1, truth.shape[1] + 1)

    def curve(forecast: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            squares = np.mean(((forecast - truth) * evaluation.unit) ** 2, axis=(0, 2))
            errors: Array = np.sqrt(np.cumsum(squares) / h)
        return np.where(errors > 0, errors, np.nan)

    for score, style in zip(evaluation.baselines.values(), styles(), strict=False):
        ax.plot(h, curve(score.forecast), lw=1, label=score.label, **style)
    ax.plot(h, curve(evaluation.model.forecast), color=NETWORK, lw=1.8, label="network")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("horizon h, steps")
    ax.set_ylabel(f"RMSE over steps 1 to h{_unit(evaluation)}")
    # below the axes: the curves may be anywhere in them
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside lower center")
    return figure


def phase(evaluation: Evaluation, columns: tuple[str, ...], title: str) -> Figure:
    """Draw value against change, of the truth and of the rollout: a closed curve that holds stays closed."""
    truth, forecast = evaluation.truth, evaluation.model.forecast
    labels = _labels(len(truth), columns)[:3]
    figure = Figure(figsize=(4 * len(labels), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}: phase portrait", fontsize=11)
    for ax, (n, f, label) in zip(figure.subplots(1, len(labels), squeeze=False)[0], labels, strict=True):
        for values, color, width, name in ((truth, TRUTH, 3.0, "truth"), (forecast, NETWORK, 0.8, "network")):
            series = values[n, :, f]
            with np.errstate(invalid="ignore", over="ignore"):
                change = np.diff(series)
            ax.plot(series[:-1], change, color=color, lw=width, label=name)
        _axis_limits(ax, np.diff(truth[n, :, f]))
        ax.set_xlim(*(truth[n, :, f].mean() + s * (np.ptp(truth[n, :, f]) or 1.0) for s in (-1.1, 1.1)))
        ax.set_xlabel(label)
        ax.set_ylabel("change to the next step")
        ax.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


def gates(traced: Mapping[str, Array], title: str) -> Figure:
    """Draw gates and states over time, each unit a row of an image; ``traced`` maps names to ``(T, H)``."""
    figure, axes = _figure(len(traced), f"{title}: gates and states along the test inputs", height=1.1)
    for ax, (name, values) in zip(axes, traced.items(), strict=True):
        reach = 1.0 if not name.endswith(" c") else max(1.0, float(np.abs(values).max()))
        # gates are open or shut, states have a sign
        gate = name.rpartition(" ")[2] in ("i", "f", "o", "r", "z")
        low, colors = (0.0, "viridis") if gate else (-reach, "RdBu_r")
        image = ax.imshow(values.T, aspect="auto", cmap=colors, vmin=low, vmax=reach, interpolation="nearest")
        figure.colorbar(image, ax=ax, pad=0.01)
        ax.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
        ax.set_yticks([])
        ax.tick_params(labelsize=7)
    axes[-1].set_xlabel("step")
    return figure


def forecast(
    history: Array,
    values: Array,
    columns: tuple[str, ...],
    title: str,
    level: float | None = None,
    clock: Clock | None = None,
) -> Figure:
    """Draw a forecast ``(N, K, F, 1)`` after the end of ``history`` (N, T, F), whose first row is the clock's.

    With the band that holds the truth with probability ``level`` the forecast is ``(N, K, F, 3)``.
    """
    labels = _labels(len(values), columns)
    figure, axes = _figure(len(labels), f"{title}: forecast of {counted(values.shape[1], 'step')}")
    shown = min(history.shape[1], max(50, values.shape[1] // 2))
    for ax, (n, f, label) in zip(axes, labels, strict=True):
        ax.plot(np.arange(-shown + 1, 1), history[n, -shown:, f], color=HISTORY, lw=1.2, label="known")
        thin = _thin(values.shape[1])
        steps = np.arange(1, values.shape[1] + 1)
        ax.plot(steps[thin], values[n, :, f, 0][thin], color=NETWORK, lw=1.2, ls="--", label="network")
        if level is not None:
            low, high, name = values[n, :, f, 1], values[n, :, f, 2], f"{100 * level:g} % interval"
            ax.fill_between(steps[thin], low[thin], high[thin], color=NETWORK, alpha=0.2, lw=0, label=name)
        ax.axvline(0.5, color=HISTORY, lw=0.8)
        ax.set_ylabel(label, fontsize=8)
    # above the axes: a forecast may be anywhere in them
    axes[0].legend(frameon=False, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    _tell_time(axes, clock, history.shape[1] - 1)
    return figure
