"""What else can stand in the place of one right statement: small changes of it, in any of the ways it is written."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations

from lstmcast.doctor.formulas import program
from lstmcast.doctor.mistakes.catalogue import catalogue
from lstmcast.doctor.mistakes.edits import DELTAS, QUANTITIES, SIZES, Words, changed, elsewhere
from lstmcast.doctor.mistakes.sums import SCALES, split_product
from lstmcast.doctor.problem import Model

EXTERNAL = ("x[t]", "y[t]", "p[t]", "out[t]")


@cache
def words(model: Model) -> Words:
    """Return all that a program of this kind has at hand, and may take for another."""
    right = program(model)
    assigned = [label for label, text in right.items() if "+=" not in text]
    summed = [label for label, text in right.items() if "+=" in text]
    quantities = (*QUANTITIES[model.cell], *EXTERNAL)
    # sums before and after this step's part
    after = [f"({label} + {right[label].partition(' += ')[2]})" for label in summed]
    sums = (*summed, *after)
    rows = [f"{text}[None]" for text in sums if "db" in text]
    deltas = dict.fromkeys((*DELTAS[model.cell], *assigned, *sums, *rows))
    return Words(quantities, tuple(deltas), model.roles)


@cache
def rewritten(model: Model, label: str) -> tuple[str, ...]:
    """Return what may stand on the right of ``label =`` instead."""
    right, vocabulary = program(model), words(model)
    expression = right[label].partition(" = ")[2]
    found: dict[str, None] = {}
    for text in _spellings(right, expression):
        found |= dict.fromkeys(changed(text, vocabulary))
        found |= dict.fromkeys(_regrouped(text))
    found |= dict.fromkeys((*vocabulary.deltas, *vocabulary.quantities, *SIZES, f"{expression} + 1"))
    if label.startswith("da"):
        # a helper's derivative, of something else
        incoming = "dh" if model.cell == "rnn" else f"d{label[2:]}"
        for name in (*vocabulary.quantities, *vocabulary.deltas):
            found |= dict.fromkeys((f"{incoming} * ({name} * (1 - {name}))", f"{incoming} * (1 - {name}**2)"))
    if label == "dh_next":
        columns = (":H", "-H:", "D:", ":D")
        found |= dict.fromkeys(f"{delta}[:, {some}]" for delta in vocabulary.deltas for some in columns)
    if label == "dy":
        divisors = (*vocabulary.quantities, *vocabulary.deltas)
        found |= dict.fromkeys(
            f"{size} * {expression} / {name}" for size in ("B", "T", "O", "B * T") for name in divisors
        )
        known = [fault.changes["dy"].partition(" = ")[2] for fault in catalogue(model) if [*fault.changes] == ["dy"]]
        found |= dict.fromkeys(f"{scale} * ({text})" for text in known for scale in SCALES)
        found |= dict.fromkeys(_scales(expression))
    found.pop(expression, None)
    return tuple(found)


@cache
def summed(model: Model, label: str) -> tuple[str, ...]:
    """Return what may stand in the place of ``label += …``: another product, sum, or assignment."""
    right, vocabulary = program(model), words(model)
    expression = right[label].partition(" += ")[2]
    _, left, delta = split_product(right[label])
    found = [f"{label} += {text}" for text in changed(expression, vocabulary)]
    found += [f"{label} = {text}" for text in (label[1:], f"{label} - {expression}", *vocabulary.deltas)]
    found += [f"{label} += {text}" for text in (*vocabulary.deltas, *EXTERNAL, *SIZES)]
    every = (*vocabulary.deltas, *EXTERNAL, *vocabulary.quantities)
    if left:
        products = (
            "{0} @ {1}",
            "{0} @ {1}.T",
            "{0} * {1}",
            "{1}.T @ {0}",
            "{0}.T * {1}",
            "{0}.T + {1}",
            "{0}.sum(0)[:, None]",
        )
        found += [f"{label} += {form.format(left, delta)}" for form in products]
        found += [f"{label} += {left}.sum(0)[:, None] * {size}" for size in ("1", *SIZES)]
        # another step's factor, and another product, both
        forms = (*products, "({0} * {1}).sum()", "({0}.T @ {1}).T", "np.mean({0}.T @ {1})", "({0}.T @ {1}) / B")
        found += [f"{label} += {form.format(other, delta)}" for other in _elsewhere(left) for form in forms]
    else:
        found += [
            f"{label} {sign} {other}.{way}" for other in every for sign in ("+=", "=") for way in ("sum(0)", "sum(1)")
        ]
        found += [f"{label} += {delta}.{way}" for way in ("sum()", "mean(0)", "mean(1)", "mean()", "max(0)", "prod(0)")]
    return tuple(dict.fromkeys(found))


def _elsewhere(factor: str) -> list[str]:
    """Return a product's left factor with its state at other steps."""
    state = re.search(r"\w+\[t(-1)?\]\)?$", factor)
    assert state is not None
    own = state[0].removesuffix(")")
    return [factor.replace(own, other) for other in elsewhere(own)]


