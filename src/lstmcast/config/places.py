"""Where what a config says was written: a line of its file, or an override."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lstmcast.config.yaml_file import Location
from lstmcast.data.user_file import shorten


@dataclass
class Places:
    """The places of one config's keys; they do not make it another config.

    Attributes:
        path: the file.
        lines: the line of each key in it.
        set_by: the overrides, and the key that each sets.
        origins: for each override the place in another file that it comes from, if it was not typed.
    """

    path: Path = field(compare=False)
    lines: Mapping[Location, int] = field(compare=False)
    set_by: Sequence[tuple[Location, str]] = field(default=(), compare=False)
    origins: Mapping[str, str] | None = field(default=None, compare=False)

    def culprits(self, location: Location) -> list[str]:
        """Return the last override at, above or below a key, if there is one."""
        return [override for where, override in self.set_by if all(map(operator.eq, where, location))][-1:]

    def place(self, location: Location) -> str:
        """Name the last override at or above a key, or else its line: what lies below may be right."""
        above = [override for where, override in self.set_by if where == location[: len(where)]][-1:]
        return self.name(location, above)

    def name(self, location: Location, culprits: Sequence[str]) -> str:
        """Name the overrides that are to blame, or else the line of the innermost section around a key."""
        if culprits and self.origins is not None:
            return ", ".join(self.origins[override] for override in culprits)
        if culprits:
            return f"override {', '.join(shorten(repr(override)) for override in culprits)}"
        return place_of(self.path, self.lines, location)


def place_of(path: Path, lines: Mapping[Location, int], location: Location) -> str:
    """Name the file and the line of a key, or of the innermost section that exists around it."""
    for length in range(len(location), 0, -1):
        if location[:length] in lines:
            return f"{path}:{lines[location[:length]]}"
    return str(path)


def locate(key: str) -> Location:
    """Return where a dotted key stands."""
    return tuple(int(part) if part.isdigit() else part for part in key.split("."))
