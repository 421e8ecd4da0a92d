"""Mistakes that nobody has catalogued: small changes of the right formulas, one statement or several alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from lstmcast.gradients.catalogue import distinct
from lstmcast.gradients.edits import DELTAS, QUANTITIES, Words, changed, elsewhere, for_gate
from lstmcast.gradients.formulas import Program, program
from lstmcast.gradients.problem import Model
from lstmcast.gradients.reference import Fault
from lstmcast.gradients.statements import EXTERNAL

PRODUCTS = ("({0}.T @ {1}).T", "({0} * {1}).sum()", "np.mean({0}.T @ {1})", "({0}.T @ {1}) / B")
"""Other products of a factor and a gradient, in a weight's sum."""


@cache
def derived(model: Model) -> tuple[Fault, ...]:
    """Return a fault for each small change of a model's backward pass."""
    right = program(model)
    words = Words(QUANTITIES[model.cell], DELTAS[model.cell], model.roles)
    return distinct(
        right,
        [
            *_factors(model, right, words),
            *_elsewhere(model, right),
            *_bindings(right, words),
            *_other_steps(right),
            *_sigmoids(model, right),
        ],
    )


def _fault(changes: dict[str, str], slot: str = "") -> Fault:
    return Fault(slot or next(iter(changes)), "", changes, known=False)


def _factors(model: Model, right: Program, words: Words) -> Iterator[Fault]:
    """Another gradient in all products of one gate, or of one kind."""
    for gate in model.gates:
        kinds = [kind for kind in ("Wx", "Wh", "b", "bh") if f"{kind}_{gate}" in model.roles]
        for some in (kinds, kinds[:2]):
            labels = [f"d{kind}_{gate}" for kind in some]
            for text in changed(f"da{gate}", words):
                yield _fault(
                    {label: re.sub(rf"\bda{gate}\b", f"({text})", right[label]) for label in labels}, f"da{gate}"
                )
    for kind, old in (("Wx", "x[t]"), ("Wh", "h[t-1]")):
        labels = [f"d{kind}_{gate}" for gate in model.gates]
        for new in (*elsewhere(old), *words.quantities, *EXTERNAL, "dh", "dh_next", "dy"):
            yield _fault({label: right[label].replace(old, new) for label in labels}, "sums")
            for form in PRODUCTS:
                yield _fault(
                    {f"d{kind}_{g}": f"d{kind}_{g} += " + form.format(new, f"da{g}") for g in model.gates}, "sums"
                )
        if model.cell != "rnn":
            yield _fault(
                {f"d{kind}_{g}": right[f"d{kind}_{g}"].replace(f"da{g}", f"d{g}") for g in model.gates}, "sums"
            )


def _elsewhere(model: Model, right: Program) -> Iterator[Fault]:
    """One array's part is added to another."""
    for source in model.roles:
        term = right[f"d{source}"].partition(" += ")[2]
        for target in model.roles:
            if target != source and (target.startswith("W") or not source.startswith("W")):
                moved = f"{right[f'd{target}']}; d{target} += {term}"
                yield _fault({f"d{source}": f"d{source} += 0", f"d{target}": moved}, "sums")


def _bindings(right: Program, words: Words) -> Iterator[Fault]:
    """A quantity is taken from another step, or mistaken for another, wherever it is used."""
    text = " ".join(right.values())
    for quantity in dict.fromkeys(re.findall(r"\b[a-z]+\[t(?:-1)?\]", text)):
        pattern = rf"\b{re.escape(quantity)}"
        for new in (*elsewhere(quantity), *words.quantities, *EXTERNAL):
            changes = {label: re.sub(pattern, new, line) for label, line in right.items() if re.search(pattern, line)}
            if len(changes) > 1:
                yield _fault(changes, "bindings")
                inner = {label: line for label, line in changes.items() if "+=" not in line}
                if 1 < len(inner) < len(changes):
                    yield _fault(inner, "bindings")


def _other_steps(right: Program) -> Iterator[Fault]:
    """Everything that the forward pass kept is taken from another step; the targets are too, or not."""
    for now, before in (
        ("(t - 1) % T", "(t - 1) % T - 1"),
        ("(t + 1) % T", "(t + 1) % T - 1"),
        ("0", "-1"),
        ("T-1", "T-2"),
    ):
        for fixed in (r"(?!counted|y\b)", r"(?!counted)"):
            changes = {}
            for label, line in right.items():
                earlier = re.sub(r"\b([a-z]+)\[t-1\]", rf"\1[{before}]", line)
                changes[label] = re.sub(rf"\b{fixed}([a-z]+)\[t\]", rf"\1[{now}]", earlier)
            yield _fault({label: line for label, line in changes.items() if line != right[label]}, "bindings")


def _sigmoids(model: Model, right: Program) -> Iterator[Fault]:
    """The same small change in every sigmoid, as a loop or a helper function makes it."""
    gates = [gate for gate in model.gates if "**2" not in right[f"da{gate}"]]
    if len(gates) > 1:
        first = gates[0]
        for text in changed(right[f"da{first}"].partition(" = ")[2], Words((f"{first}[t]", f"a{first}[t]"))):
            line = f"da{first} = {text}"
            yield _fault({f"da{gate}": for_gate(line, first, gate) for gate in gates}, "activations")
