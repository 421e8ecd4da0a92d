"""From a YAML file and overrides to a valid config, or to all that is wrong with them at once."""

from __future__ import annotations

import copy
import csv
import functools
import operator
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lstmcast.config import shipped, yaml_file
from lstmcast.config.places import Places, locate
from lstmcast.config.schema import Config
from lstmcast.config.yaml_file import MAX_DEPTH, Location, YamlError, parse
from lstmcast.data.user_file import read_text, shorten, status
from lstmcast.errors import InvalidError, LstmcastError, NotFoundError, UsageError, nearest
from lstmcast.sections import Document

MAX_BYTES = 2**20
MAX_PROBLEMS = 20
# keys whose values are text, such as the names that people gave to columns and files
NAMES = ("columns", "time_column", "time_format", "path")
# what a value should be, by pydantic's type of error, where pydantic's own words do not suit a YAML file
EXPECTED = {
    "model_type": "a mapping (`key: value` lines)",
    "list_type": "a list",
    "string_type": "text",
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "too_short": "a list of {min_length} or more",
    "too_long": "a list of {max_length} or fewer",
    "string_too_short": "not empty",
}

DocumentT = TypeVar("DocumentT", bound=Document)


class Problem(NamedTuple):
    """Something wrong with a config, where, and perhaps a hint."""

    location: Location
    message: str
    hint: str | None = None


def find(name: str) -> Path:
    """Find a config file by its path, or a shipped one by its name.

    Raises:
        NotFoundError: if there is neither.
    """
    path = Path(name)
    found = status(path)
    if found and stat.S_ISREG(found.st_mode):
        return path
    if name in shipped.names():
        return shipped.path(name)
    if found:
        raise NotFoundError(f"config {shorten(repr(name), 200)}: not a regular file")
    near = nearest(path.stem, shipped.names())
    raise NotFoundError(
        f"config {shorten(repr(name), 200)}: no such file, and no shipped config of that name",
        f"did you mean the shipped config {near!r}?" if near else "see `lstmcast config list`",
    )


def load(
    name: str, overrides: Sequence[str] = (), seed: int | None = None, origins: Mapping[str, str] | None = None
) -> Config:
    """Load a config by path or shipped name, with overrides ``KEY=VALUE``.

    ``origins`` names for each override the place in a file that it comes from, if it was not typed.

    Raises:
        NotFoundError: if there is no such config.
        UsageError: if an override is not of that form, or what it sets is wrong.
        InvalidError: if the file is wrong; the message lists everything, with file and line.

    An override of a section's ``kind`` drops the file's other keys of that section.
    """
    path = find(name)
    document = _read(path, "a config")
    _anchor(document.value, path.parent)
    if seed is not None:
        overrides = [*overrides, f"seed={seed}"]
    tree = copy.deepcopy(document.value)
    # a new kind empties its section, so it comes before what else is set there
    overrides = sorted(overrides, key=lambda override: not override.partition("=")[0].endswith(".kind"))
    set_by = [(_apply(tree, override), override) for override in overrides]
    # what is still relative was typed in a shell
    _anchor(tree, Path())
    config, problems, more = _check(Config, tree)
    # of those with origins only they are named: nobody has written the others
    written = [item for item in set_by if origins is None or item[1] in origins]
    places = Places(path, document.lines, written, origins)
    if config:
        config.remember(places)
        return config
    file_is_valid = bool(overrides) and _check(Config, document.value)[0] is not None
    if file_is_valid and len(problems) == 1 and problems[0].hint is None:
        problems = [problems[0]._replace(hint=_way_out(tree, problems[0].location, [place for place, _ in set_by]))]
    raise _refusal(problems, more, places, file_is_valid)


def load_document(path: Path, model: type[DocumentT], what: str) -> tuple[DocumentT, dict[Location, int]]:
    """Load a YAML file of another kind, by the same rules; return it and the line of each key.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if the file is wrong; the message lists everything, with file and line.
    """
    document = _read(path, what)
    found, problems, more = _check(model, document.value)
    if found:
        return found, document.lines
    raise _refusal(problems, more, Places(path, document.lines), False)


def _read(path: Path, what: str) -> yaml_file.Document:
    try:
        document = parse(read_text(path, MAX_BYTES))
    except YamlError as error:
        raise InvalidError(f"{path}:{error.line}: {error.message}") from None
    if not isinstance(document.value, dict):
        raise InvalidError(f"{path}:1: {what} is a mapping (`key: value` lines), this is not one")
    return document


