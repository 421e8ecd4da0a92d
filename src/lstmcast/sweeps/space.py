"""The values that one key of a config takes in a sweep."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from lstmcast.config.yaml_file import YamlError, parse
from lstmcast.sections import Section


class Values(Section):
    """A list, or a range of numbers from ``from`` to ``to``, both included."""

    values: list[Any] | None = Field(None, min_length=1, description="the values; short for it: the list alone")
    start: int | float | None = Field(None, alias="from", description="smallest value of a range")
    stop: int | float | None = Field(None, alias="to", description="largest value of a range")
    step: int | float | None = Field(None, gt=0, description="distance between a range's values; null: any value")
    count: int | None = Field(None, ge=2, le=10_000, description="how many evenly spaced values a range has")
    log: bool = Field(False, description="spaced, or drawn, evenly in the logarithm")

    @model_validator(mode="before")
    @classmethod
    def _a_list_alone(cls, given: Any) -> Any:
        return {"values": given} if isinstance(given, list) else given

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what makes no sense: the key at fault and what is wrong."""
        if self.values is not None:
            if len(self.model_fields_set) > 1:
                yield "values", "a list has no range; give one of the two"
            seen = set()
            for value in self.values:
                # 1 is 1.0, but not true
                identity = value if isinstance(value, float | int) and not isinstance(value, bool) else text(value)
                if identity in seen:
                    yield "values", f"{text(value)} stands there twice"
                seen.add(identity)
            return
        if self.start is None or self.stop is None:
            yield ("to" if self.stop is None else "from"), "missing; give a list, or a range with from and to"
            return
        if self.start >= self.stop:
            yield "to", f"{self.stop} is not more than from {self.start}"
        if self.log and self.start <= 0:
            yield "from", f"{self.start} has no logarithm; a range with log begins above 0"
        if self.step is not None and (self.log or self.count is not None):
            yield "step", "goes neither with log nor with count; give one of them"
        if self.step is not None and (self.stop - self.start) / self.step > 10_000:
            yield "step", f"{self.step} makes more than 10,000 values"

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return isinstance(self.start, int) and isinstance(self.stop, int) and not isinstance(self.step, float)

    def listed(self) -> list[Any] | None:
        """Return all values in order; None for a range of any values."""
        if self.values is not None:
            return self.values
        assert self.start is not None
        assert self.stop is not None
        if self.step is not None:
            steps = math.floor((self.stop - self.start) / self.step * (1 + 1e-12))
            return [self._tidy(self.start + i * self.step) for i in range(steps + 1)]
        if self.count is not None:
            space = np.geomspace if self.log else np.linspace
            return list(dict.fromkeys(self._tidy(value) for value in space(self.start, self.stop, self.count)))
        return None

    def draw(self, random: np.random.Generator) -> Any:
        """Draw one value."""
        listed = self.listed()
        if listed is not None:
            return listed[int(random.integers(len(listed)))]
        assert self.start is not None
        assert self.stop is not None
        if self.log:
            return self._tidy(np.exp(random.uniform(np.log(self.start), np.log(self.stop))))
        if self.whole:
            return int(random.integers(int(self.start), int(self.stop) + 1))
        return self._tidy(random.uniform(self.start, self.stop))

    def ends(self) -> list[Any]:
        """Return the values that a check of the space must try: all of a list, both ends of a range."""
        listed = self.listed()
        return [self.start, self.stop] if listed is None else listed

    def _tidy(self, value: float) -> int | float:
        """Round as people write: whole numbers where they are wanted, else six digits."""
        return round(value) if self.whole else float(f"{float(value):.6g}")


def override(key: str, value: Any) -> str:
    """Write ``KEY=VALUE`` as the command line reads it."""
    return f"{key}={text(value)}"


def text(value: Any) -> str:
    """Write a value in one line of YAML; what JSON would quote stays as it is where that reads the same."""
    if isinstance(value, str):
        try:
            if value and parse(value).value == value:
                return value
        except YamlError:
            pass
    # without spaces: shells and xargs take a command line apart at them
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
