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
        analytic: the gradient that was checked, at that entry; None: not kept.
        numeric: the oracle's, at that entry; None: not kept.
    """

    relative_error: float
    passed: bool
    worst_element: tuple[int, ...] | None = None
    note: str = ""
    analytic: float | None = None
    numeric: float | None = None

    @property
    def detail(self) -> str:
        """What is known of the worst entry, for people."""
        parts = [f"worst at {self.worst_element}"] if self.worst_element else []
        if self.analytic is not None:
            parts.append(f"given {self.analytic:.6g}, slope {self.numeric:.6g}")
        return "".join(f"  {part}" for part in (*parts, self.note) if part)


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

    def __str__(self) -> str:
        """Write the report as a plain table."""
        width = max(map(len, self.parameters), default=0)
        lines = [
            f"{name:<{width}}  {result.relative_error:8.2g}  {'right' if result.passed else 'WRONG'}{result.detail}"
            for name, result in self.parameters.items()
        ]
        lines.append(
            f"{'passed' if self.passed else 'failed'}: worst relative error {self.worst_relative_error:.2g},"
            f" against {self.oracle}"
        )
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON document's fields; an error that is no number becomes None."""
        document = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        for result in document["parameters"].values():
            if result["analytic"] is None:
                del result["analytic"], result["numeric"]
        for holder in (document, *document["parameters"].values()):
            for key in ("relative_error", "worst_relative_error"):
                if key in holder and not math.isfinite(holder[key]):
                    holder[key] = None
        return document
