"""Find the mistakes that reproduce a wrong gradient.

Problems are taken in the order of their steps: with one step only the local formulas matter, so those are named
first; with two the path back joins them, and so on. At each stage mistakes are added one by one, as long as each
makes some parameter's gradient agree that did not, and none disagree that did. What is reported reproduces every
gradient on every problem.
"""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations, product
from typing import TypeAlias

import numpy as np

from lstmcast.arrays import Array
from lstmcast.gradients.catalogue import catalogue
from lstmcast.gradients.derived import derived
from lstmcast.gradients.formulas import Program, program
from lstmcast.gradients.problem import Model, Problem
from lstmcast.gradients.reference import FAILURES, Fault, Gradients, Tape, backward, forward
from lstmcast.gradients.sums import groups

TOLERANCE = 1e-6
WIDTH = 6
DEPTH = 9
PAIRS = 6000

Faults = tuple[Fault, ...]


@dataclass
class Case:
    """One problem with the gradients that a program gives for it.

    Attributes:
        k: the program's loss over the reference's.
        gradients: by role; None if the program raised an exception.
    """

    problem: Problem
    k: float
    gradients: Gradients | None
    tape: Tape = field(init=False)
    _wrong: dict[Faults, frozenset[str]] = field(init=False, default_factory=dict)

    def prepare(self, model: Model, right: Program) -> None:
        """Run the reference forward and backward."""
        self.tape = forward(model, self.problem)
        self.tape["k"] = self.k
        reference = backward(model, right, self.tape)
        self.scale = max(float(np.linalg.norm(value)) for value in reference.values())

    def agrees(self, role: str, value: Array) -> bool:
        """Whether a gradient is the program's."""
        assert self.gradients is not None
        own = self.gradients[role]
        if np.shape(value) != own.shape:
            return False
        distance = float(np.linalg.norm(value - own))
        return distance <= TOLERANCE * (float(np.linalg.norm(own)) + 1e-3 * self.scale)


Stage: TypeAlias = Sequence[Case]
Source: TypeAlias = Callable[[Faults, Stage], Iterable[Fault]]


@dataclass(frozen=True)
class Diagnosis:
    """What reproduces the program's gradients.

    Attributes:
        explanations: sets of mistakes that do so, each alone, the likeliest first; empty if none was found.
        partial: the mistakes found before the search got stuck.
    """

    explanations: tuple[Faults, ...]
    partial: Faults = ()


