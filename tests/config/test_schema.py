"""The JSON Schema, for editors, says the same as the loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lstmcast.config.schema import Config

SCHEMA = Config.model_json_schema()
SECTIONS = {"Config": SCHEMA, **SCHEMA["$defs"]}
KINDS = {
    section: field["discriminator"]["mapping"]
    for section, field in SCHEMA["properties"].items()
    if "discriminator" in field
}


def test_it_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert set(SCHEMA["required"]) == {"data", "optimizer", "training"}


@pytest.mark.parametrize("name", SECTIONS)
def test_every_section_is_closed_and_described(name: str) -> None:
    section = SECTIONS[name]
    assert section["additionalProperties"] is False
    assert section["description"]
    for key, field in section["properties"].items():
        assert key == "kind" or field.get("description"), key


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def test_every_reference_is_defined() -> None:
    assert {reference.removeprefix("#/$defs/") for reference in references(SCHEMA)} == set(SCHEMA["$defs"])


def test_the_kinds_that_scripts_rely_on_are_there() -> None:
    assert set(KINDS) == {"data", "optimizer", "schedule"}
    assert set(KINDS["data"]) >= {"windowed_sine", "sine_bank", "random_segments", "series"}
    assert set(KINDS["optimizer"]) >= {"adam", "adamw", "sgd", "rmsprop", "lbfgs"}
    assert set(KINDS["schedule"]) >= {"constant", "step", "exponential", "cosine", "one_cycle", "plateau"}


@pytest.mark.parametrize(("section", "kind"), [(section, kind) for section in KINDS for kind in KINDS[section]])
def test_the_loader_allows_the_keys_of_the_schema(section: str, kind: str, valid: str, problems: Any) -> None:
    rest = "".join(line + "\n" for line in valid.splitlines() if not line.startswith(section))
    found = problems(f"{section}: {{kind: {kind}, no_such_key: 1}}\n{rest}")
    keys = SECTIONS[KINDS[section][kind].removeprefix("#/$defs/")]
    assert any(
        f"{section}.no_such_key: no such key; allowed are {', '.join(keys['properties'])}" in line for line in found
    )
    missing = {line.split(": ")[1] for line in found if ": missing; " in line}
    assert missing == {f"{section}.{key}" for key in keys["required"] if key != "kind"}
