"""lstmcast: recurrent forecasters of quasi-periodic series, with gradients that can be checked.

    import lstmcast

    run = lstmcast.train("sine-waves")
    forecast = run.forecast(1000)

What is named here is public; importing the package loads none of it, and nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lstmcast.api import Run, load_config, load_run, train
    from lstmcast.config.schema import Config
    from lstmcast.errors import LstmcastError
    from lstmcast.experiment.forecast import Forecast
    from lstmcast.forecasting.evaluate import Evaluation
    from lstmcast.gradients.function import assert_gradients, check_gradients

__version__ = "0.1.0"
_HOMES = {
    "Config": "lstmcast.config.schema",
    "Evaluation": "lstmcast.forecasting.evaluate",
    "Forecast": "lstmcast.experiment.forecast",
    "LstmcastError": "lstmcast.errors",
    "Run": "lstmcast.api",
    "assert_gradients": "lstmcast.gradients.function",
    "check_gradients": "lstmcast.gradients.function",
    "load_config": "lstmcast.api",
    "load_run": "lstmcast.api",
    "train": "lstmcast.api",
}
__all__ = [
    "Config",
    "Evaluation",
    "Forecast",
    "LstmcastError",
    "Run",
    "__version__",
    "assert_gradients",
    "check_gradients",
    "load_config",
    "load_run",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'lstmcast' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Name what is public, for completion."""
    return sorted([*globals(), *_HOMES])
