"""Combinations of a config's keys that make no sense: each rule says when, at which key, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from lstmcast.data import DataSection
from lstmcast.data.generators import NumericSection
from lstmcast.data.text import Text
from lstmcast.network.cells import CELLS
from lstmcast.network.section import ModelSection
from lstmcast.training.section import RolloutTraining, TrainingSection
from lstmcast.training.stages import Stage
from lstmcast.training.trackers import TrackerName

# a gigabyte
MAX_VALUES = 2**27


class Config(Protocol):
    """What the rules look at; see ``schema.py``."""

    @property
    def data(self) -> DataSection:
        """The data generator."""

    @property
    def model(self) -> ModelSection:
        """The network."""

    @property
    def training(self) -> TrainingSection:
        """The training loop."""

    @property
    def tracker(self) -> list[TrackerName]:
        """Other tools that show the training."""

    @property
    def stages(self) -> list[Stage]:
        """The stages of the training."""

    @property
    def generator(self) -> NumericSection | Text:
        """The generator of the values themselves."""

    @property
    def last_step_loss(self) -> bool:
        """Whether the loss counts the last step alone."""


class Rule(NamedTuple):
    """A combination that makes no sense: whether a config has it, the key at fault, and what is wrong."""

    broken: object
    key: str
    message: str


def contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each combination that makes no sense: the key at fault and what is wrong."""
    rules = []
    for stage in config.stages:
        rules += [*_engine(config, stage), *_optimizer(config, stage), *_loop(config, stage), *_schedule(stage)]
        if stage.training.rollout:
            rules += _rollout(config, stage, stage.training.rollout)
    rules += [*_data(config), *_network(config), *_training(config)]
    yield from ((rule.key, rule.message) for rule in rules if rule.broken)


def _engine(config: Config, stage: Stage) -> list[Rule]:
    model, engine = config.model, stage.engine
    numpy_alone = CELLS[model.cell].torch_step is None
    on_gpu = model.device == "cuda"
    leave_it_out = f"the cell {model.cell} is written in NumPy alone; leave it out"
    return [
        Rule(numpy_alone and model.engine == "torch", "model.engine", leave_it_out),
        Rule(numpy_alone and on_gpu, "model.device", leave_it_out),
        Rule(
            model.recompute and engine == "torch",
            "model.recompute",
            "the numpy engine recomputes; leave out engine and device, or recompute",
        ),
        Rule(
            on_gpu and engine == "numpy",
            "model.device",
            "the numpy engine runs on the processor; use engine torch or auto",
        ),
        Rule(
            on_gpu and model.processes not in (None, 1),
            "model.processes",
            "processes share the processor's cores, not a GPU; leave it out",
        ),
    ]


def _optimizer(config: Config, stage: Stage) -> list[Rule]:
    optimizer, training, key = stage.optimizer, stage.training, stage.key
    second_order = optimizer.kind == "levenberg_marquardt"
    exact = second_order or optimizer.kind == "lbfgs"
    nesterov_alone = optimizer.kind == "sgd" and optimizer.nesterov and not optimizer.momentum
    clip = training.clip
    return [
        Rule(
            exact and clip,
            f"{key}training.clip",
            f"{optimizer.kind} needs the true gradient; leave out clip, or choose another optimizer.kind",
        ),
        Rule(
            second_order and config.model.output == "categorical",
            f"{key}optimizer.kind",
            "levenberg_marquardt takes squared errors; choose another for classes",
        ),
        Rule(
            second_order and CELLS[config.model.cell].torch_step is None,
            f"{key}optimizer.kind",
            f"it needs the cell's step in torch, and the cell {config.model.cell} is written in NumPy alone",
        ),
        Rule(nesterov_alone, f"{key}optimizer.nesterov", "nesterov needs a momentum above 0"),
        Rule(
            clip and (clip.norm is None) == (clip.value is None),
            f"{key}training.clip",
            "give one of norm and value",
        ),
    ]


def _loop(config: Config, stage: Stage) -> list[Rule]:
    training, key = stage.training, stage.key
    return [
        Rule(training.steps and training.epochs, f"{key}training.epochs", "give steps or epochs, not both"),
        Rule(
            training.epochs and config.generator.kind == "random_segments",
            f"{key}training.epochs",
            "random segments have no epochs; give training.steps",
        ),
        Rule(
            training.epochs and training.fixed_batch,
            f"{key}training.epochs",
            "one batch is no pass over the data; give training.steps",
        ),
        Rule(
            _endless(stage) and not training.early_stopping,
            f"{key}training.steps",
            "give steps or epochs; only early_stopping can end a training without them",
        ),
    ]


def _endless(stage: Stage) -> bool:
    return not stage.training.steps and not stage.training.epochs