def _anchor(tree: dict[str, Any], folder: Path) -> None:
    """Make the data's relative path an absolute one."""
    section = tree.get("data")
    while isinstance(section, dict):
        # an empty path must not become the folder
        if isinstance(section.get("path"), str) and section["path"]:
            section["path"] = str((folder / section["path"]).absolute())
        section = section.get("source")


def _apply(tree: dict[str, Any], override: str) -> Location:
    """Set one key; return where."""
    key, equals, text = override.partition("=")
    *above, last = key.split(".")
    if not equals or not all([*above, last]) or len(above) >= MAX_DEPTH:
        raise UsageError(
            f"override {shorten(repr(override))}: not of the form KEY=VALUE",
            "for instance optimizer.learning_rate=1e-3",
        )
    names = last in NAMES and text.isprintable() and "\\" not in text
    value = _names(text, several=last == "columns") if names else _value(text, override)
    node: Any = tree
    location: Location = ()
    for part in above:
        place = _step(node, part, override, location)
        location = (*location, place)
        if isinstance(node, dict):
            node.setdefault(place)
        if not isinstance(node[place], dict | list):
            node[place] = {}
        node = node[place]
    place = _step(node, last, override, location)
    if last == "kind" and isinstance(node, dict) and node.get("kind") != value:
        # another kind has other keys: those of the file's kind go with it
        node.clear()
    node[place] = value
    return (*location, place)


def _value(text: str, override: str) -> Any:
    """Read the value of an override as YAML."""
    try:
        return parse(text).value
    except YamlError as error:
        hint = "put quotes around text with signs of YAML's own, and others around the whole: 'KEY=\"# text\"'"
        raise UsageError(f"override {shorten(repr(override))}: {error.message}", hint) from None


