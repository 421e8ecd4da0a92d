"""Run folders: their names, what lies in them, and who holds them."""

from __future__ import annotations

import fcntl
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lstmcast.errors import InvalidError, NotFoundError, UsageError, nearest
from lstmcast.files import (
    SCHEMA_VERSION,
    make_folder,
    read,
    remove_dead_temporaries,
    to_json,
    without_waiting,
    write,
    writing,
)

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
LATEST = "latest"
# what makes a folder a sweep
SWEEP = "sweep.json"
MAX_MANIFEST = 2**20
MAX_METRICS = 512 * 2**20
MAX_FORECAST = 512 * 2**20
MAX_SWEEP = 64 * 2**20


@dataclass(frozen=True)
class Run:
    """One run's folder."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON line for each training step."""
        return self.path / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """The parameters that forecasts use."""
        return self.path / "checkpoints" / "best.safetensors"

    @property
    def last(self) -> Path:
        """All that training needs to resume."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def previous(self) -> Path:
        """The state before the last one, should that be damaged."""
        return self.path / "checkpoints" / "previous.safetensors"

    @property
    def forecast(self) -> Path:
        """The rollout over the test part, as CSV."""
        return self.path / "forecast.csv"

    @property
    def manifest(self) -> Path:
        """What became of the run, as JSON."""
        return self.path / "run.json"

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest; a run that was killed has stopped, though it could not write that down.

        Raises:
            InvalidError: if it is missing or damaged.
        """
        held = self.held  # before and after: a run may begin or end just now
        try:
            document = json.loads(read(self.manifest, MAX_MANIFEST))
        except (NotFoundError, ValueError, RecursionError) as error:
            raise InvalidError(f"{self.manifest}: not readable as a run's manifest: {error}") from None
        if not isinstance(document, dict):
            raise InvalidError(f"{self.manifest}: not a run's manifest")
        if document.get("status") == "running" and not (held or self.held):
            document["status"] = "stopped"
        return document

    def cut_metrics(self, step: int) -> None:
        """Drop the lines after ``step``, and a line cut short: those steps will be done again."""
        kept = []
        for line in read(self.metrics, MAX_METRICS).splitlines(keepends=True) if self.metrics.exists() else ():
            try:
                if json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError, RecursionError):
                break
            kept.append(line)
        write(self.metrics, b"".join(kept))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the metrics, one mapping a step.

        Raises:
            InvalidError: if the file is missing or damaged.
        """
        try:
            return [json.loads(line) for line in read(self.metrics, MAX_METRICS).splitlines()]
        except (NotFoundError, ValueError, RecursionError) as error:
            raise InvalidError(f"{self.metrics}: not readable as metrics: {error}") from None

    @property
    def held(self) -> bool:
        """Whether a process holds the run, or nobody can tell."""
        try:
            with open(self._lock, opener=without_waiting) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    @property
    def _lock(self) -> Path:
        return self.path / "lock"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for the one process that trains it; the kernel frees it when that process dies.

        Raises:
            UsageError: if another process holds it.
        """
        with writing(self.path), self._lock.open("w") as file:
            for patience in (4, 3, 2, 1, 0):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not patience:
                        raise UsageError(f"{self.path}: another process is training in it") from None
                    time.sleep(0.05)  # perhaps it has only been asked whether it is held
            for folder in (self.path, self.last.parent):
                remove_dead_temporaries(folder)
            yield

    def write_manifest(self, **fields: Any) -> None:
        """Add fields to the manifest."""
        known = self.read_manifest() if self.manifest.exists() else {"schema_version": SCHEMA_VERSION}
        write(self.manifest, to_json(known | fields) + "\n")


def check_name(name: str) -> None:
    """Refuse a name that is no plain folder name.

    Raises:
        UsageError: if it is not.
    """
    if not NAME.fullmatch(name) or name == LATEST:
        raise UsageError(
            f"--name {name[:80]!r}: a run's name is 1 to 100 of the characters A-Z a-z 0-9 . _ -,"
            f" beginning with a letter, a digit or _, and not {LATEST!r}"
        )


def create(output_dir: Path, name: str | None, stem: str) -> Run:
    """Make a new run's folder, named ``name`` or after ``stem`` and the time.

    Raises:
        UsageError: if the name is no plain folder name, or is taken.
        UnwritableError: if the folder cannot be made.
    """
    run = Run(create_folder(output_dir, name, stem))
    with writing(run.path):
        try:
            make_folder(run.last.parent)
        except OSError:
            run.path.rmdir()
            raise
    return run


def create_folder(output_dir: Path, name: str | None, stem: str) -> Path:
    """Make a new folder for a run or a sweep, named ``name`` or after ``stem`` and the time.

    Raises:
        UsageError: if the name is no plain folder name, or is taken.
        UnwritableError: if the folder cannot be made.
    """
    if name is not None:
        check_name(name)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:60] or "run"
    base = name or f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    with writing(output_dir):
        if not output_dir.is_dir():
            with suppress(FileExistsError):
                make_folder(output_dir)
        attempt = 1
        while True:
            path = output_dir / (base if attempt == 1 else f"{base}-{attempt}")
            try:
                make_folder(path)
            except FileExistsError:
                if name is not None:
                    hint = "choose another name"
                    if Run(path).manifest.exists():
                        hint += f", or resume it: lstmcast train --resume {path}"
                    elif (path / SWEEP).exists():
                        hint += f", or resume it: lstmcast sweep run SPEC --name {name} --resume"
                    raise UsageError(f"--name {name}: {path} is there already", hint) from None
                attempt += 1
                continue
            return path


def created_now() -> str:
    """Return the time, for a manifest."""
    return datetime.now(UTC).isoformat()


def all_runs(output_dir: Path) -> list[tuple[Run, dict[str, Any]]]:
    """Return every run in a folder with its manifest, oldest first; folders without a readable one are skipped."""
    found = []
    for path in output_dir.iterdir() if output_dir.is_dir() else ():
        run = Run(path)
        with suppress(InvalidError):
            found.append((run, run.read_manifest()))
    return sorted(found, key=lambda item: (str(item[1].get("created", "")), item[0].name))


def find(reference: str, output_dir: Path) -> Run:
    """Find a run by its path, by its name, or as ``latest``.

    Raises:
        NotFoundError: if there is none.
    """
    if reference == LATEST:
        # a sweep's trials are runs, too
        folders = [output_dir, *(sweep.parent for sweep in output_dir.glob(f"*/{SWEEP}"))]
        last = [runs[-1] for folder in folders if (runs := all_runs(folder))]
        if not last:
            raise NotFoundError(f"{output_dir}: no runs in it", "train one first: lstmcast train --config NAME")
        return max(last, key=lambda item: str(item[1].get("created", "")))[0]
    for path in (Path(reference), output_dir / reference):
        with suppress(OSError, ValueError):  # a name may be too long, or hold a NUL
            if (path / "run.json").is_file():
                return Run(path)
            if (path / SWEEP).is_file():
                raise NotFoundError(f"{path} is a sweep, not a run", f"its best run: lstmcast sweep best {path}")
    # runs have short names: "const" is not meant by "ghost"
    near = nearest(reference, [run.name for run, _ in all_runs(output_dir)], cutoff=0.7)
    raise NotFoundError(
        f"run {reference[:120]!r}: no such folder with a run.json, and no run of that name in {output_dir}",
        f"did you mean {near!r}?" if near else "see `lstmcast runs`",
    )
