"""What the shell offers at the tab key: names of runs and configs, keys of a config and their values.

None of it loads torch, and runs are found by their folders' names: it has to be there at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from lstmcast.runs import SWEEP

MAX_DEPTH = 5


def join_bash_words() -> None:
    """Make bash's words ours: it takes the = of KEY=VALUE for a word, and completes what comes after it."""
    words, current = os.environ.get("COMP_WORDS", "").split(), os.environ.get("COMP_CWORD", "")
    if current.isdigit() and int(current) < len(words) and words[int(current)] == "=":
        os.environ["COMP_CWORD"] = str(int(current) + 1)


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the runs of the output folder, and sweeps, and what is on the way to others."""
    folder = Path(ctx.params.get("output_dir") or "outputs")
    names = ["latest", *(path.name for path in _folders(folder) if _holds_runs(path))]
    return [name for name in names if name.startswith(incomplete)] or _paths(incomplete, "*")


def sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the sweeps of the output folder."""
    folder = Path(ctx.params.get("output_dir") or "outputs")
    names = ["latest", *(path.name for path in _folders(folder) if (path / SWEEP).exists())]
    return [name for name in names if name.startswith(incomplete)] or _paths(incomplete, "*")


def _folders(folder: Path) -> Iterator[Path]:
    yield from sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else ()


def _holds_runs(path: Path) -> bool:
    return (path / "run.json").exists() or any((inside / "run.json").exists() for inside in _folders(path))


def configs(incomplete: str) -> list[str]:
    """Offer the shipped configs, and YAML files."""
    from lstmcast.config import shipped

    names = [name for name in shipped.names() if name.startswith(incomplete)]
    return [*names, *_paths(incomplete, "*.yaml"), *_paths(incomplete, "*.yml")]


def shipped_configs() -> list[str]:
    """Offer the shipped configs."""
    from lstmcast.config import shipped

    return shipped.names()


def _paths(incomplete: str, pattern: str) -> list[str]:
    head, slash, tail = incomplete.rpartition("/")
    folder = Path(head + slash or ".")
    if not folder.is_dir():
        return []
    found = [path for path in sorted(folder.iterdir()) if path.name.startswith(tail)]
    files = [f"{head}{slash}{path.name}" for path in found if path.match(pattern) and not path.is_dir()]
    return files + [f"{head}{slash}{path.name}/" for path in found if path.is_dir() and not path.name.startswith(".")]


def run_or_overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer overrides where there is a config, else runs."""
    return overrides(ctx, incomplete) if ctx.params.get("config") else runs(ctx, incomplete)


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer the config's keys, each with its = sign, and after that the values that are known."""
    keys = _keys()
    key, equals, _ = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in keys.get(key, ())]
    before = [str(word) for word in ctx.params.get("overrides") or ctx.params.get("run_or_overrides") or ()]
    if before[-1:] == ["="]:  # bash has cut KEY=VALUE into three words
        return keys.get(before[-2], []) if len(before) > 1 else []
    offers = [f"{key}=" for key in keys if key.startswith(incomplete)]
    if len(offers) == 1:
        # two or more, or bash would put a space after the = sign
        offers += [f"{offers[0]}{value}" for value in keys[offers[0][:-1]]]
    return offers


def conditions(incomplete: str) -> list[str]:
    """Offer the config's keys with an = sign, for a filter."""
    return [f"{key}=" for key in _keys() if key.startswith(incomplete)]


def _keys() -> dict[str, list[str]]:
    """Return the values that each key is known to take, as text; sections are left out."""
    from lstmcast.config.schema import Config

    schema = Config.model_json_schema()
    keys: dict[str, list[str]] = {}

    def visit(node: dict[str, Any], path: str, depth: int) -> None:
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]] | {"default": node.get("default")}
        for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
            visit(choice, path, depth)
        if depth < MAX_DEPTH:
            for name, inner in node.get("properties", {}).items():
                visit(inner, f"{path}.{name}" if path else name, depth + 1)
        if path and "properties" not in node and "oneOf" not in node:
            values = [*node.get("enum", ()), *([node["const"]] if "const" in node else [])]
            if node.get("type") == "boolean":
                values += [True, False]
            if not values and isinstance(node.get("default"), str | int | float):
                values = [node["default"]]
            texts = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
            keys[path] = list(dict.fromkeys([*keys.get(path, ()), *texts]))

    visit(schema, "", 0)
    return keys
