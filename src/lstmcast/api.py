"""The package from Python: train, load a run, forecast, evaluate; see ``docs/how-do-i-use-it-from-python.md``."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmcast import runs
from lstmcast.config.load import load
from lstmcast.config.schema import Config
from lstmcast.errors import UsageError
from lstmcast.experiment.forecast import Forecast, prepare, whole
from lstmcast.experiment.own_data import series_of
from lstmcast.experiment.trained import TrainedTokens, load_forecaster, load_trained
from lstmcast.forecasting.evaluate import HORIZONS, Evaluation
from lstmcast.forecasting.tokens import TokenEvaluation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lstmcast.experiment.picture import Kind
    from lstmcast.training.trainer import Record


def load_config(config: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Load a config file or a shipped config.

    Args:
        config: a YAML file, or the name of a shipped config.
        overrides: dotted keys and values that take the place of the file's: ``{"optimizer.learning_rate": 1e-3}``.

    Raises:
        NotFoundError: if there is no such config.
        UsageError: if what an override sets is wrong.
        InvalidError: if the file is wrong; the message lists everything, with file and line.
    """
    return load(str(config), [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()])


def train(
    config: Config | str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    name: str | None = None,
    output_dir: str | Path = "outputs",
    max_time: float | None = None,
    on_step: Callable[[Record], None] = lambda _: None,
) -> Run:
    """Train a network, score it beside the baselines, and keep everything in a run folder.

    Ctrl-C stops it with everything saved; `Run.resume` continues. Results are those of ``lstmcast train``, to the byte
    where as many threads compute (the command sets ``OMP_NUM_THREADS=1``).

    Args:
        config: a config, or what `load_config` takes.
        overrides: as those of `load_config`.
        name: of the run; None: the config's name and the time.
        output_dir: the folder of all runs.
        max_time: seconds after which to stop and save; None: no limit.
        on_step: called after each training step with its record: step, loss, learning rate, seconds.

    Returns:
        The run. Its ``status`` is "finished", "stopped" or "diverged"; of the last two a warning tells.

    Raises:
        LstmcastError: if anything in the config or the data is wrong, or the folder cannot be written.
    """
    from lstmcast.experiment.train_run import Training

    if name is not None:
        runs.check_name(name)
    if isinstance(config, Config):
        if overrides:
            raise UsageError("train: overrides go to load_config, where the config comes from")
        settings, stem = config, "run"
    else:
        settings, stem = load_config(config, overrides), Path(config).stem
    given = [f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items()]
    return _execute(Training(settings), Path(output_dir), name, stem, max_time, on_step, given)


def load_run(reference: str | Path = runs.LATEST, output_dir: str | Path = "outputs") -> Run:
    """Load a run by its path, by its name in ``output_dir``, or the latest.

    Raises:
        NotFoundError: if there is none.
    """
    return Run(runs.find(str(reference), Path(output_dir)).path)


