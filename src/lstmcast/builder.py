"""From a config to the parts it names: the one place that knows both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lstmcast.config.load import load
from lstmcast.config.schema import Config
from lstmcast.data.dataset import Dataset, Scaler
from lstmcast.errors import InvalidError
from lstmcast.forecasting.evaluate import next_step_rmse, rollout_rmse
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.network.engine import Engine, EngineName, make_engine
from lstmcast.network.parameters import Parameters
from lstmcast.runs import Run
from lstmcast.training.checkpoints import Checkpoint

if TYPE_CHECKING:
    from lstmcast.training.trainer import Trainer


def make_dataset(config: Config, future: int = 0) -> Dataset:
    """Build the data, synthetic ones ``future`` steps beyond their known end."""
    return config.data.build(config.seed, future)


def make_network_engine(config: Config, features: int, engine: EngineName | None = None) -> Engine:
    """Build the network with its seeded parameters, in the config's engine or another."""
    network = config.model.network(features)
    parameters = Parameters(network, np.dtype(config.model.dtype))
    parameters.initialize(network, np.random.default_rng([config.seed, 0]))
    return make_engine(engine or config.model.engine, network, parameters)


def make_forecaster(config: Config, dataset: Dataset, engine: Engine) -> Forecaster:
    """Build the forecaster: it asks the network in the way in which it was trained."""
    sliding = dataset.shortest if config.last_step_loss else None
    return Forecaster(engine, dataset.horizon, dataset.context, sliding)


def make_trainer(config: Config, dataset: Dataset, engine: Engine) -> Trainer:
    """Build the trainer.

    Raises:
        InvalidError: if the sizes of the config and of the data do not fit.
    """
    from lstmcast.training.trainer import Trainer

    training = config.training
    if training.rollout and training.rollout.steps > dataset.shortest - dataset.horizon:
        raise InvalidError(
            f"training.rollout.steps: {training.rollout.steps} is more than the shortest window of"
            f" {dataset.shortest} steps less the horizon {dataset.horizon}"
        )
    sampler = dataset.sampler(
        batch_size=training.batch_size,
        seed=[config.seed, 1],
        last_step=config.last_step_loss,
        warmup=training.warmup,
    )
    validate = None
    if training.validation and dataset.validation:
        forecaster, held, settings = make_forecaster(config, dataset, engine), dataset.validation, training.validation
        if settings.metric == "rollout":
            available = held.rows.shape[1] - held.origin
            if settings.horizon > available:
                raise InvalidError(
                    f"training.validation.horizon: {settings.horizon} is more than the {available} steps of the"
                    " validation part",
                    "lower it, or give more validation data",
                )

            def validate() -> float:
                return rollout_rmse(forecaster, held, settings.horizon)
        else:

            def validate() -> float:
                return next_step_rmse(forecaster, held, dataset.scaler.scale)

    return Trainer(engine, sampler, config.optimizer, config.schedule, training, config.seed, validate)


@dataclass(frozen=True)
class Trained:
    """A trained run, ready to forecast with the NumPy engine: no torch is needed."""

    config: Config
    dataset: Dataset
    forecaster: Forecaster


def load_trained(run: Run, future: int = 0) -> Trained:
    """Load a run's config, its data, and its best parameters.

    Raises:
        NotFoundError: if there is no checkpoint, or the data file is gone.
        InvalidError: if the checkpoint or the config does not fit.
    """
    config = load(str(run.config))
    dataset = make_dataset(config, future)
    checkpoint = Checkpoint.load(run.best)
    engine = make_network_engine(config, len(dataset.columns), "numpy")
    engine.parameters.load(checkpoint.part("parameters."))
    scaler = Scaler(checkpoint.arrays["scaler.mean"], checkpoint.arrays["scaler.scale"])
    if scaler.mean.shape != dataset.scaler.mean.shape:
        raise InvalidError(f"{run.best}: made for {len(scaler.mean)} columns, the config has {len(dataset.columns)}")
    if not (np.array_equal(scaler.mean, dataset.scaler.mean) and np.array_equal(scaler.scale, dataset.scaler.scale)):
        raise InvalidError(
            f"{run.config}: its data are no longer those that the run was trained on: the training part's mean and"
            " standard deviation differ",
            "train again, or give new data to forecast with: lstmcast predict --data FILE --column NAME",
        )
    return Trained(config, dataset, make_forecaster(config, dataset, engine))


def best_checkpoint(parameters: Checkpoint, scaler: Scaler) -> Checkpoint:
    """Return what a forecast needs: the parameters and the units."""
    arrays = {f"parameters.{name}": array for name, array in parameters.arrays.items()}
    return Checkpoint(arrays | {"scaler.mean": scaler.mean, "scaler.scale": scaler.scale}, parameters.facts)


def dump_config(config: Config) -> str:
    """Write the resolved config as YAML that loads to the same config."""
    import yaml

    text: str = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    return text

