"""From a config to the parts it names: the one place that knows both."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lstmcast.config.schema import Config
from lstmcast.config.yaml_file import MAX_CHARACTERS, dump
from lstmcast.data.autoregression import Remainder
from lstmcast.data.batches import Sampler
from lstmcast.data.dataset import Dataset
from lstmcast.data.text import Tokens
from lstmcast.errors import InvalidError
from lstmcast.forecasting.evaluate import next_step_rmse, rollout_rmse
from lstmcast.forecasting.rollout import Forecaster
from lstmcast.forecasting.tokens import score_tokens
from lstmcast.network.engine import Engine, EngineName, TrainingEngine
from lstmcast.network.make_engine import make_engine, make_training_engine
from lstmcast.network.parameters import Parameters
from lstmcast.network.processes import Processes, count_of
from lstmcast.training.stages import Stage

if TYPE_CHECKING:
    from lstmcast.training.trainer import Trainer

# no config or checkpoint of a stranger makes us ask for more memory than this
MAX_PARAMETERS = 10**8
MAX_FEATURES = 4096
MAX_SYMBOLS = 2**16
# parameters for which a step's P x P system is still solved quickly
MAX_SECOND_ORDER = 4096


def make_dataset(config: Config, future: int = 0, remainder: Remainder | None = None) -> Dataset | Tokens:
    """Build the data, synthetic ones ``future`` steps beyond their known end; ``remainder``: its residuals."""
    with config.placing_errors():
        # streams of their own for data, parameters (0), batches (1), initial states (2) and draws (4)
        dataset = config.data.build([config.seed, 3], future)
        order = config.model.autoregression
        return dataset.beside_autoregression(order, remainder) if order and isinstance(dataset, Dataset) else dataset


def make_network_engine(
    config: Config, features: int, engine: EngineName | None = None, stage: Stage | None = None
) -> Engine:
    """Build the network with its seeded parameters, in the engine that trains a stage or another, and its dtype.

    Without a stage it is the last one's, in which forecasts are made.

    Raises:
        InvalidError: if it is too large, or its device is not there.
    """
    network = config.model.network(features, config.known_features)
    if network.size > MAX_PARAMETERS:
        raise InvalidError(f"model: {network.size:,} parameters; at most {MAX_PARAMETERS:,} are trained")
    stage = stage or config.stages[-1]
    parameters = Parameters(network, np.dtype(stage.dtype), shared=True)
    parameters.initialize(network, np.random.default_rng([config.seed, 0]))
    if engine is not None:
        return make_engine(engine, network, parameters)
    device, recompute = config.model.device, config.model.recompute
    return make_training_engine(stage.engine, network, parameters, device=device, recompute=recompute)


def make_forecaster(config: Config, dataset: Dataset, engine: Engine, processes: Processes | None = None) -> Forecaster:
    """Build the forecaster: it asks the network in the way in which it was trained."""
    sliding = dataset.longest if config.last_step_loss else None
    return Forecaster(
        engine,
        dataset.horizon,
        dataset.context,
        sliding,
        dataset.bins,
        dataset.covariates,
        dataset.remainder,
        seed=config.seed,
        processes=processes,
    )


def make_sampler(config: Config, dataset: Dataset | Tokens, stage: int = 0) -> Sampler:
    """Build the stream of a stage's training batches.

    Raises:
        InvalidError: if the sizes of the config and of the data do not fit.
    """
    settings = config.stages[stage]
    training, horizon = settings.training, config.generator.horizon
    for milestone in training.rollout.milestones if training.rollout else []:
        shortest = min(dataset.shortest, milestone.timesteps or dataset.shortest)
        if milestone.steps > shortest - horizon:
            raise InvalidError(
                f"{settings.key}training.rollout.steps: {milestone.steps} is more than the shortest window of"
                f" {shortest} steps less the horizon {horizon}"
            )
    return dataset.sampler(
        batch_size=training.batch_size,
        seed=[config.seed, 1, stage],
        last_step=config.last_step_loss,
        warmup=training.warmup,
    )


def make_validation(
    config: Config, dataset: Dataset | Tokens, engine: Engine, processes: Processes | None = None
) -> Callable[[], float] | None:
    """Build the metric of the engine's present parameters on the validation part, if the config asks for one.

    Raises:
        InvalidError: if the validation part is shorter than the rollout.
    """
    settings = config.training.validation
    if settings is None or not dataset.validation:
        return None
    if isinstance(dataset, Tokens):
        sequences, classes = dataset.validation, dataset.features
        return lambda: score_tokens(engine, sequences, classes).cross_entropy
    held = dataset.validation
    forecaster = make_forecaster(config, dataset, engine, processes)
    if settings.metric == "next_step":
        return lambda: next_step_rmse(forecaster, held, np.ones(len(dataset.columns)))
    available = held.rows.shape[1] - held.origin
    if settings.horizon > available:
        raise InvalidError(
            f"training.validation.horizon: {settings.horizon} is more than the {available} steps of the validation"
            " part",
            "lower it, or give more validation data",
        )
    return lambda: rollout_rmse(forecaster, held, settings.horizon)


def check_parts(config: Config, future: int, dataset: Dataset | Tokens | None = None) -> Dataset | Tokens:
    """Build all that training needs but torch; return the data, if not given ``future`` steps beyond their known end.

    Raises:
        LstmcastError: if the data or the sizes are wrong.
    """
    dataset = dataset or make_dataset(config, future)
    with config.placing_errors():
        engine = make_network_engine(config, dataset.features, "numpy")
        for index, stage in enumerate(config.stages):
            _check_optimizer(stage, engine)
            make_sampler(config, dataset, index)
        make_validation(config, dataset, engine)
    return dataset


def _check_optimizer(stage: Stage, engine: Engine) -> None:
    if stage.optimizer.kind == "levenberg_marquardt" and engine.network.size > MAX_SECOND_ORDER:
        raise InvalidError(
            f"{stage.key}optimizer.kind: levenberg_marquardt solves a system of all {engine.network.size:,}"
            f" parameters in each step; it takes at most {MAX_SECOND_ORDER:,}",
            "choose smaller model.hidden_sizes, or lbfgs",
        )


def make_trainers(config: Config, dataset: Dataset | Tokens) -> list[Trainer]:
    """Build a trainer for each stage; this imports torch, whose optimizers serve both engines.

    Under ``torchrun`` the trainers of all processes work as one.

    Raises:
        InvalidError: if the sizes of the config and of the data do not fit.
    """
    from lstmcast.training import distributed
    from lstmcast.training.trainer import Trainer

    trainers = []
    for index, stage in enumerate(config.stages):
        with config.placing_errors():
            engine = make_network_engine(config, dataset.features, stage=stage)
            _check_optimizer(stage, engine)
            several = distributed.processes() == 1 and count_processes(config, stage) > 1
            processes = Processes(engine, config.model.processes) if several else None
            sampler = make_sampler(config, dataset, index)
            validate = make_validation(config, dataset, engine, processes)
        trained: TrainingEngine = processes or engine
        if distributed.processes() > 1:
            trained = distributed.DataParallel(engine)
            validate = validate and distributed.from_the_first(validate)
        trainers.append(
            Trainer(trained, sampler, stage.optimizer, stage.schedule, stage.training, config.seed, validate, index)
        )
    return trainers


def count_processes(config: Config, stage: Stage) -> int:
    """Return how many processes may share a stage's batches; a GPU is not shared."""
    from lstmcast.training import distributed

    if distributed.processes() > 1:
        return distributed.processes()
    if stage.engine == "torch":
        from lstmcast.network.torch_engine import find_device

        if find_device(config.model.device).type != "cpu":
            return 1
    return count_of(config.model.processes)


def dump_config(config: Config) -> str:
    """Write the resolved config as YAML that loads to the same config.

    Raises:
        InvalidError: if it is too long to be loaded.
    """
    text = dump(config.model_dump(mode="json"))
    if len(text) > MAX_CHARACTERS:
        raise InvalidError(
            f"the config has {len(text):,} characters with all defaults; at most {MAX_CHARACTERS:,} are read"
        )
    return text
