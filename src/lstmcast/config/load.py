"""From a YAML file and overrides to a valid config, or to all that is wrong with them at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lstmcast.config import shipped
from lstmcast.config.schema import Config
from lstmcast.config.yaml_file import Document, YamlError, parse
from lstmcast.errors import InvalidError, LstmcastError, NotFoundError, UsageError

UNIONS = ("data", "optimizer", "schedule")


def find(name: str) -> Path:
    """Find a config file by its path, or a shipped one by its name.

    Raises:
        NotFoundError: if there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if name in shipped.names():
        return shipped.path(name)
    if path.exists():
        raise NotFoundError(f"--config {name}: not a regular file")
    near = difflib.get_close_matches(path.stem, shipped.names(), n=1)
    raise NotFoundError(
        f"--config {name}: no such file, and no shipped config of that name",
        f"did you mean the shipped config {near[0]!r}?" if near else "see `lstmcast config list`",
    )


def load(name: str, overrides: Sequence[str] = (), seed: int | None = None) -> Config:
    """Load a config by path or shipped name, with overrides ``KEY=VALUE``.

    Raises:
        NotFoundError: if there is no such config.
        UsageError: if an override is not of that form, or what it sets is wrong.
        InvalidError: if the file is wrong; the message lists everything, with file and line.
    """
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        document = parse(text)
    except YamlError as error:
        raise InvalidError(f"{path}:{error.line}: {error.message}") from None
    if not isinstance(document.value, dict):
        raise InvalidError(f"{path}:1: a config is a mapping (`key: value` lines), this is not one")
    data = document.value.get("data")
    for section in (data, data.get("source")) if isinstance(data, dict) else ():
        if isinstance(section, dict) and isinstance(section.get("path"), str):
            section["path"] = str(path.parent.resolve() / section["path"])
    if seed is not None:
        overrides = [*overrides, f"seed={seed}"]
    set_by: dict[tuple[str, ...], str] = {}
    for override in overrides:
        _apply(document.value, override, set_by)
    return _validate(document, path, set_by)


def _apply(tree: dict[str, Any], override: str, set_by: dict[tuple[str, ...], str]) -> None:
    key, equals, text = override.partition("=")
    keys = tuple(key.split("."))
    if not equals or not all(keys):
        raise UsageError(
            f"override {override!r}: not of the form KEY=VALUE", "for instance optimizer.learning_rate=1e-3"
        )
    try:
        value = parse(text).value
    except YamlError as error:
        raise UsageError(f"override {override!r}: {error.message}") from None
    if key in ("data.path", "data.source.path") and isinstance(value, str):
        # typed in a shell, so relative to the shell's folder
        value = str(Path(value).resolve())
    node: Any = tree
    for depth, part in enumerate(keys[:-1]):
        if isinstance(node, dict):
            if not isinstance(node.get(part), dict | list):
                node[part] = {}
            node = node[part]
        else:
            node = _item(node, part, override, keys[:depth])
    if isinstance(node, dict):
        node[keys[-1]] = value
    else:
        _item(node, keys[-1], override, keys[:-1])
        node[int(keys[-1])] = value
    set_by[keys] = override


def _item(node: list[Any], part: str, override: str, above: tuple[str, ...]) -> Any:
    if not part.isdecimal() or int(part) >= len(node):
        raise UsageError(f"override {override!r}: {'.'.join(above)} is a list of {len(node)}; {part} is not in it")
    return node[int(part)]


def _validate(document: Document, path: Path, set_by: dict[tuple[str, ...], str]) -> Config:
    try:
        config = Config.model_validate(document.value)
    except ValidationError as error:
        problems = [_explain(details) for details in error.errors(include_url=False)]
    else:
        problems = [(tuple(key.split(".")), f"{key}: {message}", None) for key, message in config.contradictions()]
        if not problems:
            return config
    lines, blamed = [], True
    for location, message, hint in problems:
        override = next((set_by[location[:n]] for n in range(len(location), 0, -1) if location[:n] in set_by), None)
        blamed = blamed and override is not None
        where = f"override {override!r}" if override else _where(document, path, location)
        lines.append(f"{where}: {message}" + (f" ({hint})" if hint and len(problems) > 1 else ""))
    kind: type[LstmcastError] = UsageError if blamed else InvalidError
    raise kind("\n".join(lines), problems[0][2] if len(problems) == 1 else None)


def _where(document: Document, path: Path, location: tuple[str, ...]) -> str:
    """Name the file and the line of a key, or of the innermost section that exists around it."""
    known = {tuple(map(str, key)): line for key, line in document.lines.items()}
    for length in range(len(location), 0, -1):
        if location[:length] in known:
            return f"{path}:{known[location[:length]]}"
    return str(path)


def _explain(details: ErrorDetails) -> tuple[tuple[str, ...], str, str | None]:
    """Turn one of pydantic's errors into where, what and a hint."""
    location = [str(part) for part in details["loc"]]
    if len(location) > 1 and location[0] in UNIONS:
        # pydantic names the union's member after the section
        del location[1]
    key = ".".join(location)
    found = details["input"]
    context = details.get("ctx", {})
    kind = details["type"]
    if kind == "extra_forbidden":
        allowed = _siblings(details["loc"])
        near = difflib.get_close_matches(location[-1], allowed, n=1, cutoff=0.5)
        message = f"{key}: no such key; allowed are {', '.join(allowed)}"
        return tuple(location), message, f"did you mean {near[0]!r}?" if near else None
    if kind == "missing":
        return tuple(location), f"{key}: missing; it must be given", None
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        allowed = [name.strip(" '") for name in context.get("expected_tags", _kinds(location[0])).split(",")]
        wanted = found.get("kind") if isinstance(found, dict) else found
        near = difflib.get_close_matches(str(wanted), allowed, n=1)
        what = f"{wanted!r} is not one of" if wanted is not None else "missing; it must be one of"
        message = f"{key}.kind: {what} {', '.join(allowed)}"
        return (*location, "kind"), message, f"did you mean {near[0]!r}?" if near else None
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        near = difflib.get_close_matches(str(found), expected.replace(" or ", ", ").split(", "), n=1)
        message = f"{key}: {found!r} is not one of {expected.replace(' or ', ', ')}"
        return tuple(location), message, f"did you mean {near[0]!r}?" if near else None
    text = details["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return tuple(location), f"{key}: {_short(found)} is wrong: it should be {text}", None


def _short(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _kinds(section: str) -> str:
    schema = Config.model_json_schema()
    return ", ".join(schema["properties"][section]["discriminator"]["mapping"])


def _siblings(location: Iterable[str | int]) -> list[str]:
    """Return the keys allowed beside the last part of one of pydantic's locations."""
    schema = Config.model_json_schema()
    node: dict[str, Any] = schema
    for part in list(location)[:-1]:
        if "mapping" in node.get("discriminator", {}):
            node = _resolve(schema, {"$ref": node["discriminator"]["mapping"][part]})
        elif isinstance(part, int):
            node = _resolve(schema, node["items"])
        else:
            node = _resolve(schema, node["properties"][part])
    return list(node["properties"])


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, through an optional section's ``anyOf``."""
    for choice in node.get("anyOf", []):
        if "$ref" in choice or "items" in choice:
            return _resolve(schema, choice)
    if "$ref" in node:
        target: dict[str, Any] = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return target
    return node
