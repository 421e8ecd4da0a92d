"""Find the mistakes that reproduce a wrong gradient.

Problems are taken in the order of their steps: with one step only the local formulas matter, so those are named
first; with two the path back joins them, and so on. At each stage mistakes are added one by one, as long as each
makes some parameter's gradient agree that did not, and none disagree that did. What is reported reproduces every
gradient on every problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations, product
from typing import TypeAlias

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.formulas import program
from lstmcast.doctor.mistakes.catalogue import catalogue
from lstmcast.doctor.mistakes.faults import (
    Faults,
    compatible,
    price,
    reach,
    reach_of_label,
    revised,
    same_formula,
    terms,
    times,
)
from lstmcast.doctor.mistakes.rewrites import derived, rewritten, rewritten_sum
from lstmcast.doctor.mistakes.sums import groups
from lstmcast.doctor.problem import Model, Problem
from lstmcast.doctor.reference import FAILURES, Fault, Gradients, Tape, backward, forward
from lstmcast.doctor.search import locate

TOLERANCE = 1e-6
WIDTH = 6
DEPTH = 9
PAIRS = 6000
SOME = 40


@dataclass
class Case:
    """One problem with the gradients that a program gives for it.

    Attributes:
        k: the program's loss over the reference's.
        gradients: by role; those that the program does not give, for it raised an exception or forgot them, are left
            out.
        precision: of gradients that are not in float64, by role.
    """

    problem: Problem
    k: float
    gradients: Gradients
    model: Model
    precision: dict[str, float] = field(default_factory=dict)
    tape: Tape = field(init=False)
    reference: Gradients = field(init=False)
    _wrong: dict[Faults, frozenset[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.tape = forward(self.model, self.problem)
        self.tape["k"] = self.k
        self.reference = backward(self.model, program(self.model), self.tape)
        self.scale = max(float(np.linalg.norm(value)) for value in self.reference.values())

    def answer(self, faults: Faults) -> Gradients | None:
        """Return the gradients of the reference with mistakes; None if it raises an exception."""
        try:
            with np.errstate(all="ignore"):
                return backward(self.model, program(self.model), self.tape, faults)
        except FAILURES:
            return None

    def left_over(self) -> dict[str, Array]:
        """Return what a right backward pass has at hand after its last step: gradients of the step, and sizes."""
        right = program(self.model)
        last = list(right)[-1]
        names: dict[str, Array] = {}
        own = Tape(self.tape) | {"names": names}
        backward(self.model, right, own, (Fault(last, "", {last: f"{right[last]}; names.update(globals())"}),))
        kept = [label for label, text in right.items() if "+=" not in text] + list("BTDHOt")
        return {name: np.asarray(names[name], float) for name in kept}

    def wrong(self, faults: Faults) -> frozenset[str]:
        """Return the roles whose gradients a set of mistakes does not reproduce."""
        if faults not in self._wrong:
            found = self.answer(faults)
            self._wrong[faults] = frozenset(
                role for role in self.gradients if found is None or not self.agrees(role, found[role])
            )
        return self._wrong[faults]

    def agrees(self, role: str, value: Array) -> bool:
        """Whether a gradient is the program's."""
        own = self.gradients[role]
        if np.shape(value) != own.shape:
            return False
        return float(np.linalg.norm(value - own)) <= self.allowed(role)

    def allowed(self, role: str) -> float:
        """Return how far a gradient may be from the program's."""
        size = float(np.linalg.norm(self.gradients[role])) + 1e-3 * self.scale
        return self.precision.get(role, TOLERANCE) * size


Stage: TypeAlias = Sequence[Case]
Search: TypeAlias = Callable[[Faults, Stage], Iterable[Faults]]
Source: TypeAlias = Callable[[Faults, Stage], Iterable[Fault]]


@dataclass(frozen=True)
class Diagnosis:
    """What reproduces the program's gradients.

    Attributes:
        explanations: sets of mistakes that do so, each alone, the likeliest first; empty if none was found.
        partial: the mistakes found before the search got stuck.
        suspects: statements one of which, alone, may be all that is wrong in the first problems that go wrong.
    """

    explanations: tuple[Faults, ...]
    partial: Faults = ()
    suspects: tuple[str, ...] = ()


