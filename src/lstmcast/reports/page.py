"""Reports as one HTML file each: no network, no cookies, nothing that needs JavaScript to be read."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lstmcast.errors import LstmcastError, counted
from lstmcast.files import read
from lstmcast.reports import figures, plots
from lstmcast.reports.comparison import DONE, compare, differing
from lstmcast.reports.records import Record, badness, more_is_better
from lstmcast.reports.tables import cell, number
from lstmcast.runs import MAX_MANIFEST

# trials beyond these, the best by the metric, are shown without pictures
MAX_PICTURED = 60
MAX_SCATTERS = 12
# of a loss curve in the page
MAX_POINTS = 1000


@dataclass(frozen=True)
class Picture:
    """A figure and what is said under it."""

    image: Markup
    caption: str


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("lstmcast.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["cell"] = cell
    script = files("lstmcast.reports").joinpath("templates", "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(script=Markup(script), script_hash=digest)
    return environment


def run_page(record: Record) -> str:
    """Return a run's report, made from the files in its folder alone."""
    return _environment().get_template("run.html").render(title=record.run.name, body=_body(record, series=6))


def sweep_page(title: str, records: Sequence[Record], metric: str, planned: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return the report of many runs: a table, each parameter against the score, and each run.

    Args:
        title: the sweep's name.
        records: the runs.
        metric: the score that they are ranked by.
        planned: a sweep's trials, each with its number, status and reason; those that failed are named.

    Raises:
        UsageError: if no run has the metric.
        InvalidError: if no run has a final score.
    """
    comparison = compare(records, metric, ranked=True)

    def place(record: Record) -> tuple[bool, bool, float, str]:
        score = record.score(metric) if record.manifest.get("status") in DONE else None
        return score is None, record.diverged, 0.0 if score is None else badness(metric, score), record.run.name

    ranked = sorted(records, key=place)
    keys = differing([record.settings for record in ranked])
    horizons = sorted({h for record in ranked for h in _horizons(record)}, key=int)
    rollouts = [f"rollout.rmse@{h}" for h in horizons]
    tokens = any(record.value("next_step.cross_entropy") is not None for record in ranked)
    scores = [metric, "next_step.cross_entropy" if tokens else "next_step.rmse", *rollouts]
    scores = list(dict.fromkeys(scores))
    trials = [
        {
            "anchor": f"trial-{index}",
            "record": record,
            "parameters": [record.settings.get(key) for key in keys],
            "scores": [record.value(key) for key in scores],
            "body": _body(record, series=2, pictured=index <= MAX_PICTURED),
        }
        for index, record in enumerate(ranked, start=1)
    ]
    return (
        _environment()
        .get_template("sweep.html")
        .render(
            title=title,
            metric=metric,
            failed=[trial for trial in planned if trial.get("status") == "failed"],
            waiting=sum(trial.get("status") == "waiting" for trial in planned),
            order="descending" if more_is_better(metric) else "ascending",
            comparison=comparison,
            seeds=max(len(group.runs) for group in comparison.groups),
            keys=keys,
            names=_short(keys),
            scores=[score.replace("rollout.rmse@", "rollout@") for score in scores],
            trials=trials,
            best=next((trial for trial in trials if comparison.best and trial["record"] in comparison.best.runs), None),
            scatters=_scatters(ranked, [*keys, *(["seed"] if not keys else [])], metric),
        )
    )


def _horizons(record: Record) -> list[str]:
    return [str(h) for h in ((record.manifest.get("rollout") or {}).get("rmse") or {})]


def _short(keys: Sequence[str]) -> list[str]:
    """Return the last part of each key, or the whole where that is not enough to tell them apart."""
    last = [key.rpartition(".")[2] for key in keys]
    return [key if last.count(end) > 1 or end == "kind" else end for key, end in zip(keys, last, strict=True)]


def _scatters(ranked: Sequence[Record], keys: Sequence[str], metric: str) -> list[Picture]:
    scored = [
        (f"#trial-{index}", record, score)
        for index, record in enumerate(ranked, start=1)
        if record.manifest.get("status") == "finished" and np.isfinite(score := _number(record.score(metric)))
    ]
    pictures = []
    for key in keys[:MAX_SCATTERS]:
        # where a key belongs to some configs only, as with kinds, the others have no place
        points = [(*point, value) for point in scored if (value := point[1].settings.get(key)) is not None]
        if len({str(value) for *_, value in points}) < 2:
            continue
        links, _, scores, values = zip(*points, strict=True)
        figure = figures.scatter(values, scores, links, (key, metric))
        span = f"from {number(min(scores))} to {number(max(scores))}"
        targets = {link: f"{r.run.name}: {cell(value)}, {number(score)}" for link, r, score, value in points}
        image = figures.svg(figure, f"{metric} of {len(points)} runs against {key}: {span}", targets)
        pictures.append(Picture(image, f"{metric} against {key}; each point a finished run"))
    return pictures


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _body(record: Record, *, series: int, pictured: bool = True) -> dict[str, Any]:
    """Gather what the template shows of one run."""
    config = ""
    with suppress(LstmcastError, UnicodeDecodeError):
        config = read(record.run.config, MAX_MANIFEST).decode()
    return {
        "manifest": record.manifest,
        "facts": _facts(record.manifest),
        "table": _table(record.manifest),
        "pictures": _pictures(record, series) if pictured else [],
        "config": config,
    }


def _facts(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    facts: dict[str, Any] = {key: manifest.get(key) for key in ("status", "reason", "seed", "steps")}
    facts["time"] = f"{manifest['seconds']:.1f} s" if isinstance(manifest.get("seconds"), int | float) else None
    facts["created"] = str(manifest.get("created", ""))[:19].replace("T", " ") or None
    facts["config"] = manifest.get("config")
    facts["overrides"] = " ".join(map(str, manifest.get("overrides") or ())) or None
    versions = manifest.get("versions") or {}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items()) or None
    return [(name, str(value)) for name, value in facts.items() if value is not None]


def _table(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """Return the scores beside the baselines: heads, and rows of a label and numbers, the best of a column marked."""
    if not manifest.get("next_step"):
        return None
    baselines = manifest.get("baselines") or {}
    sides = {"network": manifest} | {str(side.get("label", name)): side for name, side in baselines.items()}
    heads: dict[str, tuple[str, ...]]
    if "cross_entropy" in manifest["next_step"]:
        heads = {"nats per symbol": ("next_step", "cross_entropy"), "perplexity": ("next_step", "perplexity")}
    else:
        heads = {"next step": ("next_step", "rmse")}
        heads |= {
            f"rollout of {int(h):,}": ("rollout", "rmse", h) for h in (manifest.get("rollout") or {}).get("rmse") or ()
        }

    def find(side: Any, path: tuple[str, ...]) -> float | None:
        for part in path:
            side = (side or {}).get(part)
        return side if isinstance(side, int | float) else None

    columns = [[find(side, path) for side in sides.values()] for path in heads.values()]
    best = [min((value for value in column if value is not None), default=None) for column in columns]
    rows = [
        (label, [(c[i], c[i] is not None and c[i] == top) for c, top in zip(columns, best, strict=True)])
        for i, label in enumerate(sides)
    ]
    return {"heads": list(heads), "rows": rows}


def _pictures(record: Record, series: int) -> list[Picture]:
    manifest, run, pictures = record.manifest, record.run, []
    rmse = (manifest.get("rollout") or {}).get("rmse") or {}
    if run.forecast.exists() and (forecast := figures.read_forecast(run.forecast)):
        steps = max(len(truth) for _, truth in forecast.values())
        error = f"; its RMSE is {number(list(rmse.values())[-1])}" if rmse else ""
        shown = f"{series} of {len(forecast)} series" if len(forecast) > series else "the test part"
        description = (
            f"Rollout of {run.name} over {counted(steps, 'step')} of {shown}, beside the true continuation{error}"
        )
        caption = f"The network on its own predictions for {counted(steps, 'step')} of {shown}"
        pictures.append(Picture(figures.svg(figures.rollout(forecast, series), description), caption))
    if rmse:
        baselines = {
            b.get("label", n): (b.get("rollout") or {}).get("rmse") or {}
            for n, b in (manifest.get("baselines") or {}).items()
        }
        errors = ", ".join(f"{number(error)} over {int(h):,}" for h, error in rmse.items())
        description = f"Error of {run.name} against horizon: {errors} steps"
        caption = "Error against horizon, beside the baselines"
        pictures.append(Picture(figures.svg(figures.horizon(rmse, baselines), description), caption))
    if run.metrics.exists() and (metrics := run.read_metrics()):
        kind = "cross-entropy, nats" if "cross_entropy" in (manifest.get("next_step") or {}) else "mean squared error"
        first, last = (number(metrics[i].get("loss")) for i in (0, -1))
        description = f"Training loss of {run.name}: {first} at the first of {len(metrics):,} steps, {last} at the last"
        rollouts_from = manifest.get("rollouts_from") or ()
        figure = figures.resized(plots.loss(metrics, run.name, kind, MAX_POINTS, rollouts_from), 3.4)
        pictures.append(Picture(figures.svg(figure, description), "Training loss and learning rate"))
    return pictures
