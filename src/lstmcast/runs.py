"""Run folders: their names, their files, and the one place where files are written."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from lstmcast.errors import InvalidError, NotFoundError, UnwritableError, UsageError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", re.ASCII)
LATEST = "latest"
SCHEMA_VERSION = 1


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one clear error.

    Raises:
        UnwritableError: if the block raises `OSError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Replace a file whole or not at all: the block writes beside it, then it is flushed to the disk and moved.

    Raises:
        UnwritableError: if that fails; the old file is left as it was.
    """
    with writing(path):
        special = path.exists() and not path.is_file()
        target = path.resolve()  # a link is written through
    if special:
        # a device or a pipe cannot be replaced; a folder refuses by itself
        with writing(path), path.open("wb") as stream:
            yield stream
        return
    path = target
    with writing(path):
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path: Path, content: bytes | str) -> None:
    """Replace a file whole or not at all.

    Raises:
        UnwritableError: if that fails; the old file is left as it was.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def to_json(document: Any, *, indent: int | None = 2) -> str:
    """Write JSON without NaN and infinities, in UTF-8."""
    return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)


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
        """All that training needs to go on."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def forecast(self) -> Path:
        """The rollout over the test part, as CSV."""
        return self.path / "forecast.csv"

    @property
    def manifest(self) -> Path:
        """What became of the run, as JSON."""
        return self.path / "run.json"

    def read_manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises:
            InvalidError: if it is missing or damaged.
        """
        try:
            document = json.loads(self.manifest.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidError(f"{self.manifest}: not readable as a run's manifest: {error}") from None
        if not isinstance(document, dict):
            raise InvalidError(f"{self.manifest}: not a run's manifest")
        return document

    def cut_metrics(self, step: int) -> None:
        """Drop the lines after ``step``, and a line cut short: those steps will be done again."""
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines(keepends=True) if self.metrics.exists() else ():
            try:
                if json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            kept.append(line)
        write(self.metrics, "".join(kept))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the metrics, one mapping a step.

        Raises:
            InvalidError: if the file is missing or damaged.
        """
        try:
            return [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise InvalidError(f"{self.metrics}: not readable as metrics: {error}") from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for the one process that trains it; the kernel frees it when that process dies.

        Raises:
            UsageError: if another process holds it.
        """
        import fcntl

        with writing(self.path), (self.path / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"{self.path}: another process is training in it") from None
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
    if name is not None:
        check_name(name)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:60] or "run"
    base = name or f"{stem}-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
    with writing(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
        attempt = 1
        while True:
            path = output_dir / (base if attempt == 1 else f"{base}-{attempt}")
            try:
                path.mkdir()
            except FileExistsError:
                if name is not None:
                    raise UsageError(
                        f"--name {name}: {path} is there already",
                        f"choose another name, or go on with it: lstmcast train --resume {path}",
                    ) from None
                attempt += 1
                continue
            run = Run(path)
            run.last.parent.mkdir()
            return run


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
        runs = all_runs(output_dir)
        if not runs:
            raise NotFoundError(f"{output_dir}: no runs in it", "train one first: lstmcast train --config NAME")
        return runs[-1][0]
    for path in (Path(reference), output_dir / reference):
        with suppress(OSError, ValueError):  # a name may be too long, or hold a NUL
            if (path / "run.json").is_file():
                return Run(path)
    import difflib

    near = difflib.get_close_matches(reference, [run.name for run, _ in all_runs(output_dir)], n=1)
    raise NotFoundError(
        f"run {reference[:120]!r}: no such folder with a run.json, and no run of that name in {output_dir}",
        f"did you mean {near[0]!r}?" if near else "see `lstmcast runs`",
    )