def _spellings(right: dict[str, str], expression: str) -> Iterator[str]:
    """Yield the ways in which people write an expression: factors drawn together, squares and derivatives."""
    yield expression
    joined = expression
    for name in re.findall(r"\b(d[a-z]) \*", expression):
        if name in right and name not in ("dh", "dc"):
            joined = joined.replace(name, right[name].partition(" = ")[2], 1)
    if "@" in joined and joined != expression:
        joined = expression
    for text in dict.fromkeys((expression, joined)):
        yield text
        sigmoid = re.sub(r"(\w\[t\]) \* \(1 - \1\)", r"(\1 - \1**2)", text)
        factored = re.sub(r"^(.*) \* (\w\[t\]) \* \(1 - \2\)$", r"\1 * (\2 * (1 - \2))", text)
        product = re.sub(r"(\w+\[t\])\*\*2", r"\1 * \1", text)
        yield from {sigmoid, re.sub(r"(\w+\[t\])\*\*2", r"\1 * \1", sigmoid), factored, product} - {text}


def _regrouped(text: str) -> Iterator[str]:
    """Yield products and sums with some of their parts left out, or joined to the rest by another operator."""
    tree = ast.parse(text, mode="eval").body
    terms = _flat(tree, ast.Add)
    if len(terms) > 1:
        yield from _split(terms, " + ", (" - ", " * "))
    for index, term in enumerate(terms):
        factors = _flat(ast.parse(term, mode="eval").body, ast.Mult)
        rest = [*terms[:index], *terms[index + 1 :]]
        if len(factors) > 1:
            for new in _split(factors, " * ", (" + ", " - ", " / ")):
                yield " + ".join([f"({new})" if rest else new, *rest])


def _split(parts: Sequence[str], own: str, others: Sequence[str]) -> Iterator[str]:
    for size in range(1, len(parts)):
        for chosen in combinations(range(len(parts)), size):
            some = own.join(parts[k] for k in chosen)
            rest = own.join(parts[k] for k in range(len(parts)) if k not in chosen)
            yield some
            for other in others:
                yield f"({some}){other}({rest})"


def _flat(node: ast.expr, operator: type[ast.operator]) -> list[str]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, operator):
        return [*_flat(node.left, operator), *_flat(node.right, operator)]
    text = ast.unparse(node)
    return [f"({text})" if isinstance(node, ast.BinOp) else text]


def _scales(expression: str) -> Iterator[str]:
    """Yield a loss gradient with another factor, of some or all sizes, in front."""
    for one, other in combinations("BTO", 2):
        for sign in "+-":
            new = f"({one} {sign} {other})"
            yield f"{one} * {other} / {new} * {expression}"
            yield f"{new} * {expression}"
            yield f"{new} / ({one} * {other}) * {expression}"
