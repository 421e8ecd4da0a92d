"""Mistakes that nobody has catalogued: small changes of the right formulas, one statement or several alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import permutations, product

from lstmcast.doctor.formulas import Program, program
from lstmcast.doctor.mistakes.catalogue import distinct
from lstmcast.doctor.mistakes.edits import Words, changed, elsewhere, for_gate
from lstmcast.doctor.mistakes.statements import EXTERNAL, words
from lstmcast.doctor.problem import Model
from lstmcast.doctor.reference import Fault

PRODUCTS = ("({0}.T @ {1}).T", "({0} * {1}).sum()", "np.mean({0}.T @ {1})", "({0}.T @ {1}) / B")
"""Other products of a factor and a gradient, in a weight's sum."""


@cache
def derived(model: Model) -> tuple[Fault, ...]:
    """Return a fault for each small change of a model's backward pass."""
    right = program(model)
    vocabulary = words(model)
    return distinct(
        right,
        [
            *_factors(model, right, vocabulary),
            *_elsewhere(model, right),
            *_bindings(right, vocabulary),
            *_other_steps(right),
            *_overwritten(model, right),
            *_sigmoids(model, right),
        ],
    )


def _fault(changes: dict[str, str], slot: str = "", words: str = "") -> Fault:
    return Fault(slot or next(iter(changes)), words, changes, known=False)


def _factors(model: Model, right: Program, vocabulary: Words) -> Iterator[Fault]:
    """Another gradient in all products of one gate, or of one kind."""
    for gate in model.gates:
        kinds = [kind for kind in ("Wx", "Wh", "b", "bh") if f"{kind}_{gate}" in model.roles]
        for some in (kinds, kinds[:2]):
            labels = [f"d{kind}_{gate}" for kind in some]
            for text in changed(f"da{gate}", vocabulary):
                yield _fault(
                    {label: re.sub(rf"\bda{gate}\b", f"({text})", right[label]) for label in labels}, f"da{gate}"
                )
    for kind, old in (("Wx", "x[t]"), ("Wh", "h[t-1]")):
        labels = [f"d{kind}_{gate}" for gate in model.gates]
        for new in (*elsewhere(old), *vocabulary.quantities, *EXTERNAL, "dh", "dh_next", "dy"):
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
    """One array's part is added to another, for one gate or for all."""
    terms = {role: right[f"d{role}"].partition(" += ")[2] for role in model.roles}

    def moved(source: str, target: str) -> dict[str, str]:
        added = f"{right[f'd{target}']}; d{target} += {terms[source]}"
        return {f"d{source}": f"d{source} += 0", f"d{target}": added}

    for source, target in product(model.roles, repeat=2):
        if target != source and (target.startswith("W") or not source.startswith("W")):
            yield _fault(moved(source, target), "sums", f"the part of {source} is added to {target}")
    for one, other in permutations(model.gates, 2):
        for kinds in (("Wx", "Wh", "b", "bh"), ("Wx", "Wh")):
            pairs = [(f"{kind}_{one}", f"{kind}_{other}") for kind in kinds if f"{kind}_{one}" in terms]
            changes = {key: text for pair in pairs for key, text in moved(*pair).items()}
            yield _fault(changes, "sums", f"the parts of gate {one} are added to gate {other}")
    for one, other in permutations(("Wx", "Wh", "b", "bh"), 2):
        pairs = [(f"{one}_{gate}", f"{other}_{gate}") for gate in model.gates]
        if len(pairs) > 1 and all(role in terms for pair in pairs for role in pair):
            changes = {key: text for pair in pairs for key, text in moved(*pair).items()}
            yield _fault(changes, "sums", f"the parts of {one} are added to {other}")


def _bindings(right: Program, vocabulary: Words) -> Iterator[Fault]:
    """A quantity is taken from another step, or mistaken for another, wherever it is used."""
    text = " ".join(right.values())
    for quantity in dict.fromkeys(re.findall(r"\b[a-z]+\[t(?:-1)?\]", text)):
        pattern = rf"\b{re.escape(quantity)}"
        for new in (*elsewhere(quantity), *vocabulary.quantities, *EXTERNAL):
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


def _overwritten(model: Model, right: Program) -> Iterator[Fault]:
    """All gates are those of the last step, as where one array holds them that every step writes into."""
    gates = rf"\b({'|'.join(model.gates)})\[t\]"
    changes = {label: re.sub(gates, r"\1[T-1]", line) for label, line in right.items()}
    yield _fault({label: line for label, line in changes.items() if line != right[label]}, "bindings")


def _sigmoids(model: Model, right: Program) -> Iterator[Fault]:
    """The same small change in every sigmoid, as a loop or a helper function makes it."""
    gates = [gate for gate in model.gates if "**2" not in right[f"da{gate}"]]
    if len(gates) > 1:
        first = gates[0]
        for text in changed(right[f"da{first}"].partition(" = ")[2], Words((f"{first}[t]", f"a{first}[t]"))):
            line = f"da{first} = {text}"
            yield _fault({f"da{gate}": for_gate(line, first, gate) for gate in gates}, "activations")
