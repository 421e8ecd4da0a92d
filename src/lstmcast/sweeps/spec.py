"""The sweep's YAML file, and the trials that it asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from lstmcast.config.build import check_parts
from lstmcast.config.load import find, load, load_document
from lstmcast.config.places import place_of
from lstmcast.config.schema import Config
from lstmcast.config.yaml_file import Location
from lstmcast.data.dataset import Dataset
from lstmcast.data.text import Tokens
from lstmcast.data.user_file import shorten
from lstmcast.errors import InvalidError, LstmcastError, NotFoundError, UsageError
from lstmcast.forecasting.evaluate import HORIZONS
from lstmcast.reports.records import more_is_better
from lstmcast.sections import Document, Section
from lstmcast.sweeps.space import Values, override

MAX_TRIALS = 10_000
MAX_PROBLEMS = 20
BEST_VALIDATION = "validation"
PATHS = ("data.path", "data.source.path")


class Median(Section):
    """Ends a trial that is worse than the median of the others at the same step.

    Source: https://optuna.readthedocs.io/en/stable/reference/generated/optuna.pruners.MedianPruner.html
    """

    kind: Literal["median"]
    startup_trials: int = Field(5, ge=0, description="trials that must have ended before any is pruned")
    warmup_steps: int = Field(0, ge=0, description="training steps before which none is pruned")


class SuccessiveHalving(Section):
    """At each rung of training steps lets only the best continue.

    Source: https://optuna.readthedocs.io/en/stable/reference/generated/optuna.pruners.SuccessiveHalvingPruner.html
    """

    kind: Literal["successive_halving"]
    min_steps: int | None = Field(None, gt=0, description="training steps of the first rung; null: by the first trial")
    reduction: int = Field(4, ge=2, description="one of this many continues; the next rung is this many times as far")


class Spec(Document):
    """A sweep: what is varied, how points are chosen, and what is best."""

    base: str = Field(min_length=1, description="the config: a file, or the name of a shipped one")
    overrides: dict[str, Any] = Field({}, description="keys of the base that are set otherwise in all trials")
    parameters: dict[str, Values] = Field({}, description="keys of the config, and the values that each takes")
    search: Literal["grid", "random", "tpe"] = Field("grid", description="how points are chosen")
    trials: int | None = Field(None, gt=0, le=MAX_TRIALS, description="points of a random or tpe search")
    search_seed: int = Field(0, ge=0, lt=2**32, description="of a random or tpe search")
    seeds: list[Annotated[int, Field(ge=0, lt=2**32)]] | None = Field(
        None, min_length=1, description="each point is trained once with each; null: with the base's"
    )
    metric: str = Field("rollout.rmse", min_length=1, description="the score that says what is best")
    direction: Literal["minimize", "maximize"] | None = Field(None, description="null: as the metric demands")
    pruning: Annotated[Median | SuccessiveHalving, Field(discriminator="kind")] | None = Field(
        None, description="end hopeless trials by their validation metric; null: none"
    )

    @property
    def fixed(self) -> list[str]:
        """What is the same in all trials, as a command line would set it."""
        return [override(key, value) for key, value in self.overrides.items()]

    @property
    def maximizes(self) -> bool:
        """Whether the largest score is the best."""
        return more_is_better(self.metric) if self.direction is None else self.direction == "maximize"

    def contradictions(self) -> Iterator[tuple[str | Location, str]]:
        """Yield each combination that makes no sense: the key at fault and what is wrong."""
        for key, values in self.parameters.items():
            for part, message in values.contradictions():
                yield ("parameters", key, part), message
            if key in self.overrides:
                yield ("parameters", key), "it stands in overrides, too; leave one of them out"
        for section in ("overrides", "parameters"):
            if "seed" in getattr(self, section):
                yield (section, "seed"), "give the seeds by the key seeds"
        if any(True for values in self.parameters.values() for _ in values.contradictions()):
            return
        if self.search == "grid":
            if self.trials is not None:
                yield "trials", "a grid has as many as there are combinations; leave it out, or choose another search"
            sizes = {key: values.listed() for key, values in self.parameters.items()}
            for key, listed in sizes.items():
                if listed is None:
                    yield ("parameters", key), "a grid needs a list, or a range with step or count"
            points = math.prod(len(listed) for listed in sizes.values() if listed)
            if points * len(self.seeds or [0]) > MAX_TRIALS:
                yield "parameters", f"{points * len(self.seeds or [0]):,} trials; at most {MAX_TRIALS:,} make a sweep"
        elif self.trials is None:
            yield "trials", f"missing; a {self.search} search needs their number"
        elif not self.parameters:
            yield "parameters", f"missing; a {self.search} search needs something to vary"
        elif self.trials * len(self.seeds or [0]) > MAX_TRIALS:
            yield "trials", f"with all seeds there are more than {MAX_TRIALS:,}"
        if len(set(self.seeds or ())) < len(self.seeds or ()):
            yield "seeds", "one stands there twice"


@dataclass
class Trial:
    """One training of a sweep: a point, a seed, and what became of it.

    Attributes:
        number: from 1, in the order of creation.
        point: which combination of parameters, from 1; trials of one point differ in their seed only.
        status: waiting, running, finished, pruned, diverged or failed.
        score: of a finished trial; None if it is no finite number.
    """

    number: int
    point: int
    parameters: dict[str, Any]
    seed: int | None
    status: str = "waiting"
    score: float | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The folder's name."""
        return f"trial-{self.number:03}"

    @property
    def overrides(self) -> list[str]:
        """What a command line would add to the config."""
        seed = [] if self.seed is None else [f"seed={self.seed}"]
        return [*(override(key, value) for key, value in self.parameters.items()), *seed]

    @property
    def unsuccessful(self) -> bool:
        """Whether it ended without a result, which makes the sweep fail."""
        return self.status in ("failed", "diverged")


