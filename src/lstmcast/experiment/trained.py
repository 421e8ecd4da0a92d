"""What a training leaves behind: the network that forecasts, with all that it needs, written and read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from lstmcast.arrays import Array
from lstmcast.config.build import MAX_FEATURES, MAX_SYMBOLS, make_dataset, make_network_engine
from lstmcast.config.load import load
from lstmcast.config.schema import Config
from lstmcast.data.autoregression import Autoregression, Remainder
from lstmcast.data.categories import Bins
from lstmcast.data.covariates import Covariates
from lstmcast.data.dataset import Dataset, Scaler
from lstmcast.data.text import Tokens
from lstmcast.data.time_axis import Step
from lstmcast.errors import InvalidError, NotFoundError, UsageError
from lstmcast.forecasting.evaluate import HORIZONS, Evaluation, evaluate
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.forecasting.tokens import TokenEvaluation, evaluate_tokens
from lstmcast.network.engine import Engine
from lstmcast.network.processes import Processes
from lstmcast.runs import Run
from lstmcast.sections import Section
from lstmcast.training.checkpoints import Checkpoint


class CovariateFacts(Section):
    """Those parts of `Covariates` that are no arrays."""

    origin: float
    inputs: bool


class Facts(Section):
    """What a forecaster's checkpoint says beside its arrays; see `Forecaster` and `Trained`."""

    columns: tuple[str, ...] = Field(min_length=1)
    horizon: int = Field(gt=0)
    context: int = Field(gt=0, lt=2**31)
    sliding: int | None = Field(gt=0, lt=2**31)
    bins: tuple[float, float, int] | None
    covariates: CovariateFacts | None
    step: tuple[float, Literal["second", "month", "number"]] | None = None


@dataclass(frozen=True)
class Trained:
    """A trained network with all that a forecast needs, in the NumPy engine: no torch, no data."""

    config: Config
    run: Path
    columns: tuple[str, ...]
    scaler: Scaler
    forecaster: Forecaster
    step: Step | None

    def with_paths(self, paths: int) -> Trained:
        """Return it with another number of paths that a categorical network draws at once."""
        return replace(self, forecaster=replace(self.forecaster, paths=paths))

    def evaluate(self, horizons: Sequence[int] = HORIZONS, origins: int = 1) -> Evaluation:
        """Score it on the test part, with rollouts of ``horizons`` steps from ``origins`` starting points.

        Raises:
            NotFoundError: if the data are no longer where they were.
            InvalidError: if they have changed since, or are too short.
        """
        # several origins in a synthetic series need room to spread
        dataset = self.dataset(future=max(horizons) * (1 if origins == 1 else 2))
        return evaluate(self.forecaster, dataset, horizons, origins)

    def dataset(self, future: int = 0) -> Dataset:
        """Build the data that the run was trained on.

        Raises:
            NotFoundError: if they are no longer where they were.
            InvalidError: if they have changed since.
        """
        new = f"forecast from the new data: lstmcast predict {self.run} --data FILE"
        try:
            dataset = make_dataset(self.config, future, self.forecaster.remainder)
        except NotFoundError as error:
            raise NotFoundError(error.message, f"put back what the run was trained on, or {new}") from None
        assert isinstance(dataset, Dataset)
        now, then = dataset.scaler, self.scaler
        if not (np.array_equal(now.mean, then.mean) and np.array_equal(now.scale, then.scale)):
            raise InvalidError(
                "data: the training part's mean and standard deviation are no longer those that the run was"
                f" trained on (mean {now.mean.tolist()}, was {then.mean.tolist()})",
                f"train again, or {new}",
            )
        return dataset


@dataclass(frozen=True)
class TrainedTokens:
    """A network trained on text, with all that drawing from it needs, in the NumPy engine."""

    config: Config
    vocabulary: tuple[str, ...]
    lines: bool
    engine: Engine

    def evaluate(self) -> TokenEvaluation:
        """Score it on the test part.

        Raises:
            InvalidError: if the text's vocabulary has changed since.
        """
        return evaluate_tokens(self.engine, self.tokens())

    def tokens(self) -> Tokens:
        """Build the text that the run was trained on.

        Raises:
            InvalidError: if its vocabulary has changed since.
        """
        tokens = make_dataset(self.config)
        assert isinstance(tokens, Tokens)
        if tokens.vocabulary != self.vocabulary:
            raise InvalidError("data: the text's symbols are no longer those that the run was trained on")
        return tokens


def save_trained(path: Path, parameters: Checkpoint, config: Config, dataset: Dataset | Tokens) -> None:
    """Write the checkpoint that `load_trained` reads."""
    arrays = {f"parameters.{name}": array for name, array in parameters.arrays.items()}
    if isinstance(dataset, Tokens):
        Checkpoint(arrays, {"vocabulary": dataset.vocabulary, "lines": dataset.lines}).save(path)
        return
    arrays |= {"scaler.mean": dataset.scaler.mean, "scaler.scale": dataset.scaler.scale}
    known = dataset.covariates
    if known:
        arrays |= {f"covariates.{name}": part for name, part in vars(known).items() if isinstance(part, np.ndarray)}
    if dataset.remainder:
        arrays["remainder.coefficients"] = np.stack(dataset.remainder.autoregression.coefficients)
        arrays["remainder.scale"] = dataset.remainder.scale
    facts = Facts(
        columns=dataset.columns,
        horizon=dataset.horizon,
        context=dataset.context,
        sliding=dataset.longest if config.last_step_loss else None,
        bins=astuple(dataset.bins) if dataset.bins else None,
        covariates=CovariateFacts(origin=known.origin, inputs=known.inputs) if known else None,
        step=astuple(dataset.clock.step) if dataset.clock else None,
    )
    Checkpoint(arrays, facts.model_dump(mode="json")).save(path)


