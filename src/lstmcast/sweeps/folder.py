"""A sweep's folder: the spec, the base config, a manifest of the trials, and an ordinary run for each."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from lstmcast import files, runs
from lstmcast.config.build import dump_config
from lstmcast.config.load import load, load_document
from lstmcast.config.schema import Config
from lstmcast.config.yaml_file import dump
from lstmcast.data.user_file import read_text
from lstmcast.errors import InvalidError, NotFoundError, UsageError
from lstmcast.reports.records import Record
from lstmcast.runs import Run
from lstmcast.sweeps.spec import Plan, Spec, Trial

MANIFEST, SPEC, BASE = runs.SWEEP, "spec.yaml", "base.yaml"
# what a run's manifest says once it has ended
ENDS = ("finished", "pruned", "diverged")


@dataclass
class Sweep:
    """A sweep that has been started; the process that holds its lock is the one that writes."""

    path: Path
    spec: Spec
    trials: list[Trial]
    total: int
    created: str

    @classmethod
    def create(cls, plan: Plan, output_dir: Path, name: str | None) -> Sweep:
        """Make a new sweep's folder.

        Raises:
            UsageError: if the name is no plain folder name, or is taken.
            UnwritableError: if the folder cannot be made.
        """
        path = runs.create_folder(output_dir, name, plan.path.stem)
        files.write(path / SPEC, _dump(plan.spec))
        files.write(path / BASE, dump_config(plan.base))
        sweep = cls(path, plan.spec, plan.trials, plan.total, runs.created_now())
        sweep.save()
        return sweep

    @classmethod
    def load(cls, path: Path) -> Sweep:
        """Read a sweep's folder; if nobody holds it, what was running when it was killed waits.

        Raises:
            InvalidError: if its files are damaged.
        """
        spec, _ = load_document(path / SPEC, Spec, "a sweep")
        held = Run(path).held  # before and after: it may begin or end just now
        try:
            document = json.loads(files.read(path / MANIFEST, runs.MAX_SWEEP))
            trials = [
                Trial(**{key: item[key] for key in Trial.__dataclass_fields__ if key in item})
                for item in document["trials"]
            ]
            if not (held or Run(path).held):
                for trial in trials:
                    trial.status = "waiting" if trial.status == "running" else trial.status
            return cls(path, spec, trials, int(document["total"]), str(document["created"]))
        except (NotFoundError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidError(f"{path / MANIFEST}: not readable as a sweep's manifest: {error}") from None

    def save(self) -> None:
        """Write the manifest."""
        document = {
            "schema_version": files.SCHEMA_VERSION,
            "created": self.created,
            "metric": self.spec.metric,
            "direction": "maximize" if self.spec.maximizes else "minimize",
            "total": self.total,
            "trials": [asdict(trial) for trial in self.trials],
        }
        files.write(self.path / MANIFEST, files.to_json(document) + "\n")

    def same_as(self, plan: Plan) -> bool:
        """Whether a spec and its base are those that the sweep was started with.

        Raises:
            LstmcastError: if a file is missing or damaged.
        """
        asked = {SPEC: _dump(plan.spec), BASE: dump_config(plan.base)}
        return all(read_text(self.path / name, runs.MAX_SWEEP) == text for name, text in asked.items())

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def status(self) -> str:
        """``finished`` if every trial has ended, else ``unfinished``."""
        ended = sum(trial.status not in ("waiting", "running") for trial in self.trials)
        return "finished" if ended == self.total else "unfinished"

    def run(self, trial: Trial) -> Run:
        """Return a trial's run."""
        return Run(self.path / trial.name)

    def config(self, trial: Trial) -> Config:
        """Return a trial's config.

        Raises:
            LstmcastError: if it is not valid.
        """
        return load(str(self.path / BASE), trial.overrides)

    def discard(self, trial: Trial) -> None:
        """Remove what a trial has left, so that it begins anew."""
        with files.writing(self.run(trial).path), suppress(FileNotFoundError):
            shutil.rmtree(self.run(trial).path)
        trial.status, trial.score, trial.reason = "waiting", None, ""

    def take_result(self, trial: Trial) -> bool:
        """Take a trial's end and score from its run, if it has come to an end there; return whether it has."""
        run = self.run(trial)
        try:
            manifest = run.read_manifest()
        except InvalidError:
            return False
        status = manifest.get("status")
        if status not in ENDS:
            return False
        trial.status, trial.reason = status, str(manifest.get("reason", ""))
        if status == "finished":
            trial.score = self._score(Record(run, manifest))
        return True

    def _score(self, record: Record) -> float | None:
        score = record.score(self.spec.metric)
        return score if score is not None and abs(score) < float("inf") else None

    def ranked(self) -> list[Trial]:
        """Return the trials, best first; without a score last."""
        sign = -1 if self.spec.maximizes else 1
        return sorted(self.trials, key=lambda trial: (trial.score is None, sign * (trial.score or 0.0), trial.number))

    def best(self) -> Trial:
        """Return the best trial of the point with the best mean over its seeds.

        A lucky seed makes no point the best; a point with trials that have no score comes after all others.

        Raises:
            NotFoundError: if no trial has a score.
        """
        points: dict[int, list[Trial]] = defaultdict(list)
        for trial in self.trials:
            points[trial.point].append(trial)
        sign = -1 if self.spec.maximizes else 1

        def rank(trials: list[Trial]) -> tuple[bool, float]:
            scores = [trial.score for trial in trials if trial.score is not None]
            return len(scores) < len(trials), sign * fmean(scores)

        scored = [trials for trials in points.values() if any(trial.score is not None for trial in trials)]
        if not scored:
            raise NotFoundError(f"{self.path}: no trial has a score yet", f"see: lstmcast sweep status {self.path}")
        chosen = [trial for trial in min(scored, key=rank) if trial.score is not None]
        return min(chosen, key=lambda trial: sign * (trial.score or 0.0))

    def counts(self) -> dict[str, int]:
        """Return how many trials there are of each status; those that are not known yet are waiting."""
        counts: dict[str, int] = defaultdict(int)
        for trial in self.trials:
            counts[trial.status] += 1
        counts["waiting"] += self.total - len(self.trials)
        return {status: count for status, count in counts.items() if count}

    def as_json(self) -> dict[str, Any]:
        """Return the sweep as JSON, with the fields that scripts rely on."""
        try:
            best: str | None = str(self.run(self.best()).path)
        except NotFoundError:
            best = None
        return {
            "schema_version": files.SCHEMA_VERSION,
            "sweep": str(self.path),
            "status": self.status,
            "metric": self.spec.metric,
            "direction": "maximize" if self.spec.maximizes else "minimize",
            "total": self.total,
            "counts": self.counts(),
            "best": best,
            "trials": [{"run": str(self.run(trial).path), **asdict(trial)} for trial in self.trials],
        }


