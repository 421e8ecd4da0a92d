"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from lstmcast.forecasting.evaluate import Evaluation
from lstmcast.forecasting.tokens import TokenEvaluation


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
    starts = len(evaluation.origins)
    caption = "" if starts == 1 else f" from {starts} origins"
    table = Table(title=f"RMSE on the test part{unit}, rollouts{caption}", title_justify="left")
    table.add_column("forecast")
    table.add_column("next step", justify="right")
    for h in horizons:
        table.add_column(f"rollout of {h:,}", justify="right")
    known = [s.next_step for s in (evaluation.model, *evaluation.baselines.values()) if s.next_step is not None]
    best_next = min(known, default=None)
    best = {h: min(score.rollout[h] for score in (evaluation.model, *evaluation.baselines.values())) for h in horizons}
    for score in (evaluation.model, *evaluation.baselines.values()):
        cells = [
            Text(number(error) + (" *" if error == best[h] else ""), style="bold" if error == best[h] else "")
            for h, error in score.rollout.items()
        ]
        next_step = number(score.next_step) + (" *" if score.next_step == best_next and len(known) > 1 else "")
        table.add_row(Text(score.label), next_step, *cells)
    table.caption = "* the best of its column"
    return table


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


def run_row(name: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return a run's line in the list of runs."""
    rollout = (manifest.get("rollout") or {}).get("rmse") or {}
    last = list(rollout.items())[-1:] or [("", None)]
    return [
        name,
        str(manifest.get("status", "?")),
        str(manifest.get("created", ""))[:19].replace("T", " "),
        str(manifest.get("steps", "")),
        number((manifest.get("next_step") or {}).get("rmse")),
        f"{number(last[0][1])} ({int(last[0][0]):,} steps)" if last[0][0] else "-",
        str(manifest.get("verdict_kind", "")).replace("_", " "),
    ]
