"""Optuna's part in a sweep: the points of a tpe search, and which trials are hopeless.

Source: https://optuna.readthedocs.io. Its study lives in memory and is made again from the runs.
"""

from __future__ import annotations

from typing import Any

from lstmcast.errors import MissingExtraError
from lstmcast.sweeps.folder import Sweep, validations
from lstmcast.sweeps.space import Values, text
from lstmcast.sweeps.spec import Median, Spec, Trial, numbered


def needs_optuna(spec: Spec) -> bool:
    """Whether a sweep needs Optuna.

    Raises:
        MissingExtraError: if so, and it is not installed.
    """
    if spec.search != "tpe" and spec.pruning is None:
        return False
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MissingExtraError("search: tpe" if spec.search == "tpe" else "pruning", "optuna") from None
    return True


class Search:
    """A sweep whose points are all known, and none of whose trials is given up."""

    def ask(self) -> list[Trial]:
        """Return the trials of the next point, or none if there are enough."""
        return []

    def begin(self, trial: Trial) -> None:
        """Take note of a trial that starts."""

    def hopeless(self, trial: Trial, step: int, validation: float) -> bool:  # noqa: ARG002
        """Take a validation; return whether the trial should be pruned."""
        return False

    def end(self, trial: Trial) -> None:
        """Take note of a trial that has ended."""


def make_search(sweep: Sweep) -> Search:
    """Make the search that a sweep's spec asks for.

    Raises:
        MissingExtraError: if it needs Optuna, which is not installed.
    """
    return Study(sweep) if needs_optuna(sweep.spec) else Search()


class Study(Search):
    """Optuna's study of a sweep, one of its trials for each of ours."""

    def __init__(self, sweep: Sweep) -> None:
        """Begin a study, or resume that of the trials that have ended."""
        import optuna

        spec = sweep.spec
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._sweep = optuna, sweep
        self._sign = -1.0 if spec.maximizes else 1.0
        self._worst = self._sign * float("inf")
        self._space = _distributions(spec.parameters) if spec.search == "tpe" else {}
        ended = [trial for trial in sweep.trials if trial.status in ("finished", "pruned")]
        sampler = optuna.samplers.TPESampler(seed=spec.search_seed + len(ended), constant_liar=True)
        pruner: optuna.pruners.BasePruner = optuna.pruners.NopPruner()
        if isinstance(spec.pruning, Median):
            pruner = optuna.pruners.MedianPruner(spec.pruning.startup_trials, spec.pruning.warmup_steps)
        elif spec.pruning is not None:
            least = spec.pruning.min_steps or "auto"
            pruner = optuna.pruners.SuccessiveHalvingPruner(least, spec.pruning.reduction)
        directions = optuna.study.StudyDirection
        direction = directions.MAXIMIZE if spec.maximizes else directions.MINIMIZE
        self._study = optuna.create_study(direction=direction, sampler=sampler, pruner=pruner)
        self._running: dict[int, optuna.trial.Trial] = {}
        states = optuna.trial.TrialState
        for trial in ended:
            values = {step: self._sign * value for step, value in validations(sweep.run(trial)).items()}
            pruned = trial.status == "pruned"
            self._study.add_trial(
                optuna.trial.create_trial(
                    state=states.PRUNED if pruned else states.COMPLETE,
                    params=self._known(trial),
                    distributions=self._space,
                    value=None if pruned else self._value(trial),
                    intermediate_values=values,
                )
            )

    def ask(self) -> list[Trial]:
        """Return the trials of the next point, or none if there are enough."""
        trials, spec = self._sweep.trials, self._sweep.spec
        if spec.search != "tpe" or len(trials) >= self._sweep.total:
            return []
        asked = self._study.ask(self._space)
        point = {key: _back(spec.parameters[key], value) for key, value in asked.params.items()}
        new = numbered(spec, [point], len(trials), trials[-1].point if trials else 0)
        self._running[new[0].number] = asked
        return new

    def begin(self, trial: Trial) -> None:
        """Let the study know of a trial that starts."""
        if trial.number not in self._running:
            self._study.enqueue_trial(self._known(trial))
            self._running[trial.number] = self._study.ask(self._space)

    def hopeless(self, trial: Trial, step: int, validation: float) -> bool:
        """Take a validation; return whether the trial should be pruned."""
        watched = self._running[trial.number]
        watched.report(self._sign * validation, step)
        return watched.should_prune()

    def end(self, trial: Trial) -> None:
        """Let the study know of a trial that has ended."""
        states = self._optuna.trial.TrialState
        asked = self._running.pop(trial.number)
        if trial.status == "finished":
            self._study.tell(asked, self._value(trial))
        else:
            self._study.tell(asked, state=states.PRUNED if trial.status == "pruned" else states.FAIL)

    def _value(self, trial: Trial) -> float:
        return self._worst if trial.score is None else trial.score

    def _known(self, trial: Trial) -> dict[str, Any]:
        """Return a trial's parameters as the study writes them; nothing if it did not choose them."""
        parameters = self._sweep.spec.parameters
        return {key: _forth(parameters[key], trial.parameters[key]) for key in self._space}


def _distributions(parameters: dict[str, Values]) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, Any] = {}
    for key, values in parameters.items():
        listed = values.listed()
        if listed is not None:
            space[key] = CategoricalDistribution([text(value) for value in listed])
        elif values.whole:
            space[key] = IntDistribution(int(values.start or 0), int(values.stop or 0), log=values.log)
        else:
            space[key] = FloatDistribution(float(values.start or 0), float(values.stop or 0), log=values.log)
    return space


def _forth(values: Values, value: Any) -> Any:
    return value if values.listed() is None else text(value)


def _back(values: Values, value: Any) -> Any:
    listed = values.listed()
    return value if listed is None else next(item for item in listed if text(item) == value)