def _names(text: str, *, several: bool) -> Any:
    """Read a name, or a list of names, as text: [#Sold], [0] and pm2.5 are names, though YAML sees other things."""
    try:
        value = parse(text).value
    except YamlError:
        value = 0
    names = [value] if isinstance(value, str) and several else value
    if isinstance(names, str) or (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        return names
    if text.strip() in ("null", "~", ""):
        return None
    bracketed = re.fullmatch(r"\s*\[(.*)\]\s*", text)
    if not several:
        return text
    return next(csv.reader([bracketed[1] if bracketed else text], skipinitialspace=True))


def _way_out(tree: dict[str, Any], location: Location, overridden: Sequence[Location]) -> str | None:
    """Name the key of the file that contradicts an override, if all is well without it.

    It is the one at fault, or if that was set by an override, one beside it.
    """
    *above, last = location
    try:
        section: Any = functools.reduce(operator.getitem, above, tree)  # type: ignore[arg-type]
    except (LookupError, TypeError):
        return None  # a default is at fault
    for key in section if location in overridden else [last]:
        if (*above, key) in overridden or not isinstance(section, dict) or section.get(key) is None:
            continue
        value, section[key] = section[key], None
        valid = _check(Config, tree)[0]
        section[key] = value
        if valid:
            return f"{'.'.join(map(str, (*above, key)))}=null"
    return None


def _step(node: dict[str, Any] | list[Any], part: str, override: str, location: Location) -> str | int:
    """Return the key of ``node`` (which stands at ``location``), or the index in it, that a part of a path means."""
    if isinstance(node, dict):
        return part
    indices = [str(index) for index in range(len(node))]
    if part not in indices:
        where = ".".join(map(str, location))
        raise UsageError(
            f"override {shorten(repr(override))}: {where} is a list of {len(node)}; {shorten(part)} is not in it"
        )
    return indices.index(part)


def _check(model: type[DocumentT], tree: dict[str, Any]) -> tuple[DocumentT | None, list[Problem], int]:
    """Return the valid document, or the first problems and the number of those left out."""
    try:
        document = model.model_validate(tree)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        first = [_explain(details, model) for details in errors[:MAX_PROBLEMS]]
        return None, first, max(0, len(errors) - MAX_PROBLEMS)
    problems = []
    for key, message in document.contradictions():
        location = locate(key) if isinstance(key, str) else key
        problems.append(Problem(location, f"{'.'.join(map(str, location))}: {message}"))
    return None if problems else document, problems, 0


def _refusal(problems: Sequence[Problem], more: int, places: Places, file_is_valid: bool) -> LstmcastError:
    """Name for each problem the last override at, above or below it, or the file and line.

    If the file is valid without them, the overrides are to blame for what appears elsewhere too.
    """
    everyone = [override for _, override in places.set_by] if file_is_valid else []
    messages, blamed = [], True
    for problem in problems:
        culprits = places.culprits(problem.location) or everyone
        blamed = blamed and bool(culprits)
        hint = f" ({problem.hint})" if problem.hint and len(problems) > 1 else ""
        messages.append(f"{places.name(problem.location, culprits)}: {problem.message}{hint}")
    if more:
        messages.append(f"and {more} more")
    kind = UsageError if blamed and places.origins is None else InvalidError
    return kind("\n".join(messages), problems[0].hint if len(problems) == 1 else None)


def _explain(details: ErrorDetails, model: type[Document]) -> Problem:
    """Turn one of pydantic's errors into where, what and a hint."""
    location, section, node = _follow(details["loc"], _schema(model))
    key = shorten(".".join(map(str, location)))
    found, context, kind = details["input"], details.get("ctx", {}), details["type"]
    wrong = f"{key}: {shorten(_shown(found))} is"
    if kind == "extra_forbidden":
        allowed = list(section["properties"])
        message = f"{key}: no such key; allowed are {', '.join(allowed)}"
        above = "".join(f"{part}." for part in location[:-1])
        below = [
            f"{above}{key}" for name in allowed for key in _keys(name, section["properties"][name], _schema(model))
        ]
        return Problem(location, message, _nearest(location[-1], [*allowed, *below], cutoff=0.5))
    if kind == "missing":
        return Problem(location, f"{key}: missing; it must be given")
    if kind == "literal_error":
        allowed = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return Problem(location, f"{wrong} not one of {', '.join(allowed)}", _nearest(found, allowed))
    if kind == "model_attributes_type":
        kinds = _kinds(node)
        hint = f"write {{kind: {found}}}" if found in kinds else None
        return Problem(location, f"{wrong} wrong: it should be a mapping with a kind: {', '.join(kinds)}", hint)
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        kinds, wanted = _kinds(node), found.get("kind")
        what = "missing; it must be" if wanted is None else f"{shorten(_shown(wanted))} is not"
        return Problem((*location, "kind"), f"{key}.kind: {what} one of {', '.join(kinds)}", _nearest(wanted, kinds))
    expected = EXPECTED.get(kind, "").format(**context) or details["msg"].removeprefix("Input should be ")
    return Problem(location, f"{wrong} wrong: it should be {expected}")


def _shown(value: Any) -> str:
    """Write a value as in YAML."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _nearest(word: Any, allowed: Sequence[str], cutoff: float = 0.6) -> str | None:
    near = nearest(str(word), allowed, cutoff)
    return f"did you mean {near!r}?" if near else None


def _follow(parts: Location, schema: dict[str, Any]) -> tuple[Location, dict[str, Any], dict[str, Any]]:
    """Follow one of pydantic's locations through the JSON Schema.

    Returns:
        The location without the kinds that pydantic names in it, the schema of the section around its last
        part, and the schema of that part.
    """
    location: Location = ()
    section, node = {}, schema
    for part in parts:
        if "discriminator" in node:
            node = _resolve({"$ref": node["discriminator"]["mapping"][part]}, schema)
        else:
            location, section = (*location, part), node
            below = node.get("additionalProperties") or {}  # of a section whose keys are the user's
            node = _resolve(
                node["items"] if isinstance(part, int) else node.get("properties", {}).get(part, below), schema
            )
    return location, section, node


@functools.cache
def _schema(model: type[Document]) -> dict[str, Any]:
    return model.model_json_schema()


def _resolve(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference, through an optional section's ``anyOf``."""
    sections = {"$ref", "items", "discriminator"}
    node = next((choice for choice in node.get("anyOf", ()) if sections & choice.keys()), node)
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _keys(name: str, node: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
    """Yield the dotted keys below a key, those of all kinds; lists and sections of the user's own keys have none."""
    node = _resolve(node, schema)
    for choice in [_resolve(choice, schema) for choice in node.get("oneOf", ())] or [node]:
        for key, below in choice.get("properties", {}).items():
            yield f"{name}.{key}"
            yield from _keys(f"{name}.{key}", below, schema)


def _kinds(union: dict[str, Any]) -> list[str]:
    """Return the kinds of a union in the order in which they are declared."""
    kinds = {reference: kind for kind, reference in union["discriminator"]["mapping"].items()}
    return [kinds[member["$ref"]] for member in union["oneOf"]]