@dataclass(frozen=True)
class Plan:
    """A valid spec with its base config and the trials that are known before it starts."""

    path: Path
    spec: Spec
    base: Config
    trials: list[Trial] = field(default_factory=list)

    @property
    def base_name(self) -> str:
        """What ``--config`` calls the base."""
        return _base_name(self.path, self.spec)

    @property
    def total(self) -> int:
        """How many trials there will be."""
        return len(self.trials) or (self.spec.trials or 0) * len(self.spec.seeds or [None])

    def command(self, trial: Trial) -> list[str]:
        """Return the command line that trains the same."""
        return ["lstmcast", "train", "--config", self.base_name, *self.spec.fixed, *trial.overrides]


def read_plan(path: Path) -> Plan:
    """Load a spec, and check every config that it asks for.

    Raises:
        NotFoundError: if the spec or its base is not there.
        InvalidError: if anything is wrong in the spec, or with it in a config; the message lists everything.
    """
    spec, lines = load_document(path, Spec, "a sweep")
    spec = _anchored(spec, path.parent)
    written = {key: value for key, value in spec.overrides.items() if ("overrides", key) in lines}
    origins = {
        (text := override(key, value)): f"{place_of(path, lines, ('overrides', key))}: {text}"
        for key, value in written.items()
    }
    try:
        find(_base_name(path, spec))
    except NotFoundError as error:
        at = place_of(path, lines, ("base",))
        message = f"{at}: base: {shorten(repr(spec.base), 200)} is neither a file nor a shipped config's name"
        raise NotFoundError(message, error.hint) from None
    plan = Plan(path, spec, load(_base_name(path, spec), spec.fixed, origins=origins), known_trials(spec))
    _check(plan, origins, lines)
    return plan


def known_trials(spec: Spec) -> list[Trial]:
    """Return the trials of a grid or random search; those of tpe depend on the results before them."""
    keys = list(spec.parameters)
    if spec.search == "grid":
        listed = [values.listed() or [] for values in spec.parameters.values()]
        points = [dict(zip(keys, combination, strict=True)) for combination in itertools.product(*listed)]
    elif spec.search == "random":
        random = np.random.default_rng(spec.search_seed)
        points = [
            {key: values.draw(random) for key, values in spec.parameters.items()} for _ in range(spec.trials or 0)
        ]
    else:
        points = []
    return numbered(spec, points)


def numbered(spec: Spec, points: Sequence[dict[str, Any]], trials: int = 0, before: int = 0) -> list[Trial]:
    """Return a trial for each seed of each point, after so many ``trials`` and points ``before``."""
    seeds: list[int | None] = [*spec.seeds] if spec.seeds else [None]
    pairs = list(itertools.product(enumerate(points, before + 1), seeds))
    return [Trial(number, point, values, seed) for number, ((point, values), seed) in enumerate(pairs, trials + 1)]