def _schedule(stage: Stage) -> list[Rule]:
    schedule, training, key = stage.schedule, stage.training, stage.key
    own_length = getattr(schedule, "length", None)
    length, steps = own_length or training.steps, training.steps or 0
    one_cycle = schedule.kind == "one_cycle"
    return [
        Rule(
            _endless(stage) and schedule.kind in ("one_cycle", "cosine") and not own_length,
            f"{key}schedule.length",
            f"a {schedule.kind} schedule needs a length: its own, training.steps or epochs",
        ),
        Rule(
            one_cycle and schedule.warmup_steps,
            f"{key}schedule.warmup_steps",
            "one_cycle has a rise of its own; set schedule.rise instead",
        ),
        Rule(
            length and schedule.warmup_steps >= length,
            f"{key}schedule.warmup_steps",
            f"{schedule.warmup_steps} leaves nothing of the {length} steps",
        ),
        Rule(
            one_cycle and own_length and steps > own_length,
            f"{key}schedule.length",
            f"{own_length} is less than training.steps {steps}",
        ),
        Rule(
            schedule.kind == "plateau" and not training.validation,
            f"{key}schedule.kind",
            "plateau watches the validation metric; add training.validation",
        ),
    ]


def _rollout(config: Config, stage: Stage, rollout: RolloutTraining) -> list[Rule]:
    key, warmup = f"{stage.key}training.rollout", stage.training.warmup
    starts = [milestone.start for milestone in rollout.milestones]
    return [
        Rule(
            config.model.output == "categorical",
            key,
            "a drawn class has no gradient; train through true inputs only",
        ),
        Rule(
            config.model.autoregression,
            key,
            "with model.autoregression the network forecasts the residuals of the autoregressive component, from true"
            " inputs; leave out one of them",
        ),
        Rule(config.last_step_loss, key, "with the loss on the last step alone no prediction is ever read"),
        Rule(
            _endless(stage) and any(starts),
            f"{key}.start",
            "a share of the steps needs training.steps or epochs",
        ),
        Rule(
            starts != sorted(set(starts)),
            f"{key}.curriculum",
            f"each start must be later than the one before: {starts}",
        ),
        *(
            Rule(
                milestone.timesteps and milestone.timesteps <= warmup,
                f"{key}.timesteps",
                f"{milestone.timesteps} leaves nothing after the warmup of {warmup}",
            )
            for milestone in rollout.milestones
        ),
    ]


def _data(config: Config) -> list[Rule]:
    data, generator = config.data, config.generator
    source = "data.source" if data.kind == "quantized" else "data"
    values = getattr(generator, "sequences", 1) * getattr(generator, "length", 1)
    drawn_twice = generator.kind == "sine_bank" and generator.phase_seed is not None and generator.phases == "real"
    return [
        Rule(
            values > MAX_VALUES,
            f"{source}.length",
            f"{values:,} values in all; at most {MAX_VALUES:,} are generated",
        ),
        Rule(
            drawn_twice,
            f"{source}.phases",
            "phase_seed draws whole phases as the example does; leave it out for real ones",
        ),
        Rule(
            data.kind == "quantized" and getattr(generator, "covariates", None),
            "data.source.covariates",
            "a network of classes reads no covariates; leave them out",
        ),
        *(
            Rule(
                getattr(generator, name, None) and not getattr(generator, "time_column", None),
                f"{source}.{name}",
                f"there are no times; name their column in {source}.time_column",
            )
            for name in ("time_format", "sort")
        ),
        Rule(
            config.model.autoregression and generator.horizon > 1,
            f"{source}.horizon",
            "model.autoregression forecasts one step; leave out one of them",
        ),
    ]


def _network(config: Config) -> list[Rule]:
    model, kind = config.model, config.data.kind
    wanted = "categorical" if kind in ("text", "quantized") else "value"
    classes = model.output == "categorical"
    return [
        Rule(model.output != wanted, "model.output", f"data.kind {kind} needs output {wanted}, not {model.output}"),
        Rule(
            classes and model.residual,
            "model.residual",
            "a class is no number that something could be added to; leave residual out",
        ),
        Rule(
            classes and model.autoregression,
            "model.autoregression",
            "a class is no number that an autoregressive component could forecast; leave it out",
        ),
        Rule(
            model.autoregression and model.residual,
            "model.residual",
            "the autoregression has the last value already; leave one of them out",
        ),
    ]


def _training(config: Config) -> list[Rule]:
    training, generator, validation = config.training, config.generator, config.training.validation
    source = "data.source" if config.data.kind == "quantized" else "data"
    part = "validation_sequences" if generator.kind == "sine_bank" else "validation_share"
    held_out = getattr(generator, "validation_share", 0) or getattr(generator, "validation_sequences", 0)
    return [
        Rule(
            len(set(config.tracker)) < len(config.tracker),
            "tracker",
            "the same tracker stands there twice",
        ),
        Rule(
            training.early_stopping and not validation,
            "training.early_stopping",
            "it watches the validation metric; add training.validation",
        ),
        Rule(
            validation and not held_out,
            "training.validation",
            f"there is no validation data; set {source}.{part}",
        ),
        Rule(
            validation and validation.metric != "next_step" and config.data.kind == "text",
            "training.validation.metric",
            "text has no rollout error; use next_step, the cross-entropy",
        ),
    ]
