"""A training run from start to end: its folder, its checkpoints, its scores, its pictures."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from lstmcast import __version__, files, runs
from lstmcast.config.build import count_processes, dump_config, make_dataset, make_trainers
from lstmcast.config.load import load
from lstmcast.config.schema import Config
from lstmcast.data.dataset import Dataset
from lstmcast.errors import ExitCode, InvalidError, NotFoundError
from lstmcast.experiment.trained import TrainedTokens, load_trained, save_trained
from lstmcast.forecasting.evaluate import HORIZONS, Evaluation, evaluate
from lstmcast.forecasting.table import rollout_csv
from lstmcast.forecasting.tokens import TokenEvaluation, evaluate_tokens
from lstmcast.network.processes import Processes
from lstmcast.reports.records import flatten
from lstmcast.runs import Run
from lstmcast.stop import StoppedAtOnce, StopRequest
from lstmcast.training import distributed
from lstmcast.training.checkpoints import Checkpoint
from lstmcast.training.loop import Outcome, fit
from lstmcast.training.trackers import Tracking, require
from lstmcast.training.trainer import Record, Trainer

# seconds between two saves of the state that --resume starts from
SAVE_EVERY = 10.0


@dataclass(frozen=True)
class Result:
    """What became of a training run."""

    run: Run
    status: str
    reason: str
    step: int
    seconds: float
    evaluation: Evaluation | TokenEvaluation | None
    exit_code: ExitCode
    remedy: str = ""

    def summary(self) -> dict[str, Any]:
        """Return the run as JSON, with the fields that scripts rely on."""
        scores = self.evaluation.summary() if self.evaluation else {}
        return {
            "schema_version": files.SCHEMA_VERSION,
            "run": str(self.run.path),
            "status": self.status,
            **({"reason": self.reason} if self.reason else {}),
            "steps": self.step,
            "seconds": round(self.seconds, 3),
            **scores,
        }


class Training:
    """A training run about to start or to resume; making one checks all that can be checked without a folder."""

    def __init__(self, config: Config, run: Run | None = None) -> None:
        """Prepare a new run, or (given its folder) resume one.

        Raises:
            LstmcastError: if anything in the config or the data is wrong.
        """
        require(config.tracker)
        self.config = config
        self.dataset = make_dataset(config, max(HORIZONS))
        self._trainers = make_trainers(config, self.dataset)
        self._stage = 0
        self._run = run
        self._seconds = 0.0
        self._warnings: list[str] = []
        if run is not None:
            self._restore(run)

    def _restore(self, run: Run) -> None:
        """Take up the last state, or if that is damaged the one before."""
        try:
            self._read(run.last)
        except (InvalidError, NotFoundError) as error:
            try:
                self._read(run.previous)
            except (InvalidError, NotFoundError):
                raise error from None
            self._warnings.append(
                f"{error.message}; resumed from the state before it, after step {self.trainer.total:,}"
            )

    def _read(self, path: Path) -> None:
        checkpoint = Checkpoint.load(path, max(trainer.largest_state for trainer in self._trainers))
        seconds, numerics = checkpoint.facts.pop("seconds", None), checkpoint.facts.pop("numerics", None)
        stage = checkpoint.facts.pop("stage", None)
        if type(seconds) is not float or not 0 <= seconds < float("inf") or stage not in range(len(self._trainers)):
            raise InvalidError(f"{path}: not the state of a training")
        self._stage = int(stage)
        try:
            self.trainer.restore(checkpoint)
        except InvalidError as error:
            raise InvalidError(f"{path}: {error.message}", error.hint) from None
        self._seconds = seconds
        if numerics != self._numerics:
            self._warnings.append(
                "this machine, its cores or its libraries round otherwise: the run resumes, but not to the same bytes"
            )

    @property
    def _numerics(self) -> str:
        return fingerprint(self._processes)

    @property
    def _processes(self) -> int:
        """How many processes may share a batch."""
        return max(count_processes(self.config, stage) for stage in self.config.stages)

    @property
    def trainer(self) -> Trainer:
        """The trainer of the present stage."""
        return self._trainers[self._stage]

    @property
    def steps(self) -> int | None:
        """The steps of all stages, if they are known."""
        steps = [trainer.steps for trainer in self._trainers]
        return None if None in steps else sum(filter(None, steps))

    @property
    def _rollouts_from(self) -> list[int | None]:
        """For each stage the step in it after which it runs through the network's own predictions."""
        return [trainer.rollouts_from for trainer in self._trainers]

    def _fit(self, **callbacks: Any) -> Outcome:
        """Train from the present stage to the end of the last; ``callbacks`` are those of `fit`."""
        while True:
            done = self.trainer
            try:
                outcome = fit(done, **callbacks)
            finally:
                if isinstance(done.engine, Processes):
                    done.engine.close()
            if outcome.status != "finished" or self._stage + 1 == len(self._trainers):
                return outcome
            self._stage += 1
            self.trainer.follow(done)

    @classmethod
    def resume(cls, run: Run) -> Training:
        """Prepare to resume a run that was stopped or killed."""
        return cls(load(str(run.config)), run)

    def execute(
        self,
        output_dir: Path,
        name: str | None,
        stem: str,
        stop: StopRequest,
        on_record: Callable[[Record], None] = lambda _: None,
        on_start: Callable[[Run], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
        overrides: Sequence[str] = (),
    ) -> Result | None:
        """Train, evaluate, and write everything to the run's folder.

        ``stem`` and ``overrides`` say what the run was made of. Under ``torchrun`` the first process does all
        this; the others train along, write nothing and return None.

        Raises:
            UnwritableError: if the folder cannot be made or written.
        """
        try:
            if distributed.follows():
                self._follow(stop)
                return None
            run = self._run or self._create(output_dir, name, stem, overrides)
            with run.locked():
                return self._train(run, stop, on_record, on_start, warn)
        finally:
            if distributed.processes() > 1:
                distributed.leave()

    def _follow(self, stop: StopRequest) -> None:
        def nothing(*_: object) -> None: ...

        with stop.listening():
            self._fit(
                on_record=nothing,
                save=nothing,
                save_best=nothing,
                due=lambda: False,
                stop=distributed.anyone(stop),
            )

    def _train(
        self,
        run: Run,
        stop: StopRequest,
        on_record: Callable[[Record], None],
        on_start: Callable[[Run], None],
        warn: Callable[[str], None],
    ) -> Result:
        for text in self._warnings:
            warn(text)
        run.cut_metrics(self.trainer.total)
        run.write_manifest(status="running")
        on_start(run)
        for note in getattr(self.dataset, "notes", ()):
            warn(note)
        started = time.monotonic() - self._seconds
        saved_at = time.monotonic()

        def save() -> None:
            nonlocal saved_at
            os.fsync(metrics.fileno())  # a state must not outlive the metrics that led to it
            self._save(run, time.monotonic() - started)
            saved_at = time.monotonic()

        def save_best() -> None:
            save_trained(run.best, self.trainer.parameters(), self.config, self.dataset)

        with stop.listening(), Tracking(warn) as tracking:
            settings = flatten(self.config.model_dump(mode="json"))
            tracking.start(self.config.tracker, run.path, settings, self.trainer.total)
            with files.writing(run.metrics), run.metrics.open("a", encoding="utf-8", buffering=1) as metrics:

                def record_step(record: Record) -> None:
                    metrics.write(files.to_json(record.as_json(), indent=None) + "\n")
                    tracking.record(record.as_json())
                    on_record(record)

                outcome = self._fit(
                    on_record=record_step,
                    save=save,
                    save_best=save_best,
                    due=lambda: time.monotonic() - saved_at >= SAVE_EVERY,
                    stop=stop if distributed.processes() == 1 else distributed.anyone(stop),
                )
            if self.trainer.selection.best is None:
                # nothing was selected by validation: the last parameters, or before a divergence the best known
                if outcome.status == "diverged":
                    self.trainer.roll_back()
                save_best()
            seconds = time.monotonic() - started
            evaluation = None
            if stop.exit_code is not None:
                outcome = Outcome("stopped")  # perhaps in the last step
            if outcome.status != "stopped":
                try:
                    with stop.at_once():  # all is saved
                        evaluation = self._finish(run, warn, tracking)
                except StoppedAtOnce:
                    outcome = Outcome("stopped")
            tracking.close(outcome.status)
        ends = {"finished": ExitCode.DONE, "diverged": ExitCode.DIVERGED}
        # another process may have been the one that was told to stop
        exit_code = ends.get(outcome.status, stop.exit_code or ExitCode.STOPPED)
        remedy = self.config.stages[self._stage].remedy if outcome.status == "diverged" else ""
        result = Result(run, outcome.status, outcome.reason, self.trainer.total, seconds, evaluation, exit_code, remedy)
        best = {} if self.trainer.selection.best is None else {"validation": self.trainer.selection.best}
        run.write_manifest(**{key: value for key, value in result.summary().items() if key != "run"}, **best)
        return result

    def _save(self, run: Run, seconds: float) -> None:
        state = self.trainer.state()
        state.facts |= {"stage": self._stage, "seconds": seconds, "numerics": self._numerics}
        state.save(run.last, run.previous)

    def _create(self, output_dir: Path, name: str | None, stem: str, overrides: Sequence[str]) -> Run:
        import torch

        run = runs.create(output_dir, name, stem)
        try:
            files.write(run.config, dump_config(self.config))
            self._save(run, 0.0)
            # only now it is a run
            run.write_manifest(
                created=runs.created_now(),
                status="running",
                config=stem,
                overrides=list(overrides),
                seed=self.config.seed,
                processes=self._processes,
                rollouts_from=self._rollouts_from,
                versions={
                    "lstmcast": __version__,
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "torch": str(torch.__version__),
                },
            )
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)  # made a moment ago, and no run yet
            raise
        return run

    def _finish(self, run: Run, warn: Callable[[str], None], tracking: Tracking) -> Evaluation | TokenEvaluation:
        """Score the best parameters, write the forecast and the pictures."""
        trained = load_trained(run)
        evaluation: Evaluation | TokenEvaluation
        if isinstance(trained, TrainedTokens):
            evaluation = evaluate_tokens(trained.engine, trained.tokens())
        else:
            assert isinstance(self.dataset, Dataset)
            evaluation = evaluate(trained.forecaster, self.dataset)
            files.write(run.forecast, rollout_csv(evaluation, trained.columns, self.dataset.clock))
        try:
            from lstmcast.reports import plots

            loss = plots.loss(run.read_metrics(), run.name, self.config.loss_name, rollouts_from=self._rollouts_from)
            plots.save(loss, run.path / "loss.png")
            if isinstance(evaluation, Evaluation) and isinstance(self.dataset, Dataset):
                picture = plots.rollout(evaluation, self.dataset.columns, run.name, self.dataset.clock)
                plots.save(picture, run.path / "rollout.png", warn)
        except Exception as error:
            # a picture is no reason to lose a training
            warn(f"the plots could not be drawn: {error}")
        tracking.finish(self.trainer.total, evaluation.summary(), sorted(run.path.glob("*.png")))
        return evaluation


@functools.cache
def fingerprint(processes: int) -> str:
    """Return a checksum of how this machine and its libraries round: what decides the last bits of a training.

    Sums and products depend on how many ``processes`` may share them, and long trainings on the compiler.
    """
    import torch

    x = np.linspace(-3, 3, 4096).reshape(64, 64)
    parts = [function(x.astype(dtype)) for dtype in ("float64", "float32") for function in (np.tanh, np.exp, np.sin)]
    parts += [part @ part for part in parts]
    try:
        compiler = version("numba")
    except PackageNotFoundError:
        compiler = ""
    switches = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    digest = hashlib.sha256(f"{torch.__version__} {processes} {compiler} {switches}".encode())
    for part in parts:
        digest.update(part.tobytes())
        digest.update((torch.from_numpy(part) @ torch.from_numpy(part).sigmoid()).numpy().tobytes())
    return digest.hexdigest()[:16]


def describe(training: Training) -> dict[str, Any]:
    """Return what a training would do, as JSON."""
    network = training.trainer.engine.network
    return {
        "schema_version": files.SCHEMA_VERSION,
        "parameters": network.size,
        "steps": training.steps,
        "config": training.config.model_dump(mode="json"),
    }
