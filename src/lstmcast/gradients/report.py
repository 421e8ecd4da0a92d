"""What a check of gradients found."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from lstmcast.files import SCHEMA_VERSION


@dataclass(frozen=True)
class ParameterResult:
    """How far one parameter's gradient is from the oracle's.

    Attributes:
        relative_error: norm of the difference over the norm of the oracle's gradient (with a floor).
        passed: it is small enough.
        worst_element: the indices of the entry that is furthest off.
        note: anything worth saying beside the number.
    """

    relative_error: float
    passed: bool
    worst_element: tuple[int, ...] | None = None
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One mistake, or the place of one that has no name.

    Attributes:
        slot: where in the backward pass.
        found: the formula that stands there.
        expected: the formula that belongs there.
        evidence: what shows it.
    """

    slot: str
    found: str
    expected: str
    evidence: str


@dataclass(frozen=True)
class Report:
    """The result of a check, and the diagnosis if it failed.

    Attributes:
        passed: every gradient is right.
        oracle: what they were compared with.
        worst_relative_error: the largest of the parameters' errors.
        parameters: the result for each parameter, by name.
        diagnosis: what is wrong, one finding a mistake.
        notes: what else the user should know.
    """

    passed: bool
    oracle: str
    worst_relative_error: float
    parameters: dict[str, ParameterResult]
    diagnosis: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON document's fields; an error that is no number becomes None."""
        document = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        for holder in (document, *document["parameters"].values()):
            for key in ("relative_error", "worst_relative_error"):
                if key in holder and not math.isfinite(holder[key]):
                    holder[key] = None
        return document
