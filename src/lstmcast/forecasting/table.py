"""Forecasts as tables of text."""

from __future__ import annotations

import numpy as np

from lstmcast.forecasting.evaluate import Evaluation


def rollout_csv(evaluation: Evaluation, columns: tuple[str, ...]) -> str:
    """Write the rollout over the test part beside the truth, as CSV, in the user's units."""
    lines = ["series,step,value,truth"]
    forecast = evaluation.model.forecast
    for n, f in np.ndindex(forecast.shape[0], forecast.shape[2]):
        label = series_label(n, f, forecast.shape[0], columns)
        lines += [
            f"{label},{step},{float(value)!r},{float(true)!r}"
            for step, (value, true) in enumerate(
                zip(forecast[n, :, f], evaluation.truth[n, :, f], strict=True), start=1
            )
        ]
    return "\n".join(lines) + "\n"


def series_label(n: int, f: int, sequences: int, columns: tuple[str, ...]) -> str:
    """Name a series in a table: by its row, its column, or both, quoted for CSV where needed."""
    parts = ([str(n)] if sequences > 1 else []) + ([columns[f]] if len(columns) > 1 or sequences == 1 else [])
    label = ":".join(parts)
    return '"' + label.replace('"', '""') + '"' if set(label) & set(',"\n\r') else label
