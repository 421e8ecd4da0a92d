"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from lstmcast.forecasting.evaluate import Evaluation
from lstmcast.forecasting.tokens import TokenEvaluation
from lstmcast.reports.comparison import Comparison
from lstmcast.reports.records import Record


def number(value: float | None) -> str:
    """Write a number in four digits."""
    return "-" if value is None else f"{value:.4g}"


def of(evaluation: Evaluation | TokenEvaluation) -> Table:
    """Tabulate an evaluation of either sort."""
    return token_scores(evaluation) if isinstance(evaluation, TokenEvaluation) else scores(evaluation)


def scores(evaluation: Evaluation) -> Table:
    """Tabulate the network's errors beside the baselines'."""
    horizons = list(evaluation.model.rollout)
    unit = "" if len(evaluation.columns) == 1 else ", in standard deviations"
    origins, caption = evaluation.origins, ""
    if len(origins) > 1:
        apart = (origins[-1] - origins[0]) / (len(origins) - 1)
        caption = f" from {len(origins)} origins, {apart:.3g} steps apart"
    table = Table(title=f"RMSE on the test part{unit}, rollouts{caption}", title_justify="left")
    table.add_column("forecast")
    table.add_column("next step", justify="right")
    for h in horizons:
        table.add_column(f"rollout of {h:,}", justify="right")
    table.add_column("skill", justify="right")
    known = [s.next_step for s in (evaluation.model, *evaluation.baselines.values()) if s.next_step is not None]
    best_next = min(known, default=None)
    best = {h: min(score.rollout[h] for score in (evaluation.model, *evaluation.baselines.values())) for h in horizons}
    longest = max(horizons)
    skill = {name: _skill(said["skill"][str(longest)]) for name, said in evaluation.summary()["baselines"].items()}
    for name, score in {"": evaluation.model, **evaluation.baselines}.items():
        cells = [
            Text(number(error) + (" *" if error == best[h] else ""), style="bold" if error == best[h] else "")
            for h, error in score.rollout.items()
        ]
        next_step = number(score.next_step) + (" *" if score.next_step == best_next and len(known) > 1 else "")
        table.add_row(Text(score.label), next_step, *cells, skill.get(name, ""))
    table.caption = f"* the best of its column; skill: 1 - network's RMSE / the baseline's, rollout of {longest:,}"
    return table


def _skill(value: float | None) -> str:
    """Write a skill in few characters; how far below zero it is does not matter in the end."""
    return "-" if value is None else "< -9" if value < -9 else f"{value:.2f}"


def token_scores(evaluation: TokenEvaluation) -> Table:
    """Tabulate the network's cross-entropy beside the baselines'."""
    table = Table(title="next symbol on the test part", title_justify="left")
    table.add_column("forecast")
    for header in ("nats per symbol", "perplexity", "right"):
        table.add_column(header, justify="right")
    for score in (evaluation.model, *evaluation.baselines.values()):
        perplexity = score.as_json()["perplexity"]
        table.add_row(score.label, number(score.cross_entropy), number(perplexity), f"{score.accuracy:.1%}")
    return table


def listing(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    """Tabulate rows of text as they are."""
    table = Table()
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def runs(found: Sequence[Record], sort: str | None = None) -> Table:
    """Tabulate runs, one a line, with what they were sorted by in the place of their age."""
    asked = None if sort in ("status", "next_step.rmse", "rollout.rmse") else sort or "created"
    shown = [] if asked is None else ["created (UTC)" if asked == "created" else asked]
    headers = ("run", "status", *shown, "next step", "rollout @steps", "verdict", "made of")
    table = listing(headers, (_run_row(record, asked) for record in found))
    # names are copied and pasted, and numbers compared: those stay on one line
    for column in table.columns[:-2]:
        column.no_wrap = True
    for column in table.columns[-2:]:
        column.min_width = 9
    return table


def _run_row(record: Record, asked: str | None) -> list[str]:
    manifest = record.manifest
    rollout = (manifest.get("rollout") or {}).get("rmse") or {}
    last = list(rollout.items())[-1:] or [("", None)]
    next_step = manifest.get("next_step") or {}
    nats = next_step.get("cross_entropy")
    value = record.value(asked) if asked else None
    return [
        record.run.name,
        str(manifest.get("status", "?")),
        *([] if asked is None else [str(value or "")[:16].replace("T", " ") if asked == "created" else cell(value)]),
        f"{number(nats)} nats" if nats is not None else number(next_step.get("rmse")),
        f"{number(last[0][1])} @{int(last[0][0]):,}" if last[0][0] else "-",
        str(manifest.get("verdict_kind", "")).replace("_", " "),
        " ".join([str(manifest.get("config", "")), *map(str, manifest.get("overrides") or ())]).strip(),
    ]


def comparison(result: Comparison) -> Table:
    """Tabulate groups of runs over their seeds."""
    table = listing(("", "config", "seeds", "mean", "spread", "95% interval", "range"), ())
    table.title, table.title_justify = f"{result.metric}, mean over seeds", "left"
    table.caption = "* the best mean; spread: standard deviation over seeds; interval: bootstrap, of the mean"
    for group in result.groups:
        inside = group.interval
        table.add_row(
            group.letter,
            Text(group.label),
            str(len(group.seeds)),
            number(group.mean) + (" *" if group is result.best and len(result.groups) > 1 else ""),
            number(group.std),
            f"{number(inside[0])} to {number(inside[1])}" if inside else "-",
            f"{number(min(group.values))} to {number(max(group.values))}",
        )
    return table


def cell(value: Any) -> str:
    """Write any value of a config or a score."""
    return number(value) if value is None or isinstance(value, float) else str(value)