class Doctor:
    """The search for the mistakes of one program."""

    def __init__(self, model: Model, cases: Sequence[Case], time_limit: float = 12.0) -> None:
        self.model = model
        self.right = program(model)
        self.cases = sorted(
            (case for case in cases if case.gradients is not None), key=lambda case: case.problem.sizes.T
        )
        self.raised = [case for case in cases if case.gradients is None]
        for case in cases:
            case.prepare(model, self.right)
        self._deadline = time.monotonic() + time_limit

    def wrong(self, case: Case, faults: Faults) -> frozenset[str]:
        """Return the roles whose gradients are not reproduced by a set of mistakes."""
        if faults not in case._wrong:
            case._wrong[faults] = frozenset(self._compare(case, faults))
        return case._wrong[faults]

    def _compare(self, case: Case, faults: Faults) -> Iterable[str]:
        try:
            with np.errstate(all="ignore"):
                found = backward(self.model, self.right, case.tape, faults)
        except FAILURES:
            return self.model.roles
        return [role for role in self.model.roles if not case.agrees(role, found[role])]

    def diagnose(self) -> Diagnosis:
        """Search; what is found may take up to the time limit."""
        states: list[Faults] = [()]
        stages = sorted({case.problem.sizes.T for case in self.cases})
        for T in stages:
            stage = [case for case in self.cases if case.problem.sizes.T == T]
            solved = self._solve(states, stage)
            if not solved:
                best = min(states, key=lambda faults: sum(len(self.wrong(case, faults)) for case in self.cases))
                best = self._best_partial(best, stage)
                return Diagnosis((), best)
            states = solved
        fewest = min(map(len, states))
        return Diagnosis(tuple(self._distinct([faults for faults in states if len(faults) == fewest])))

    def _solves(self, stage: Stage, faults: Faults) -> bool:
        return all(not self.wrong(case, faults) for case in stage)

    def _solve(self, states: list[Faults], stage: Stage) -> list[Faults]:
        """Return extensions of the states that reproduce this stage's gradients too."""
        self._partials: list[Faults] = []
        for _ in range(DEPTH):
            solved = [faults for faults in states if self._solves(stage, faults)]
            if solved or time.monotonic() > self._deadline:
                return solved
            states.sort(key=lambda faults: (self._score(stage, faults), len(faults), _price(faults)))
            states = self._longer(states[:WIDTH], stage)
            self._partials = states or self._partials
            if not states:
                return []
        return []

    def _longer(self, states: Sequence[Faults], stage: Stage) -> list[Faults]:
        """Return the states with one mistake more, or two, that come closest to this stage's gradients."""
        found: list[Faults] = []
        searches = (self._complete, self._improve)
        for revise, search, source in product((False, True), searches, (self._known, self._derived, self._scaled)):
            found = [new for faults in states for new in search(faults, stage, source, revise)]
            if found:
                break
        found = found or [new for faults in states for new in self._pairs(faults, stage)]
        return list(dict.fromkeys(found))

    def _best_partial(self, best: Faults, stage: Stage) -> Faults:
        return min([best, *self._partials], key=lambda faults: (self._score(stage, faults), len(faults)))

    def _score(self, stage: Stage, faults: Faults) -> int:
        return len(self._wrong_anywhere(stage, faults))

    def _wrong_anywhere(self, stage: Stage, faults: Faults) -> frozenset[str]:
        # a wrong factor can be 1 by chance on one problem, not on all
        return frozenset().union(*(self.wrong(case, faults) for case in stage))

    def _known(self, _faults: Faults, _stage: Stage) -> Iterable[Fault]:
        return catalogue(self.model)

    def _derived(self, _faults: Faults, _stage: Stage) -> Iterable[Fault]:
        return derived(self.model)

    def _scaled(self, faults: Faults, stage: Stage) -> Iterable[Fault]:
        """Fit a constant factor to each statement, or some alike: gradients are linear in it, with one step or two."""
        case, lines = stage[0], dict(self.right)
        assert case.gradients is not None
        for fault in faults:
            lines.update(fault.changes)
        needed = sorted(self.wrong(case, faults))
        present = self._gradients(case, faults, needed)
        own = np.concatenate([case.gradients[role].ravel() for role in needed]) if needed else np.zeros(0)
        sets = [[label] for label in lines] + [[f"d{role}" for role in some] for some in groups(self.model).values()]
        for labels in sets:
            if any(";" in lines[label] for label in labels):
                continue
            nothing = Fault(labels[0], "", {label: times(lines[label], "0") for label in labels})
            without = self._gradients(case, (*faults, nothing), needed)
            if present is None or without is None:
                continue
            part = present - without
            power = float(part @ part)
            factor = float((own - without) @ part) / power if power > 1e-12 * case.scale**2 else 1.0
            if np.isfinite(factor) and abs(factor - 1) > TOLERANCE:
                texts = {label: times(lines[label], f"{factor:.10g}") for label in labels}
                slot = labels[0] if len(labels) == 1 else "sums"
                yield Fault(slot, f"multiplied by {factor:.6g}", texts, known=False)

    def _gradients(self, case: Case, faults: Faults, roles: Sequence[str]) -> Array | None:
        try:
            with np.errstate(all="ignore"):
                found = backward(self.model, self.right, case.tape, faults)
            return np.concatenate([np.broadcast_to(found[r], case.problem.parameters[r].shape).ravel() for r in roles])
        except FAILURES:
            return None

    def _extended(self, faults: Faults, stage: Stage, source: Source, revise: bool) -> Iterator[Faults]:
        """Yield states with one mistake more, that can be about what is wrong.

        With ``revise``, that mistake takes the place of one or more found with fewer steps, about the same formula.
        """
        needed, single = self._wrong_anywhere(stage, faults), stage[0].problem.sizes.T == 1
        for fault in source(faults, stage):
            if reach(self.model, fault, single) & needed and compatible((*faults, fault)) != revise:
                yield revised(faults, fault) if revise else (*faults, fault)

    def _complete(self, faults: Faults, stage: Stage, source: Source, revise: bool) -> list[Faults]:
        """Return the states with one mistake more that reproduce this stage."""
        needed = self._wrong_anywhere(stage, faults)
        single = stage[0].problem.sizes.T == 1
        return [
            new
            for new in self._extended(faults, stage, source, revise)
            if needed <= reach(self.model, new[-1], single)
            and self._solves(stage, new)
            and self._keeps_earlier(stage, new)
        ]

    def _improve(self, faults: Faults, stage: Stage, source: Source, revise: bool) -> list[Faults]:
        """Return the states with one mistake more that reproduce more of this stage, and no less of anything."""
        needed = self._wrong_anywhere(stage, faults)
        found: list[tuple[int, Faults]] = []
        for new in self._extended(faults, stage, source, revise):
            if time.monotonic() > self._deadline:
                break
            first = self.wrong(stage[0], new)
            if first <= needed and first != needed:
                left = self._wrong_anywhere(stage, new)
                if left < needed and self._keeps_earlier(stage, new):
                    found.append((len(left), new))
        found.sort(key=lambda item: item[0])
        return [new for _, new in found[: 8 * WIDTH]]

    def _keeps_earlier(self, stage: Stage, faults: Faults) -> bool:
        T = stage[0].problem.sizes.T
        return all(not self.wrong(case, faults) for case in self.cases if case.problem.sizes.T < T)

    def _pairs(self, faults: Faults, stage: Stage) -> list[Faults]:
        """Return the states with two mistakes more, neither of which shows any improvement alone.

        One of them must reach all that is wrong.
        """
        needed = self._wrong_anywhere(stage, faults)
        single = stage[0].problem.sizes.T == 1
        reached = [(fault, len(reach(self.model, fault, single) & needed)) for fault in catalogue(self.model)]
        wide = [fault for fault, count in reached if count == len(needed)]
        narrow = [fault for fault, count in reached if 0 < count < len(needed)]
        found: list[Faults] = []
        for pairs in (combinations(wide, 2), product(wide, narrow)):
            for pair in sorted(pairs, key=_price)[:PAIRS]:
                new = (*faults, *pair)
                if time.monotonic() > self._deadline or (found and self._wrong_anywhere(stage, found[-1])):
                    # of those that reproduce only a part, one is enough
                    return found
                if compatible(new) and set(self._compare(stage[0], new)) < needed and self._keeps_earlier(stage, new):
                    found += [new] if self._wrong_anywhere(stage, new) < needed else []
            if found:
                break
        return found

    def _distinct(self, states: list[Faults]) -> list[Faults]:
        """Leave out what is another way to write the same mistake; put the likeliest first."""
        states = sorted(states, key=_price)
        found: list[Faults] = []
        for faults in states:
            if not any(same_formula(self.model, faults, other) for other in found):
                found.append(faults)
        return found


