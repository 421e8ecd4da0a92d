"""Pictures for a page: drawn from a run's files alone, as SVG that takes on the page's colours."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.files import read
from lstmcast.reports.plots import HISTORY, NETWORK, TRUTH, quiet_fonts, styles
from lstmcast.runs import MAX_FORECAST

# inches; on a phone's width the letters are still 9 px high
WIDTH = 6.2
# drawn in the page's own colours, which know light from dark
COLOURS = {"#000000": "currentColor", HISTORY: "currentColor", NETWORK: "var(--mark)"}
# a parameter whose largest value is this many times its least is drawn on a logarithmic axis
WIDE = 10.0
Series = dict[str, tuple[Array, Array]]


class _Plain(LogFormatter):
    """Labels where a logarithmic axis has them, as 0.9 and not as 9e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:.4g}" if super().__call__(x, pos) else ""


def svg(figure: Figure, description: str, targets: Mapping[str, str] | None = None) -> Markup:
    """Return a figure as SVG to stand in a page.

    Args:
        figure: what is drawn.
        description: said in its place to who cannot see it.
        targets: what the links in it lead to, by their address; shown where the mouse points.
    """
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if axis.get_scale() == "log":
                # plain numbers: formulas at the ticks would take a third of the time
                axis.set_major_formatter(_Plain())
                axis.set_minor_formatter(_Plain(labelOnlyBase=False))
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    context = rc_context({"svg.hashsalt": description, "svg.fonttype": "none", "path.simplify_threshold": 0.4})
    # an axis up to 1e300 has ticks beyond the numbers
    with context, np.errstate(over="ignore"), quiet_fonts():  # the browser has fonts of its own
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, name in COLOURS.items():
        text = text.replace(colour.lower(), name)
    # names of groups are of no use, and would stand twice in a page with two figures
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'(?<= d=")[^"]*', lambda path: re.sub(r"\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", path[0]), text)
    text = re.sub(r"<style.*?</style>", "", text, count=1, flags=re.DOTALL)  # it would hold for the whole page
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    head = f'<svg {box[0]} role="img" aria-label="{escape(description)}" xmlns="http://www.w3.org/2000/svg"'
    head += ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    text = head + f"<title>{escape(description)}</title>" + text[text.index(">") + 1 :]
    for address, name in (targets or {}).items():
        link = f'<a xlink:href="{escape(address)}" target="_blank">'
        text = text.replace(link, f'<a href="{escape(address)}"><title>{escape(name)}</title>')
    return Markup(text)


def _axes(height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(WIDTH, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, 1, squeeze=False)[:, 0])
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, axes


def resized(figure: Figure, height: float) -> Figure:
    """Fit a figure made for a file into a page."""
    figure.suptitle("")
    figure.set_size_inches(WIDTH, height)
    for ax in figure.axes:
        ax.tick_params(labelsize=8)
        for label in (ax.xaxis.label, ax.yaxis.label):
            label.set_fontsize(8)
    return figure


def read_forecast(path: Path) -> Series:
    """Read a run's rollout: for each series the forecast and the truth, ``(K,)`` each.

    Raises:
        InvalidError: if the file is damaged.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(read(path, MAX_FORECAST).decode(), newline="")):
            rows.setdefault(row["series"], []).append((float(row["value"]), float(row["truth"])))
    except (NotFoundError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise InvalidError(f"{path}: not readable as a rollout: {error!r}") from None
    arrays = {name: np.array(pairs).T for name, pairs in rows.items()}
    return {name: (pair[0], pair[1]) for name, pair in arrays.items()}


def rollout(series: Series, most: int) -> Figure:
    """Draw the first ``most`` series' rollouts over what came."""
    shown = list(series.items())[:most]
    figure, axes = _axes(1.5, len(shown))
    for ax, (name, (forecast, truth)) in zip(axes, shown, strict=True):
        steps = np.arange(1, len(truth) + 1)
        ax.plot(steps, truth, color=TRUTH, lw=2.2, label="true continuation")
        ax.plot(steps, forecast, color=NETWORK, lw=1.1, label="network, on its own predictions")
        low, high = float(truth.min()), float(truth.max())
        margin = 0.6 * (high - low) or 1.0
        ax.set_ylim(low - margin, high + margin)
        ax.set_ylabel(f"series {name}" if name.isdigit() else name, fontsize=8, parse_math=False)
    axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="upper right")
    axes[-1].set_xlabel("steps after the last input", fontsize=8)
    return figure


def horizon(network: Mapping[str, float | None], baselines: Mapping[str, Mapping[str, float | None]]) -> Figure:
    """Draw the error over the first h steps against h, beside the baselines; one that is not finite is left out."""
    columns = 2
    rows = -(-(len(baselines) + 1) // columns)
    figure, (ax,) = _axes(2.6 + 0.18 * rows)

    def line(label: str, errors: Mapping[str, float | None], **style: Any) -> None:
        # an error of zero has no place on a logarithmic axis
        points = [(int(h), error) for h, error in errors.items() if error]
        if points:
            ax.plot(*zip(*points, strict=True), label=label, **style)

    for (label, errors), style in zip(baselines.items(), styles(), strict=False):
        line(label, errors, lw=1, marker=".", ms=5, **style)
    line("network", network, color=NETWORK, lw=2, marker="o", ms=4)
    ax.set_xscale("log")
    if ax.lines:
        ax.set_yscale("log")
        # below the axes: the curves may be anywhere in them
        figure.legend(frameon=False, fontsize=8, ncols=columns, loc="outside lower center")
    ax.set_xlabel("horizon h, steps", fontsize=8)
    ax.set_ylabel("RMSE over steps 1 to h", fontsize=8)
    return figure


def scatter(values: Sequence[Any], scores: Sequence[float], links: Sequence[str], labels: tuple[str, str]) -> Figure:
    """Draw a parameter's values against the scores, each point a link."""
    figure, (ax,) = _axes(2.4)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers:
        x = np.array(values, dtype=float)
        if x.min() > 0 and x.max() / x.min() >= WIDE:
            ax.set_xscale("log")
    else:
        names = sorted({str(value) for value in values})
        x = np.array([names.index(str(value)) for value in values], dtype=float)
        ax.set_xticks(range(len(names)), [name[:24] for name in names], parse_math=False)
        ax.set_xlim(-0.5, len(names) - 0.5)
    y = np.array(scores, dtype=float)
    points = ax.scatter(x, y, s=36, color=NETWORK, alpha=0.7, linewidths=0)
    points.set_urls(list(links))
    if (y > 0).all() and y.max() / y.min() >= WIDE:
        ax.set_yscale("log")
    ax.set_xlabel(labels[0], fontsize=8, parse_math=False)
    ax.set_ylabel(labels[1], fontsize=8, parse_math=False)
    return figure