class Run:
    """A trained network in its run folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        """Name its folder and what became of it."""
        return f"<lstmcast run {self.path}: {self.status}>"

    @property
    def summary(self) -> dict[str, Any]:
        """What became of the run, as in ``run.json``: status, steps, seconds, scores, verdict.

        Raises:
            InvalidError: if the file is damaged.
        """
        return self._folder.read_manifest()

    @property
    def status(self) -> str:
        """Finished, stopped, diverged or running."""
        return str(self.summary.get("status"))

    @property
    def config(self) -> Config:
        """The config, with all defaults."""
        return load(str(self._folder.config))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One mapping for each training step: step, loss, learning_rate, seconds and what else was measured."""
        return self._folder.read_metrics()

    def forecast(
        self,
        steps: int = 1000,
        *,
        data: Any = None,
        columns: Sequence[str] | None = None,
        interval: float | None = None,
        samples: int | None = None,
    ) -> Forecast:
        """Forecast past the end of the run's series, or of another one.

        Args:
            steps: how many.
            data: what to continue instead: the path of a CSV file, a pandas frame or series (a DatetimeIndex gives the
                times), or an array ``(L,)`` or ``(L, F)``; in the units of the training data.
            columns: of a file or a frame, one for each of the run's; None: those of the run's own names.
            interval: the probability with which bands are to hold the truth, between 0 and 1; None: no bands.
            samples: paths drawn from a categorical network; None: 100.

        Returns:
            The forecast: ``values`` (N, steps, F) in the units of the data, ``lower``, ``upper``, ``times``,
            ``to_frame()`` for pandas, ``plot()`` for matplotlib.

        Raises:
            UsageError: if an argument makes no sense, or too little is known to calibrate the bands.
            InvalidError: if the data do not fit the run.
        """
        if steps < 1:
            raise UsageError(f"steps {steps}: must be 1 or more")
        if interval is not None and not 0 < interval < 1:
            raise UsageError(f"interval {interval}: must lie between 0 and 1")
        trained = load_forecaster(self._folder, "forecast")
        if samples is not None:
            trained = trained.with_paths(samples)
        given = series_of(data, trained.columns, columns) if data is not None else None
        start, margins = prepare(trained, steps, given, columns, interval)
        for note in start.notes:
            warnings.warn(note, stacklevel=2)
        return whole(trained, start, steps, margins)

    def evaluate(self, horizons: Sequence[int] = HORIZONS, origins: int = 1) -> Evaluation | TokenEvaluation:
        """Score the run on its test part, beside the baselines.

        Args:
            horizons: steps of the rollouts.
            origins: starting points, spread over the test part.

        Returns:
            An evaluation with the network's and the baselines' RMSE by horizon, forecasts, truth and a verdict;
            ``summary()`` gives its numbers as ``lstmcast evaluate --json`` does.

        Raises:
            InvalidError: if the data are no longer those that the run was trained on, or too short.
        """
        if not horizons or min(horizons) < 1 or origins < 1:
            raise UsageError(f"horizons {list(horizons)}, origins {origins}: all must be 1 or more")
        trained = load_trained(self._folder)
        return trained.evaluate() if isinstance(trained, TrainedTokens) else trained.evaluate(horizons, origins)

    def plot(self, kind: Kind = "rollout") -> Figure:
        """Draw the run as ``lstmcast plot`` does.

        Args:
            kind: rollout, loss, horizon, phase or gates.

        Returns:
            A matplotlib figure.
        """
        from lstmcast.experiment.picture import draw

        return draw(self._folder, kind)

    def resume(self, *, max_time: float | None = None, on_step: Callable[[Record], None] = lambda _: None) -> Run:
        """Continue a training that was stopped, to the same bytes; the arguments are those of `train`.

        Raises:
            UsageError: if it is finished.
        """
        from lstmcast.experiment.train_run import Training

        if self.status == "finished":
            raise UsageError(f"{self.path}: is finished; there is nothing to resume")
        return _execute(Training.resume(self._folder), self.path.parent, None, "", max_time, on_step, [])

    @property
    def _folder(self) -> runs.Run:
        return runs.Run(self.path)


def _execute(
    training: Any,
    output_dir: Path,
    name: str | None,
    stem: str,
    max_time: float | None,
    on_step: Callable[[Record], None],
    overrides: Sequence[str],
) -> Run:
    import time

    from lstmcast.stop import StopRequest

    def warn(text: str) -> None:
        warnings.warn(text, stacklevel=4)

    stop = StopRequest(None if max_time is None else time.monotonic() + max_time)
    result = training.execute(output_dir, name, stem, stop, on_record=on_step, warn=warn, overrides=overrides)
    if result is None:
        raise UsageError("train: under torchrun use the command line")
    if result.status != "finished":
        hint = result.remedy or "Run.resume continues it"
        warn(f"{result.run.path}: {result.status}: {result.reason or stop.reason}; {hint}")
    return Run(result.run.path)
