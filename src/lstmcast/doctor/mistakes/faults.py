"""Sets of mistakes: what they reach, whether they go together, whether they are the same mathematics."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import cache
from typing import TypeAlias

import numpy as np

from lstmcast.doctor.formulas import program
from lstmcast.doctor.problem import Model, Sizes, random_data, shape_of
from lstmcast.doctor.reference import FAILURES, Fault, Gradients, Tape, backward, forward

Faults: TypeAlias = tuple[Fault, ...]


def compatible(faults: Faults) -> bool:
    """Whether mistakes can be made together: they are not about the same statement."""
    labels = [label for fault in faults for label in (*fault.changes, *fault.start)]
    return len(set(labels)) == len(labels) and sum(fault.schedule is not None for fault in faults) <= 1


def times(statement: str, factor: str, term: int | None = None) -> str:
    """Return a statement with its right side, or one of its `terms`, multiplied by a factor."""
    head, sign, right = re.split(r" (\+=|-=|=) ", statement, maxsplit=1)
    parts = right.split(" + ")
    if term is None:
        return f"{head} {sign} {factor} * ({right})"
    parts[term] = f"{factor} * {parts[term]}"
    return f"{head} {sign} {' + '.join(parts)}"


def terms(statement: str) -> range:
    """Return the numbers of a right statement's terms, if it is a sum."""
    count = statement.count(" + ") + 1
    return range(count if count > 1 else 0)


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


def price(faults: Faults) -> tuple[int, int, int]:
    """Return what makes an explanation the less likely: unknown mistakes, many formulas, long ones."""
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
def _judges(model: Model, one_sample: bool) -> tuple[Tape, ...]:
    """Two problems that tell formulas apart: every initial state and bias there, sizes equal and distinct."""
    rng = np.random.default_rng(5)
    tapes = []
    for sizes in (Sizes(1 if one_sample else 3, 4, 3, 3, 3), Sizes(1 if one_sample else 2, 3, 4, 5, 6)):
        data = random_data(rng, sizes, model.output)
        values = {role: 0.7 * rng.normal(size=shape_of(role, sizes)) for role in model.roles}
        tapes.append(forward(model, replace(data, parameters=values)))
    return tuple(tapes)


def same_formula(model: Model, one: Faults, other: Faults, one_sample: bool = False) -> bool:
    """Whether two sets of mistakes are the same mathematics, for programs that take one sample at a time or many."""
    lines = program(model)
    for tape in _judges(model, one_sample):
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
