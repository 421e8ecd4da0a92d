"""What else can stand in the place of a right formula: mistakes that nobody has catalogued.

One name for another, one operator for another, a factor, term, transposition or step too few or too many: in one
expression (`changed`), in one statement in any of the ways in which people write it (`rewritten`, `rewritten_sum`),
or in several statements alike (`derived`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, permutations, product

from lstmcast.doctor.formulas import Program, program
from lstmcast.doctor.mistakes.catalogue import catalogue, distinct
from lstmcast.doctor.mistakes.sums import SCALES, split_product
from lstmcast.doctor.problem import Model
from lstmcast.doctor.reference import Fault

CONSTANTS = ("-1", "2", "0.5", "B", "T", "O", "H", "D", "1 / B", "1 / T", "1 / O", "1 / H", "1 / (B * T)", "1 / D")

QUANTITIES = {
    "lstm": (
        *("i[t]", "f[t]", "g[t]", "o[t]", "c[t]", "c[t-1]", "tc[t]", "tc[t-1]", "h[t]", "h[t-1]"),
        *("ai[t]", "af[t]", "ag[t]", "ao[t]", "np.exp(c[t])", "sigmoid(c[t])"),
    ),
    "gru": ("r[t]", "z[t]", "n[t]", "v[t]", "h[t]", "h[t-1]", "ar[t]", "az[t]", "an[t]"),
    "rnn": ("h[t]", "h[t-1]", "ah[t]"),
}
"""What can stand in the place of a forward quantity, for each cell."""

DELTAS = {
    "lstm": (*("dh", "dc", "di", "df", "dg", "do", "dh_next", "dc_next", "dai", "daf", "dag", "dao"),),
    "gru": (*("dh", "dn", "dz", "dr", "ds", "dv", "dh_next", "dar", "daz", "dan"),),
    "rnn": ("dh", "dh_next", "dah"),
}
"""What can stand in the place of a gradient; the sums are those up to this step."""

EXTERNAL = ("x[t]", "y[t]", "p[t]", "out[t]")
"""What a program takes in and gives out."""

SIZES = ("B", "T", "D", "H", "O", "t")

PREVIOUS = ("h", "c", "tc")
"""Quantities that are there before the first step, too."""

OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Mult: (ast.Add, ast.Sub, ast.Div),
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add, ast.Mult, ast.Div),
    ast.MatMult: (ast.Mult,),
    ast.Pow: (ast.Mult,),
}


def expression(text: str) -> ast.expr:
    """Parse an expression."""
    return ast.parse(text, mode="eval").body


@dataclass(frozen=True)
class Words:
    """What may stand in the place of what: forward quantities, gradients, parameters."""

    quantities: Sequence[str] = ()
    deltas: Sequence[str] = ()
    parameters: Sequence[str] = ()


def changed(right: str, words: Words) -> list[str]:
    """Return all small changes of an expression, as text, each once."""
    tree = expression(right)
    found = dict.fromkeys(ast.unparse(node) for node in _variants(tree, words))
    found.pop(ast.unparse(tree), None)
    return list(found)


def elsewhere(quantity: str) -> list[str]:
    """Return a quantity at other steps, with and without wrapping to the last ones."""
    name, _, index = quantity.partition("[")
    if name not in PREVIOUS:
        indices = ["t-1", "t+1", "T-1", "0", "-1", "1", "(t - 1) % T", "(t + 1) % T", "T-1-t"]
    elif index == "t]":
        # lists of T + 1 rows wrap to the last state
        indices = ["t-1", "t-2", "t+1", "T-1", "0", "-1", "1", "(t - 1) % T", "(t - 1) % (T + 1) - 1", "T-1-t"]
    else:
        indices = ["t", "t-2", "t+1", "T-1", "0", "-1", "(t - 1) % T", "(t - 1) % T - 1", "(t - 1) % (T + 1) - 1"]
        indices += ["T-2-t", "T-2"]
    return [f"{name}[{i}]" for i in indices]


def _variants(node: ast.expr, words: Words) -> Iterator[ast.expr]:
    """Yield each small change of an expression: of the whole, and of one of its parts."""
    match node:
        case ast.BinOp():
            yield from _of_operation(node, words)
        case ast.Call():
            yield from _of_call(node, words)
        case ast.Attribute(value=value, attr=name):
            yield value
            yield from (ast.Attribute(new, name) for new in _variants(value, words))
        case ast.Constant(value=value):
            yield from map(ast.Constant, {0, 1, 2, 3} - {value})
        case ast.Subscript():
            yield from _of_quantity(ast.unparse(node).replace(" ", ""), words)
        case ast.Name(id=name) if name in words.deltas:
            yield from map(expression, ("1", *words.deltas, *words.quantities, *SIZES))
            yield from _with_factor(node, words)
        case ast.Name(id=name) if name in words.parameters:
            yield from map(expression, words.parameters)


def _of_quantity(own: str, words: Words) -> Iterator[ast.expr]:
    texts = ("1", *elsewhere(own), *words.quantities, *words.deltas, *SIZES)
    functions = (*(f"np.tanh({text})" for text in words.quantities), f"{own} ** 2")
    yield from map(expression, (*texts, *functions, f"np.tanh({own})", f"sigmoid({own})", f"np.exp({own})"))


def _of_call(node: ast.Call, words: Words) -> Iterator[ast.expr]:
    receiver = None
    if isinstance(node.func, ast.Attribute):
        receiver = node.func.value
        for new in _variants(receiver, words):
            yield ast.Call(ast.Attribute(new, node.func.attr), node.args, [])
    if receiver is None or isinstance(receiver, ast.Name):
        # a function of ours or of NumPy
        for argument in node.args:
            yield argument
            yield from (ast.Call(node.func, [new], []) for new in _variants(argument, words))


def _of_operation(node: ast.BinOp, words: Words) -> Iterator[ast.expr]:
    left, operator, right = node.left, node.op, node.right
    yield from (left, right)
    yield from (ast.BinOp(left, other(), right) for other in OPERATORS[type(operator)])
    if isinstance(operator, ast.Sub | ast.MatMult):
        yield ast.BinOp(right, operator, left)
    if isinstance(operator, ast.Mult):
        yield ast.BinOp(right, ast.Div(), left)
        yield ast.BinOp(right, ast.Sub(), left)
    yield from (ast.BinOp(new, operator, right) for new in _variants(left, words))
    yield from (ast.BinOp(left, operator, new) for new in _variants(right, words))
    if isinstance(operator, ast.Mult | ast.MatMult):
        yield from _with_factor(node, words)
    if isinstance(operator, ast.Pow):
        texts = (*words.quantities, *elsewhere(ast.unparse(left)))
        yield from (ast.BinOp(left, ast.Mult(), expression(text)) for text in texts)


def _with_factor(node: ast.expr, words: Words) -> Iterator[ast.expr]:
    forms = ("1 - {0}", "1 + {0}", "1 - {0}**2")
    factors = [*words.quantities, *CONSTANTS, *(form.format(text) for text in words.quantities for form in forms)]
    yield from (ast.BinOp(node, ast.Mult(), expression(text)) for text in factors)


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
    for text in dict.fromkeys(_spellings(right, expression)):
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
def rewritten_sum(model: Model, label: str) -> tuple[str, ...]:
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
        found += [f"{label} += {form.format(other, delta)}" for other in _left_elsewhere(left) for form in forms]
    else:
        found += [
            f"{label} {sign} {other}.{way}" for other in every for sign in ("+=", "=") for way in ("sum(0)", "sum(1)")
        ]
        found += [f"{label} += {delta}.{way}" for way in ("sum()", "mean(0)", "mean(1)", "mean()", "max(0)", "prod(0)")]
    return tuple(dict.fromkeys(found))


def _left_elsewhere(factor: str) -> list[str]:
    """Return a product's left factor with its state at other steps."""
    state = re.search(r"\w+\[t(-1)?\]\)?$", factor)
    assert state is not None
    own = state[0].removesuffix(")")
    return [factor.replace(own, other) for other in elsewhere(own)]


def _spellings(right: dict[str, str], expression: str) -> Iterator[str]:
    """Yield the ways in which people write an expression: factors drawn together, squares and derivatives."""
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
        yield from (sigmoid, re.sub(r"(\w+\[t\])\*\*2", r"\1 * \1", sigmoid), factored, product)


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
            *_moved(model, right),
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


def _moved(model: Model, right: Program) -> Iterator[Fault]:
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
            yield _fault({f"da{gate}": _for_gate(line, first, gate) for gate in gates}, "activations")


def _for_gate(text: str, gate: str, other: str) -> str:
    """Return a statement about one gate as a statement about another."""
    return re.sub(r"\b(a|d|da|dW[xh]_|db_|dbh_|W[xh]_|)" + gate + r"\b", lambda match: match.group(1) + other, text)
