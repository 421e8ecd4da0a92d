"""The reference is right, and mistakes planted in it are named."""

from __future__ import annotations

import ast
import random
from dataclasses import replace

import numpy as np
import pytest

from lstmcast.doctor.formulas import program
from lstmcast.doctor.mistakes.catalogue import catalogue
from lstmcast.doctor.mistakes.faults import compatible, same_formula
from lstmcast.doctor.mistakes.rewrites import derived, rewritten, rewritten_sum
from lstmcast.doctor.problem import GATES, Model, Sizes, random_data, shape_of
from lstmcast.doctor.program.examination import SIZES
from lstmcast.doctor.reference import FAILURES, Fault, backward, forward
from lstmcast.doctor.search.diagnose import Case, Doctor

CELLS = ["lstm", "gru", "rnn"]


def full_roles(cell: str, kinds: tuple[str, ...] = ("Wx", "Wh", "b")) -> tuple[str, ...]:
    return (*(f"{kind}_{gate}" for kind in kinds for gate in GATES[cell]), "Wy", "by")


MODELS = [
    Model(cell, output, every, after, keeps, roles=full_roles(cell, ("Wx", "Wh", "b", "bh")))
    for cell in CELLS
    for output in ("squared", "softmax")
    for every in (True, False)
    for after in ((True, False) if cell == "gru" else (False,))
    for keeps in ((True, False) if cell == "gru" else (True,))
]


def posed(model: Model, sizes: Sizes, seed: int = 0):
    rng = np.random.default_rng(seed)
    values = {role: 0.6 * rng.normal(size=shape_of(role, sizes)) for role in model.roles}
    return replace(random_data(rng, sizes, model.output), parameters=values)


def battery(model: Model, faults: tuple[Fault, ...]) -> list[Case]:
    cases = []
    for sizes in SIZES:
        problem = posed(model, sizes)
        tape = forward(model, problem)
        tape["k"] = 1 / sizes.B
        try:
            with np.errstate(all="ignore"):
                found = backward(model, program(model), tape, faults)
        except FAILURES:
            found = {}
        cases.append(Case(problem, 1 / sizes.B, found, model))
    return cases


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_the_reference_is_the_slope_of_its_loss(model: Model) -> None:
    problem = posed(model, Sizes(2, 3, 4, 5, 6))
    gradients = backward(model, program(model), forward(model, problem))
    rng = np.random.default_rng(1)
    direction = {role: rng.normal(size=value.shape) for role, value in problem.parameters.items()}

    def loss(step: float) -> float:
        moved = {role: value + step * direction[role] for role, value in problem.parameters.items()}
        return float(forward(model, replace(problem, parameters=moved)).loss)

    h = 1e-3
    wide, narrow = (loss(h) - loss(-h)) / (2 * h), (loss(h / 2) - loss(-h / 2)) / h
    slope = sum(float((gradients[role] * direction[role]).sum()) for role in model.roles)
    assert slope == pytest.approx((4 * narrow - wide) / 3, rel=1e-7)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("output", ["squared", "softmax"])
def test_planted_mistakes_are_the_one_explanation(cell, output) -> None:
    model = Model(cell, output, roles=full_roles(cell))
    known = catalogue(model)
    rng = random.Random(2)
    singles = [(fault,) for fault in rng.sample(known, 8)]
    pairs = [pair for pair in (tuple(rng.sample(known, 2)) for _ in range(3)) if compatible(pair)]
    for faults in singles + pairs:
        doctor = Doctor(model, battery(model, faults))
        if any(case.wrong(()) for case in doctor.cases):
            explanations = doctor.diagnose().explanations
            assert len(explanations) == 1, faults
            assert same_formula(model, explanations[0], faults), faults


def test_every_known_mistake_changes_something_or_says_why() -> None:
    model = Model("rnn", "softmax", every=False, roles=full_roles("rnn"))
    right = program(model)
    unseen = []
    for fault in catalogue(model):
        doctor = Doctor(model, battery(model, (fault,))[-2:])
        if not any(case.wrong(()) for case in doctor.cases) and not doctor.raised:
            unseen.append(fault.changes)
    # with the loss on the last step these are the right formula
    assert all(set(changes) <= {"dy", "dWy", "dby"} or not changes for changes in unseen), unseen
    assert all(label in right for fault in derived(model) for label in fault.changes)


@pytest.mark.parametrize("model", [m for m in MODELS if m.output == "softmax" and m.every], ids=str)
def test_every_other_statement_is_a_statement(model: Model) -> None:
    for label, text in program(model).items():
        others = (
            rewritten_sum(model, label) if "+=" in text else [f"{label} = {other}" for other in rewritten(model, label)]
        )
        assert len(others) > 100
        ast.parse("\n".join(others))
    ast.parse("\n".join(text for fault in derived(model) for text in fault.changes.values()))


@pytest.mark.parametrize("K", [4, 9])
def test_truncated_backpropagation_does_not_pass_and_is_named(K: int) -> None:
    model = Model("rnn", "squared", roles=full_roles("rnn"))
    (fault,) = (fault for fault in catalogue(model) if f"followed back for {K} step(s)" in fault.words)
    cases = battery(model, (fault,))
    assert [case.problem.sizes.T for case in cases if case.wrong(())] == [12]
    assert Doctor(model, cases).diagnose().explanations == ((fault,),)