class Doctor:
    """The search for the mistakes of one program."""

    def __init__(self, model: Model, cases: Sequence[Case], time_limit: float = 12.0) -> None:
        self.model = model
        self.right = program(model)
        self.cases = sorted((case for case in cases if case.gradients), key=lambda case: case.problem.sizes.T)
        self.raised = [case for case in cases if not case.gradients]
        self._deadline = time.process_time() + time_limit
        self._looked, self._over = 0.0, False
        self._freed: dict[tuple[Faults, str, int], locate.Freed | None] = {}
        self._partials: list[Faults] = []

    @property
    def _late(self) -> bool:
        # the time of this process, whatever else the machine does; looking at it is slow
        if time.monotonic() > self._looked + 0.05:
            self._looked, self._over = time.monotonic(), time.process_time() > self._deadline
        return self._over

    def stage(self, T: int) -> Stage:
        """Return the problems of as many steps."""
        return [case for case in self.cases if case.problem.sizes.T == T]

    def diagnose(self) -> Diagnosis:
        """Search; what is found may take up to the time limit."""
        states: list[Faults] = [()]
        for T in sorted({case.problem.sizes.T for case in self.cases}):
            stage = self.stage(T)
            solved = self._solve(states, stage)
            if not solved:
                best = min(states, key=lambda faults: sum(len(case.wrong(faults)) for case in self.cases))
                partial_ = min([best, *self._partials], key=lambda faults: (self._score(stage, faults), len(faults)))
                return Diagnosis((), partial_, self.suspects())
            states = solved
        fewest = min(map(len, states))
        return Diagnosis(tuple(self._distinct([faults for faults in states if len(faults) == fewest])))

    def suspects(self) -> tuple[str, ...]:
        """Return the statements one of which may be all that is wrong, in the problems of fewest steps that are."""
        first = min((case for case in self.cases if case.wrong(())), key=lambda case: case.problem.sizes.T)
        T = first.problem.sizes.T
        found = []
        for label, text in self.right.items():
            if not first.wrong(()) <= reach_of_label(self.model, label, T == 1):
                continue
            if "+=" in text or self._free((), label, first) is not None:
                found.append(label)
        return tuple(found)

    def _solves(self, stage: Stage, faults: Faults) -> bool:
        return all(not case.wrong(faults) for case in stage)

    def _solve(self, states: list[Faults], stage: Stage) -> list[Faults]:
        """Return extensions of the states that reproduce this stage's gradients too."""
        self._partials = []
        for _ in range(DEPTH):
            solved = [faults for faults in states if self._solves(stage, faults)]
            if solved or self._late:
                return solved
            states.sort(key=lambda faults: (self._score(stage, faults), len(faults), price(faults)))
            states = self._longer(states[:WIDTH], stage)
            self._partials = states or self._partials
            if not states:
                return []
        return []

    def _longer(self, states: Sequence[Faults], stage: Stage) -> list[Faults]:
        """Return the states with one mistake more, or two, that come closest to this stage's gradients."""
        several: list[Search] = []
        whole: list[Search] = []
        for source in (self._known, self._derived, self._scaled):
            for revise in (False, True):
                whole.append(partial(self._complete, source=source, revise=revise))
                several.append(partial(self._improve, source=source, revise=revise))
        rest = partial(self._rewritten, whole=False)
        searches: list[Search] = [
            *whole[:2],
            partial(self._rewritten, whole=True),
            *whole[2:],
            *several[:2],
            rest,
            *several[2:],
        ]
        for search in searches:
            found = list(dict.fromkeys(new for faults in states for new in search(faults, stage)))
            if found or self._late:
                return found
        # these take long
        for faults in states:
            if (found := self._layers(faults, stage)) or self._late:
                return found
        for faults in states:
            if (found := self._pairs(faults, stage)) or self._late:
                return found
        return []

    def _score(self, stage: Stage, faults: Faults) -> int:
        return len(self._wrong_anywhere(stage, faults))

    def _wrong_anywhere(self, stage: Stage, faults: Faults) -> frozenset[str]:
        # a wrong factor can be 1 by chance on one problem, not on all
        return frozenset().union(*(case.wrong(faults) for case in stage))

    def _keeps_earlier(self, stage: Stage, faults: Faults) -> bool:
        T = stage[0].problem.sizes.T
        return all(not case.wrong(faults) for case in self.cases if case.problem.sizes.T < T)

    # ---- where mistakes are taken from ----

    def _known(self, _faults: Faults, _stage: Stage) -> Iterable[Fault]:
        return catalogue(self.model)

    def _derived(self, _faults: Faults, _stage: Stage) -> Iterable[Fault]:
        return derived(self.model)

    def _scaled(self, faults: Faults, stage: Stage) -> Iterable[Fault]:
        """Fit a factor to each statement, some alike, or a term: gradients are linear in it, with one step or two."""
        case, lines = stage[0], dict(self.right)
        for fault in faults:
            lines.update(fault.changes)
        needed = sorted(case.wrong(faults))
        present = self._gradients(case, faults, needed)
        own = np.concatenate([case.gradients[role].ravel() for role in needed]) if needed else np.zeros(0)
        sets: list[tuple[list[str], int | None]] = [([label], None) for label in lines]
        sets += [([f"d{role}" for role in some], None) for some in groups(self.model).values()]
        sets += [([label], term) for label, text in self.right.items() if lines[label] == text for term in terms(text)]
        for labels, term in sets:
            if any(";" in lines[label] for label in labels):
                continue
            nothing = Fault(labels[0], "", {label: times(lines[label], "0", term) for label in labels})
            without = self._gradients(case, (*faults, nothing), needed)
            if present is None or without is None:
                continue
            part = present - without
            power = float(part @ part)
            factor = float((own - without) @ part) / power if power > 1e-12 * case.scale**2 else 1.0
            if np.isfinite(factor) and abs(factor - 1) > TOLERANCE:
                texts = {label: times(lines[label], f"{factor:.10g}", term) for label in labels}
                slot = labels[0] if len(labels) == 1 else "sums"
                yield Fault(slot, f"multiplied by {factor:.6g}", texts, known=False)

    def _gradients(self, case: Case, faults: Faults, roles: Sequence[str]) -> Array | None:
        found = case.answer(faults)
        if found is None:
            return None
        try:
            return np.concatenate([np.broadcast_to(found[role], case.gradients[role].shape).ravel() for role in roles])
        except ValueError:
            return None

    # ---- one mistake more ----

    def _extended(self, faults: Faults, stage: Stage, source: Source, revise: bool) -> Iterator[Faults]:
        """Yield states with one mistake more, that can be about what is wrong.

        With ``revise``, that mistake takes the place of one or more found with fewer steps, about the same formula.
        """
        needed, single = self._wrong_anywhere(stage, faults), stage[0].problem.sizes.T == 1
        for fault in source(faults, stage):
            if self._late:
                return
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
        return self._better(faults, stage, self._extended(faults, stage, source, revise))

    def _better(self, faults: Faults, stage: Stage, states: Iterable[Faults]) -> list[Faults]:
        needed = self._wrong_anywhere(stage, faults)
        found: list[tuple[int, Faults]] = []
        for new in states:
            first = stage[0].wrong(new)
            if first <= needed and first != needed:
                left = self._wrong_anywhere(stage, new)
                if left < needed and self._keeps_earlier(stage, new):
                    found.append((len(left), new))
        found.sort(key=lambda item: item[0])
        return [new for _, new in found[:SOME]]

    def _rewritten(self, faults: Faults, stage: Stage, whole: bool) -> list[Faults]:
        """Return the states in which one statement is another, whose values are those that it must have.

        Args:
            faults: the state.
            stage: problems of as many steps.
            whole: this is to reproduce all that is wrong, else a part.
        """
        needed, single = self._wrong_anywhere(stage, faults), stage[0].problem.sizes.T == 1
        found: list[Faults] = []
        for label, text in self.right.items():
            reached = reach_of_label(self.model, label, single)
            if self._late or not (needed <= reached if whole else needed & reached):
                continue
            texts = self._sums(faults, label, stage) if "+=" in text else self._assigned(faults, label, stage)
            for new in texts:
                state = revised(faults, Fault(label, "", {label: new}, known=False))
                if not whole or (self._solves(stage, state) and self._keeps_earlier(stage, state)):
                    found.append(state)
        return found if whole else self._better(faults, stage, found)

    def _assigned(self, faults: Faults, label: str, stage: Stage) -> Iterator[str]:
        """Yield other statements that assign what the gradients of a stage ask for."""
        case = min(stage, key=lambda case: case.problem.sizes.T * case.problem.sizes.B * case.problem.sizes.H)
        free = self._free(faults, label, case)
        if free is None or any(self._free(faults, label, other) is None for other in stage):
            return
        texts: Iterable[str] = rewritten(self.model, label)
        if free.values is not None:
            texts = locate.matching(free, texts, max(1e-6, *case.precision.values(), 0.0))
        for text in texts:
            if self._late:
                return
            yield f"{label} = {text}"

    def _sums(self, faults: Faults, label: str, stage: Stage) -> Iterator[str]:
        role, case = label[1:], stage[0]
        if not all(role in case.gradients for case in stage):
            return
        spaces = locate.before(self.model, self.right, case.tape, revised(faults, Fault("", "", {label: ""})), label)
        if spaces:
            texts = rewritten_sum(self.model, label)
            yield from locate.summing(spaces, label, case.gradients[role], texts, case.allowed(role))

    def _free(self, faults: Faults, label: str, case: Case) -> locate.Freed | None:
        """Free what a statement assigns, for the gradients that depend on it."""
        key = (faults, label, id(case))
        if any(fault.schedule for fault in faults):
            return None
        if key not in self._freed:
            reached = reach_of_label(self.model, label, case.problem.sizes.T == 1)
            wanted = {role: value for role, value in case.gradients.items() if role in reached}
            others = revised(faults, Fault(label, "", {label: ""}))[:-1]
            tolerance = max(locate.SUFFICIENT, *case.precision.values(), 0.0)
            self._freed[key] = wanted and locate.freed(  # type: ignore[assignment]
                self.model, self.right, case.tape, others, label, wanted, tolerance
            )
        return self._freed[key] or None

    # ---- two mistakes more ----

    def _layers(self, faults: Faults, stage: Stage) -> list[Faults]:
        """Return the states with a mistake in a formula and one in the sums that it goes into.

        Neither shows any improvement alone, but together they make a kind of gradient agree.
        """
        needed = self._wrong_anywhere(stage, faults)
        in_sums = [
            fault
            for fault in catalogue(self.model)
            if fault.changes and not fault.start and all(label[1:] in needed for label in fault.changes)
        ]
        found: list[Faults] = []
        for state in self._extended(faults, stage, self._known, revise=False):
            changes = state[-1].changes
            if changes and all("+=" not in self.right[label] for label in changes):
                found += self._with_sums(state, stage, in_sums, needed)
        return self._better(faults, stage, found)

    def _with_sums(self, state: Faults, stage: Stage, in_sums: Sequence[Fault], needed: frozenset[str]) -> list[Faults]:
        """Add to a state the mistakes in sums under which all the sums that they change are the program's."""
        case = stage[0]
        first = next(label for label, text in self.right.items() if "+=" in text)
        spaces = locate.before(self.model, self.right, case.tape, state, first)
        if not spaces:
            return []
        reached = reach(self.model, state[-1], case.problem.sizes.T == 1) & needed
        right: set[tuple[str, str]] = set()
        for label in (f"d{role}" for role in reached):
            texts = {fault.changes[label]: None for fault in in_sums if label in fault.changes}
            wanted, allowed = case.gradients[label[1:]], case.allowed(label[1:])
            right |= {(label, text) for text in locate.summing(spaces, label, wanted, texts, allowed)}
        whole = [fault for fault in in_sums if fault.changes.items() <= right]
        whole.sort(key=lambda fault: -len(fault.changes))
        return [(*state, fault) for fault in whole[:3] if compatible((*state, fault))]

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
            for pair in sorted(pairs, key=price)[:PAIRS]:
                new = (*faults, *pair)
                if self._late or (found and self._wrong_anywhere(stage, found[-1])):
                    # of those that reproduce only a part, one is enough
                    return found
                if compatible(new) and stage[0].wrong(new) < needed and self._keeps_earlier(stage, new):
                    found += [new] if self._wrong_anywhere(stage, new) < needed else []
            if found:
                break
        return found

    def _distinct(self, states: list[Faults]) -> list[Faults]:
        """Leave out what is another way to write the same mistake; put the likeliest first."""
        states = sorted(states, key=price)
        one_sample = all(case.problem.sizes.B == 1 for case in self.cases)
        found: list[Faults] = []
        for faults in states:
            if not any(same_formula(self.model, faults, other, one_sample) for other in found):
                found.append(faults)
        return found