def load_trained(run: Run) -> Trained | TrainedTokens:
    """Load a run's config and its best parameters.

    Raises:
        NotFoundError: if there is no config or checkpoint.
        InvalidError: if the two do not fit.
    """
    config = load(str(run.config))
    # how many symbols a text has, only the checkpoint says
    features = MAX_SYMBOLS if config.data.kind == "text" else MAX_FEATURES
    order = config.model.autoregression or 0
    most = config.model.network(features, features).size + (8 + order) * features
    try:
        checkpoint = Checkpoint.load(run.best, 8 * most)
    except NotFoundError as error:
        going_on = run.last.exists() and not run.held
        raise NotFoundError(
            error.message, f"resume its training: lstmcast train --resume {run.path}" if going_on else error.hint
        ) from None
    try:
        if config.data.kind == "text":
            vocabulary = tuple(map(str, checkpoint.facts["vocabulary"]))
            engine = _engine(config, checkpoint, len(vocabulary))
            return TrainedTokens(config, vocabulary, bool(checkpoint.facts["lines"]), engine)
        return _forecaster(config, checkpoint, run.path)
    except (InvalidError, LookupError, TypeError, ValueError) as error:
        raise InvalidError(f"{run.best}: not a forecaster's checkpoint: {error}") from None


def _engine(config: Config, checkpoint: Checkpoint, features: int) -> Engine:
    weight = checkpoint.arrays["parameters.cells.0.weight_ih"]
    if weight.shape[1:] != (features + config.known_features,):
        raise ValueError(f"its network has not {features} inputs")
    # the best may be from an earlier stage, in that one's dtype
    stage = next((stage for stage in config.stages if stage.dtype == weight.dtype), None)
    engine = make_network_engine(config, features, "numpy", stage)
    engine.parameters.load(checkpoint.part("parameters."))
    return engine


def _forecaster(config: Config, checkpoint: Checkpoint, path: Path) -> Trained:
    arrays, order = checkpoint.arrays, config.model.autoregression
    try:
        facts = Facts.model_validate_json(json.dumps(checkpoint.facts))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    bins, step, F = facts.bins and Bins(*facts.bins), facts.step and Step(*facts.step), len(facts.columns)
    if facts.horizon != config.generator.horizon:
        raise ValueError("the horizon is wrong")
    if bins and not (-np.inf < bins.low < bins.high < np.inf):
        raise ValueError("the bins are wrong")
    if step and not 0 < step.size < np.inf:
        raise ValueError("the distance of its rows is wrong")

    def positive(name: str, array: Array) -> Array:
        if array.shape != (F,) or not (array > 0).all():
            raise ValueError(f"{name} is wrong")
        return array

    scaler = Scaler(arrays["scaler.mean"], positive("scaler.scale", arrays["scaler.scale"]))
    if scaler.mean.shape != (F,):
        raise ValueError("scaler.mean is wrong")
    covariates = remainder = None
    if facts.covariates:
        parts: dict[str, Any] = {**checkpoint.part("covariates."), **facts.covariates.model_dump()}
        covariates = Covariates(**parts)
        positive("covariates.scale", covariates.scale)
        periods = covariates.periods.size
        if (covariates.periods.shape, covariates.weights.shape) != ((periods,), (2 * periods, F)):
            raise ValueError("the covariates are wrong")
    if order:
        coefficients = arrays["remainder.coefficients"]
        if coefficients.shape != (F, order + 1):
            raise ValueError("the autoregression is wrong")
        remainder = Remainder(
            Autoregression(tuple(coefficients)), positive("remainder.scale", arrays["remainder.scale"])
        )
    engine = _engine(config, checkpoint, bins.classes if bins else F)
    forecaster = Forecaster(
        engine,
        facts.horizon,
        facts.context,
        facts.sliding,
        bins,
        covariates,
        remainder,
        seed=config.seed,
        # cut as in training, on however many cores: the last bits hang on it
        processes=Processes(engine, config.model.processes, strict=False),
    )
    return Trained(config, path, facts.columns, scaler, forecaster, step)


def load_forecaster(run: Run, command: str) -> Trained:
    """Load a run that forecasts values.

    Raises:
        UsageError: if it was trained on text; besides what `load_trained` raises.
    """
    trained = load_trained(run)
    if isinstance(trained, TrainedTokens):
        raise UsageError(
            f"{command}: {run.path} was trained on text and forecasts no values", "draw from it: lstmcast sample"
        )
    return trained
