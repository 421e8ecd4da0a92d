"""Forecasts as tables of text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import numpy as np

from lstmcast.data.time_axis import Clock
from lstmcast.forecasting.evaluate import Evaluation


def rollout_csv(evaluation: Evaluation, columns: tuple[str, ...], clock: Clock | None = None) -> str:
    """Write the rollout over the test part beside the truth, as CSV, in the user's units."""
    forecast, before = evaluation.model.forecast, evaluation.origins[0] - 1
    text = f"series,step,value,truth{',time' if clock else ''}\n"
    for n, f in np.ndindex(forecast.shape[0], forecast.shape[2]):
        label = series_label(n, f, forecast.shape[0], columns)
        pairs = np.stack([forecast[n, :, f], evaluation.truth[n, :, f]], axis=1).tolist()
        text += csv_rows(
            (label, step, *pair, *([clock.write(before + step)] if clock else []))
            for step, pair in enumerate(pairs, start=1)
        )
    return text


def csv_rows(rows: Iterable[Iterable[object]]) -> str:
    """Write rows as CSV; numbers so that they read back the same."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def series_label(n: int, f: int, sequences: int, columns: tuple[str, ...]) -> str:
    """Name a series in a table: by its row, its column, or both."""
    parts = ([str(n)] if sequences > 1 else []) + ([columns[f]] if len(columns) > 1 or sequences == 1 else [])
    return ":".join(parts)