def validations(run: Run) -> dict[int, float]:
    """Return a run's validation metric by training step."""
    records = run.read_metrics() if run.metrics.exists() else []
    return {record["step"]: record["validation"] for record in records if record.get("validation") is not None}


def find(reference: str, output_dir: Path) -> Path:
    """Find a sweep by its path, by its name, or as ``latest``.

    Raises:
        NotFoundError: if there is none.
    """
    if reference == runs.LATEST:
        found = all_sweeps(output_dir)
        if not found:
            raise NotFoundError(f"{output_dir}: no sweeps in it", "start one: lstmcast sweep run SPEC")
        return found[-1].path
    for path in (Path(reference), output_dir / reference):
        with suppress(OSError, ValueError):  # a name may be too long, or hold a NUL
            if (path / MANIFEST).is_file():
                return path
    names = ", ".join(sweep.name for sweep in all_sweeps(output_dir)[-5:])
    raise NotFoundError(
        f"sweep {reference[:120]!r}: no such folder with a {MANIFEST}, and no sweep of that name in {output_dir}",
        f"there are {names}" if names else "start one: lstmcast sweep run SPEC",
    )


def all_sweeps(output_dir: Path) -> list[Sweep]:
    """Return every sweep in a folder, oldest first; damaged ones are skipped."""
    found = []
    for path in sorted(output_dir.glob(f"*/{MANIFEST}")):
        with suppress(InvalidError, NotFoundError):
            found.append(Sweep.load(path.parent))
    return sorted(found, key=lambda sweep: sweep.created)


def find_same(plan: Plan, output_dir: Path, name: str | None) -> Sweep:
    """Find the sweep to resume: the one of that name, or the latest of this spec.

    Raises:
        NotFoundError: if there is none.
        UsageError: if the spec or its base has changed since.
    """
    if name is None:
        for sweep in reversed(all_sweeps(output_dir)):
            with suppress(InvalidError, NotFoundError):
                if sweep.same_as(plan):
                    return sweep
        raise NotFoundError(f"--resume: no sweep of {plan.path} as it is now in {output_dir}")
    sweep = Sweep.load(find(name, output_dir))
    if not sweep.same_as(plan):
        raise UsageError(
            f"--resume: {plan.path} or its base is not what {sweep.path} was started with",
            "choose another --name for a new sweep",
        )
    return sweep


def _dump(spec: Spec) -> str:
    return dump(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True))
