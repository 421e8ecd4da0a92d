"""Reading YAML from a stranger: plain values, with the line of every key, and nothing else.

Scalars follow YAML 1.2's core schema (PyYAML's own rules take ``1e-3`` for text and ``no`` for false).
Duplicate keys, anchors, aliases and tags are refused, nesting and size are bounded.
Source: https://yaml.org/spec/1.2.2/#103-core-schema
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml
from yaml.reader import ReaderError

from lstmcast.data.user_file import shorten

Location: TypeAlias = tuple[str | int, ...]

# PyYAML takes up to 15 µs for each
MAX_CHARACTERS = 50_000
MAX_DEPTH = 20
NULL = {"", "~", "null", "Null", "NULL"}
BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
INT = re.compile(r"[-+]?[0-9]{1,40}", re.ASCII)
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?", re.ASCII)
# in no file name, and in no UTF-8
UNUSABLE = re.compile("[\0\ud800-\udfff]")
SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}


class YamlError(Exception):
    """The text is not what we read; ``line`` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass
class Document:
    """A parsed document and the line of each key and list item, by path."""

    value: Any = None
    lines: dict[Location, int] = field(default_factory=dict)


def parse_scalar(text: str) -> Any:
    """Read one plain scalar by the core schema; what is nothing else is text."""
    if text in NULL:
        return None
    if text in BOOL:
        return BOOL[text]
    if INT.fullmatch(text):
        return int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    return SPECIAL.get(text.lower(), text)


def parse(text: str) -> Document:
    """Parse one document.

    Raises:
        YamlError: if it is not YAML, or uses what is refused here.
    """
    if len(text) > MAX_CHARACTERS:
        raise YamlError(1, f"{len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    try:
        loader = yaml.SafeLoader(text)
        return _build(loader)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YamlError(line, f"not YAML: {str(error).splitlines()[0]}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(mark.line + 1 if mark else 1, f"not YAML: {error.problem or error.context}") from None
    except (OverflowError, ValueError):
        # of the chr() and int() inside PyYAML
        raise YamlError(loader.line + 1, "not YAML: a number that is too large") from None


def dump(value: Any) -> str:
    """Write a tree of plain values as YAML that `parse` reads back."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes lists in one line, and quotes text that our rules would read as anything else."""


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    plain = text.isprintable() and isinstance(parse_scalar(text), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)


@dataclass
class _Open:
    """A mapping or list that is being filled; a mapping has a key when it waits for the value."""

    path: Location
    value: dict[str, Any] | list[Any]
    key: str | None = None


def _build(loader: yaml.SafeLoader) -> Document:
    document = Document()
    stack: list[_Open] = []
    documents = 0

    def place(value: Any, line: int) -> Location:
        """Put a value where it belongs; return its path."""
        if not stack:
            document.value = value
            return ()
        top = stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            path: Location = (*top.path, len(top.value) - 1)
            document.lines[path] = line
            return path
        assert top.key is not None
        top.value[top.key] = value
        path, top.key = (*top.path, top.key), None
        return path

    while loader.check_event():
        event = loader.get_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise YamlError(line, "a second document ('---'); one file holds one")
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise YamlError(line, "anchors (&) and aliases (*) are not read; write the value out")
        elif getattr(event, "tag", None):
            raise YamlError(line, f"tags ({shorten(str(getattr(event, 'tag')))}) are not read")  # noqa: B009  (not on every event)
        elif isinstance(event, yaml.ScalarEvent):
            if UNUSABLE.search(event.value):
                raise YamlError(line, "text with a null character or half a surrogate pair is not read")
            top = stack[-1] if stack else None
            if top and isinstance(top.value, dict) and top.key is None:
                if event.value in top.value:
                    raise YamlError(line, f"key {shorten(repr(event.value))} stands twice in one section")
                top.key = event.value
                document.lines[*top.path, event.value] = line
            else:
                place(parse_scalar(event.value) if event.implicit[0] else event.value, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                raise YamlError(line, "a key must be a word")
            if len(stack) == MAX_DEPTH:
                raise YamlError(line, f"nested deeper than {MAX_DEPTH} levels")
            value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            stack.append(_Open(place(value, line), value))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            stack.pop()
    return document