def _anchored(spec: Spec, folder: Path) -> Spec:
    """Make relative paths of data relative to the spec's file, and give each trial one process."""

    def anchor(key: str, value: Any) -> Any:
        return str((folder / value).absolute()) if key in PATHS and isinstance(value, str) and value else value

    parameters = {
        key: values.model_copy(update={"values": [anchor(key, value) for value in values.values]})
        if values.values
        else values
        for key, values in spec.parameters.items()
    }
    # the cores are for other trials; a spec may say otherwise
    one = {} if "model.processes" in parameters else {"model.processes": 1}
    overrides = one | {key: anchor(key, value) for key, value in spec.overrides.items()}
    return spec.model_copy(update={"parameters": parameters, "overrides": overrides})


def _base_name(path: Path, spec: Spec) -> str:
    """Return the base's path if it lies beside the spec, else what the spec calls it."""
    beside = path.parent / spec.base
    return str(beside) if beside.is_file() else spec.base


def _check(plan: Plan, origins: dict[str, str], lines: dict[Location, int]) -> None:
    """Refuse a sweep of which any trial could not start; ``origins`` of what is the same in all trials are known."""
    origins = dict(origins)
    for key, values in plan.spec.parameters.items():
        for index, value in enumerate(values.ends() if plan.spec.search == "tpe" else values.listed() or ()):
            location = ("parameters", key, index) if values.values else ("parameters", key)
            text = override(key, value)
            origins[text] = f"{place_of(plan.path, lines, location)}: {text}"
    for trial in plan.trials:
        for text in trial.overrides:
            key = text.partition("=")[0]
            origins.setdefault(text, f"{place_of(plan.path, lines, ('parameters', key))}: {text}")
    problems: dict[str, str | None] = {}
    seen: set[str] = set()
    built: dict[str, Dataset | Tokens] = {}
    for overrides in _to_check(plan):
        try:
            config = load(plan.base_name, [*plan.spec.fixed, *overrides], origins=origins)
            stages = [(stage.training, stage.optimizer.kind) for stage in config.stages]
            data = repr((config.data, config.model.autoregression))
            parts = repr((data, config.model, stages))
            if parts not in seen:
                seen.add(parts)
                # a data set is built once for all trials in a row that share it
                built = {data: check_parts(config, max(HORIZONS), built.get(data))}
                _check_metric(plan, config, built[data], lines)
        except LstmcastError as error:
            for line in error.message.splitlines():
                problems.setdefault(line, error.hint)
    if problems:
        messages = list(problems)
        more = len(messages) - MAX_PROBLEMS
        shown = messages[:MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        hints = set(problems.values())
        raise InvalidError("\n".join(shown), hints.pop() if len(hints) == 1 else None)


def _to_check(plan: Plan) -> Iterator[list[str]]:
    """Yield the overrides of every trial; of a tpe search each value beside the first ones of the others."""
    if plan.trials:
        yield from (trial.overrides for trial in plan.trials)
        return
    ends = {key: values.ends() for key, values in plan.spec.parameters.items()}
    first = {key: values[0] for key, values in ends.items()}
    for key, values in ends.items():
        for value in values:
            yield [override(*item) for item in (first | {key: value}).items()]


def _check_metric(plan: Plan, config: Config, dataset: Dataset | Tokens, lines: dict[Location, int]) -> None:
    """Refuse a metric that the trial will not have, and pruning without a validation.

    Raises:
        InvalidError: if so.
    """
    spec = plan.spec
    validates = config.training.validation is not None
    if spec.pruning and not validates:
        at = place_of(plan.path, lines, ("pruning",))
        raise InvalidError(f"{at}: pruning: it watches the validation metric; the base needs training.validation")
    allowed = [BEST_VALIDATION] if validates else []
    if isinstance(dataset, Tokens):
        allowed += ["next_step.cross_entropy", "next_step.perplexity", "next_step.accuracy"]
    else:
        available = dataset.test.rows.shape[1] - dataset.test.origin
        horizons = sorted({min(h, available) for h in HORIZONS})
        allowed += ["next_step.rmse", "rollout.rmse", *(f"rollout.rmse@{h}" for h in horizons), "rollout.valid_horizon"]
    if spec.metric not in allowed:
        at = place_of(plan.path, lines, ("metric",))
        names = ", ".join(allowed)
        raise InvalidError(f"{at}: metric: {spec.metric!r} is not one of the scores of these trials: {names}")


def refuse_tpe(plan: Plan) -> None:
    """Refuse to list what is not known yet.

    Raises:
        UsageError: if the search is tpe.
    """
    if plan.spec.search == "tpe":
        raise UsageError(
            f"{plan.path}: tpe chooses each trial by the results of those before it; there is no list",
            "list a grid or random search, or run this one: lstmcast sweep run",
        )