def compatible(faults: Faults) -> bool:
    """Whether mistakes can be made together: they are not about the same statement."""
    labels = [label for fault in faults for label in (*fault.changes, *fault.start)]
    return len(set(labels)) == len(labels) and sum(fault.schedule is not None for fault in faults) <= 1


def times(statement: str, factor: str) -> str:
    """Return a statement with its right side multiplied by a factor."""
    head, sign, right = re.split(r" (\+=|-=|=) ", statement, maxsplit=1)
    return f"{head} {sign} {factor} * ({right})"


def revised(faults: Faults, fault: Fault) -> Faults:
    """Return mistakes with one more, which replaces those about the same statements."""
    kept = []
    for old in faults:
        changes = {label: text for label, text in old.changes.items() if label not in fault.changes}
        start = {name: value for name, value in old.start.items() if name not in fault.start}
        if len(changes) + len(start) == len(old.changes) + len(old.start) and not (old.schedule and fault.schedule):
            kept.append(old)
        elif changes or start:
            # its words name more statements than are left
            words = old.words.partition(": ")[2]
            kept.append(replace(old, words=words, changes=changes, start=start))
    return (*kept, fault)


def _price(faults: Faults) -> tuple[int, int, int]:
    return (
        sum(not fault.known for fault in faults),
        sum(len(fault.changes) or 1 for fault in faults),
        sum(len(text) for fault in faults for text in fault.changes.values()),
    )


@cache
def reach_of_label(model: Model, label: str, single: bool) -> frozenset[str]:
    """Return the roles whose gradients depend on what a statement assigns."""
    lines = program(model)
    uses = {
        name: {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)} - {name}
        for name, text in lines.items()
    }
    order = list(lines)
    reached = {label}
    grew = True
    while grew:
        grew = False
        for name in order:
            before = (
                reached if not single else {r for r in reached if r in order and order.index(r) < order.index(name)}
            )
            if name not in reached and uses[name] & before:
                reached.add(name)
                grew = True
    return frozenset(role for role in model.roles if f"d{role}" in reached)


_REACH: dict[tuple[Model, int, bool], tuple[Fault, frozenset[str]]] = {}


def reach(model: Model, fault: Fault, single: bool) -> frozenset[str]:
    """Return the roles that a mistake can make wrong, with a single step or more."""
    key = (model, id(fault), single)
    if key not in _REACH:
        if fault.schedule or any(name.endswith("_next") for name in fault.start):
            found = frozenset(model.roles)
        else:
            labels = (*fault.changes, *fault.start)
            found = frozenset().union(*(reach_of_label(model, label, single) for label in labels))
        _REACH[key] = fault, found
    return _REACH[key][1]


@cache
def _judges(model: Model) -> tuple[Tape, ...]:
    """Two problems that tell formulas apart: every initial state and bias there, sizes equal and distinct."""
    from lstmcast.gradients.problem import Sizes, random_data, shape_of

    rng = np.random.default_rng(5)
    tapes = []
    for sizes in (Sizes(3, 4, 3, 3, 3), Sizes(2, 3, 4, 5, 6)):
        data = random_data(rng, sizes, model.output)
        values = {role: 0.7 * rng.normal(size=shape_of(role, sizes)) for role in model.roles}
        tapes.append(forward(model, replace(data, parameters=values)))
    return tuple(tapes)


def same_formula(model: Model, one: Faults, other: Faults) -> bool:
    """Whether two sets of mistakes are the same mathematics."""
    lines = program(model)
    for tape in _judges(model):
        results: list[Gradients | None] = []
        for faults in (one, other):
            try:
                with np.errstate(all="ignore"):
                    results.append(backward(model, lines, tape, faults))
            except FAILURES:
                results.append(None)
        a, b = results
        if (a is None) != (b is None):
            return False
        if a is None or b is None:
            continue
        for role in model.roles:
            if a[role].shape != b[role].shape:
                return False
            if np.linalg.norm(a[role] - b[role]) > 1e-9 * (1e-3 + np.linalg.norm(a[role])):
                return False
    return True
