"""Finished runs as records: their configs and scores by dotted keys, to be filtered, sorted and grouped."""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lstmcast.config.yaml_file import YamlError, parse
from lstmcast.errors import LstmcastError, NotFoundError, UsageError, nearest
from lstmcast.files import read
from lstmcast.runs import MAX_MANIFEST, MAX_SWEEP, SWEEP, Run, all_runs, find

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
EQUALITY = ("=", "==", "!=")
CONDITION = re.compile(r"\s*([^\s<>=!]+)\s*(!=|<=|>=|==?|<|>)\s*(.*?)\s*", re.DOTALL)
# keys whose larger values are the better ones, and those that are best at 0 or 1; of all others the smaller are
MORE_IS_BETTER = {"skill", "valid_horizon", "accuracy"}
BEST_AT = {"frequency_error": 0.0, "phase_error": 0.0, "amplitude_ratio": 1.0}
# the parts of a manifest that say how good a run is
SCORES = ("next_step", "rollout", "baselines", "validation")
HORIZON = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Record:
    """A run with its manifest, and its config when asked for."""

    run: Run
    manifest: dict[str, Any]

    @property
    def diverged(self) -> bool:
        """Whether its training left the numbers; its scores are those of the parameters before that."""
        return self.manifest.get("status") == "diverged"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as plain values; empty if it cannot be read."""
        try:
            tree = parse(read(self.run.config, MAX_MANIFEST).decode()).value
        except (LstmcastError, ValueError, YamlError):
            return {}
        return tree if isinstance(tree, dict) else {}

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The config's values by dotted keys."""
        return flatten(self.config)

    def value(self, key: str) -> Any:
        """Return the score or the config's value of that name, or None.

        ``rollout.rmse@100`` is the score over 100 steps, ``rollout.rmse`` that of the longest horizon.
        """
        key, _, horizon = key.partition("@")
        for tree in (self.manifest, self.config):
            found = _walk(tree, key)
            if isinstance(found, dict) and found and all(HORIZON.fullmatch(step) for step in found):
                return found.get(horizon or max(found, key=int))
            if found is not None and not horizon:
                return found
            if tree is self.manifest and key.split(".")[0] in tree and horizon:
                return None
        return None

    def score(self, key: str) -> float | None:
        """Return a value that is a number; a score that a finished run could not reach is infinite."""
        value = self.value(key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if value is None and key in self.score_names():
            return float("-inf") if more_is_better(key) else float("inf")
        return None

    def score_names(self) -> list[str]:
        """Return the names of all scores, each horizon's too."""
        return list(flatten(self.manifest, horizons=True))


def flatten(tree: Mapping[str, Any], prefix: str = "", *, horizons: bool = False) -> dict[str, Any]:
    """Return the values of nested mappings by their dotted keys; with ``horizons`` as ``rmse`` and ``rmse@100``.

    Mappings in a list are numbered, as in overrides: ``then.0.training.steps``.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            items = {str(index): item for index, item in enumerate(value)}
            flat |= flatten(items, f"{prefix}{key}.")
        elif not isinstance(value, dict):
            flat[f"{prefix}{key}"] = value
        elif horizons and value and all(HORIZON.fullmatch(step) for step in value):
            flat[f"{prefix}{key}"] = value[max(value, key=int)]
            flat |= {f"{prefix}{key}@{step}": score for step, score in value.items()}
        else:
            flat |= flatten(value, f"{prefix}{key}.", horizons=horizons)
    return flat


def _walk(tree: Any, key: str) -> Any:
    for part in key.split("."):
        if isinstance(tree, list):
            tree = {str(index): item for index, item in enumerate(tree)}
        if not isinstance(tree, dict) or part not in tree:
            return None
        tree = tree[part]
    return tree


def more_is_better(key: str) -> bool:
    """Whether larger values of a score are the better ones."""
    return bool(MORE_IS_BETTER & set(key.partition("@")[0].split(".")))


def badness(key: str, value: float) -> float:
    """Return a number that grows as a score gets worse."""
    name = key.partition("@")[0].rpartition(".")[2]
    if name in BEST_AT:
        return abs(value - BEST_AT[name])
    return -value if more_is_better(key) else value


def _is_score(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_scores(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_score, value.values()))


def _is_rollout(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    rmse = value.get("rmse") or {}
    return _are_scores(rmse) and all(HORIZON.fullmatch(step) for step in rmse)


def _are_baselines(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(side, dict) and _are_scores(side.get("next_step") or {}) and _is_rollout(side.get("rollout") or {})
        for side in value.values()
    )


# what a manifest's fields must be like where they are read; anyone can write one
SHAPES: dict[str, Callable[[Any], bool]] = {
    "next_step": _are_scores,
    "rollout": _is_rollout,
    "baselines": _are_baselines,
    "seed": lambda value: isinstance(value, int),
    "seconds": _is_score,
    "overrides": lambda value: isinstance(value, list),
    "rollouts_from": lambda value: isinstance(value, list) and all(map(_is_score, value)),
    "versions": lambda value: isinstance(value, dict),
    **dict.fromkeys(("status", "created", "config", "verdict", "verdict_kind"), lambda value: isinstance(value, str)),
}


def record_of(run: Run, manifest: dict[str, Any]) -> Record:
    """Return a run's record, without the fields of its manifest that are not what they should be."""
    return Record(run, {key: value for key, value in manifest.items() if key not in SHAPES or SHAPES[key](value)})


def records(output_dir: Path) -> list[Record]:
    """Return the runs of a folder, oldest first."""
    return [record_of(run, manifest) for run, manifest in all_runs(output_dir)]


def collect(references: Iterable[str], output_dir: Path) -> list[Record]:
    """Return the runs meant by paths, names, ``latest``, patterns of names (``'a-*'``) and folders of runs.

    Raises:
        NotFoundError: if one of them means no run.
    """
    found: dict[Path, Record] = {}
    for reference in references:
        for record in _meant(reference, output_dir):
            found.setdefault(record.run.path.resolve(), record)
    return list(found.values())


def _meant(reference: str, output_dir: Path) -> list[Record]:
    folder = folder_of_runs(reference, output_dir)
    if folder is not None:
        return sorted(records(folder), key=lambda record: record.run.name)
    if any(character in reference for character in "*?["):
        parent, _, pattern = reference.rpartition("/")
        inside = Path(parent) if parent else output_dir
        matches = [record for record in records(inside) if fnmatch.fnmatchcase(record.run.name, pattern)]
        if not matches:
            raise NotFoundError(f"run {reference[:120]!r}: no run in {inside} has such a name", "see `lstmcast runs`")
        return matches
    run = find(reference, output_dir)
    return [record_of(run, run.read_manifest())]


def folder_of_runs(reference: str, output_dir: Path) -> Path | None:
    """Return the folder that a path or name means, if it is no run but holds runs, as that of a sweep does."""
    for path in (Path(reference), output_dir / reference):
        try:
            if path.is_dir() and not (path / "run.json").exists() and all_runs(path):
                return path
        except (OSError, ValueError):  # a name may be too long, or hold a NUL
            continue
    return None


def sweep_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a sweep's folder; empty if it is another, or damaged."""
    try:
        document = json.loads(read(folder / SWEEP, MAX_SWEEP))
    except (LstmcastError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def select(rows: Sequence[Record], conditions: Iterable[str]) -> list[Record]:
    """Return the runs for which every condition ``KEY OPERATOR VALUE`` holds.

    Raises:
        UsageError: if a condition cannot be read, or no run knows its key.
    """
    chosen = list(rows)
    for condition in conditions:
        match = CONDITION.fullmatch(condition)
        if not match:
            raise UsageError(
                f"--where {condition[:80]!r}: not of the form KEY=VALUE, or with !=, <, <=, > or >=",
                "for instance --where optimizer.kind=adam",
            )
        key, symbol, text = match.groups()
        try:
            wanted = parse(text).value
        except YamlError as error:
            raise UsageError(f"--where {condition[:80]!r}: {error.message}") from None
        if symbol not in EQUALITY and not _is_number(wanted):
            raise UsageError(f"--where {condition[:80]!r}: {symbol} compares with a number")
        require_key("--where", key, rows)
        holds = OPERATORS[symbol]
        if symbol in EQUALITY:
            chosen = [record for record in chosen if holds(record.value(key), wanted)]
        else:
            chosen = [r for r in chosen if _is_number(value := r.value(key)) and holds(value, wanted)]
    return chosen


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_key(option: str, key: str, rows: Sequence[Record]) -> None:
    """Refuse a key that no run knows.

    Raises:
        UsageError: if there are runs, and neither config nor scores of any have it.
    """
    if not rows or any(key in record.score_names() or key in record.settings for record in rows):
        return
    if any(_walk(record.manifest, key) is not None or _walk(record.config, key) is not None for record in rows):
        return
    known = sorted({name for record in rows for name in (*record.score_names(), *record.settings)})
    near = nearest(key, known)
    base = [name for name in known if name.startswith(key.partition("@")[0] + "@")]
    hint = f"did you mean {near!r}?" if near else None
    raise UsageError(
        f"{option} {key[:80]!r}: no run has such a score or key of its config",
        f"there are {', '.join(base)}" if base else hint,
    )


def ordered(rows: Sequence[Record], key: str, *, reverse: bool = False) -> list[Record]:
    """Sort by a score or a key of the config: numbers, then text, then runs without it; those come last in any case.

    So do, after a score, runs that diverged: it is that of the parameters before it.

    Raises:
        UsageError: if no run knows the key.
    """
    require_key("--sort", key, rows)
    is_score = key.partition(".")[0] in SCORES
    with_it = [record for record in rows if record.value(key) is not None and not (is_score and record.diverged)]
    diverged = [record for record in rows if is_score and record.diverged and record.value(key) is not None]

    def place(record: Record) -> tuple[int, float, str]:
        value = record.value(key)
        return (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))

    without = [record for record in rows if record.value(key) is None]
    return [*(record for part in (with_it, diverged) for record in sorted(part, key=place, reverse=reverse)), *without]
