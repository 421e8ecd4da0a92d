"""The base of every section of a config: strict, closed, immutable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

Seed: TypeAlias = int | Sequence[int]
"""What ``numpy.random.default_rng`` takes: a number, or several, the last of which names the stream."""


class Section(BaseModel):
    """A section of the YAML file; unknown keys, wrong types, infinities and NaN are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, defer_build=True)


class Document(Section):
    """The whole of a YAML file."""

    def contradictions(self) -> Iterator[tuple[str | tuple[str | int, ...], str]]:
        """Yield each combination that makes no sense: the key at fault and what is wrong."""
        yield from ()
