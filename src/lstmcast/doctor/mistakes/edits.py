"""Mistakes that nobody has catalogued: every small change of a right formula.

One name for another, one operator for another, a factor, term, transposition or step too few or too many.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
    if isinstance(node, ast.BinOp):
        yield from _of_operation(node)
        for left in _variants(node.left, words):
            yield ast.BinOp(left, node.op, node.right)
        for right in _variants(node.right, words):
            yield ast.BinOp(node.left, node.op, right)
        if isinstance(node.op, ast.Mult | ast.MatMult):
            yield from _with_factor(node, words)
        if isinstance(node.op, ast.Pow):
            for text in (*words.quantities, *(elsewhere(ast.unparse(node.left)))):
                yield ast.BinOp(node.left, ast.Mult(), expression(text))
    elif isinstance(node, ast.Attribute):
        yield node.value
        for value in _variants(node.value, words):
            yield ast.Attribute(value, node.attr)
    elif isinstance(node, ast.Call):
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        for new in _variants(receiver, words) if receiver is not None else ():
            yield ast.Call(ast.Attribute(new, node.func.attr), node.args, [])  # type: ignore[attr-defined]
        for argument in node.args if receiver is None or isinstance(node.func.value, ast.Name) else ():  # type: ignore[attr-defined]
            # a function of ours or of NumPy
            yield argument
            for new in _variants(argument, words):
                yield ast.Call(node.func, [new], [])
    elif isinstance(node, ast.Constant):
        for number in {0, 1, 2, 3} - {node.value}:
            yield ast.Constant(number)
    elif isinstance(node, ast.Subscript):
        own = ast.unparse(node).replace(" ", "")
        for text in ("1", *elsewhere(own), *words.quantities, *words.deltas, *SIZES):
            yield expression(text)
        for text in words.quantities:
            yield expression(f"np.tanh({text})")
        yield ast.BinOp(node, ast.Pow(), ast.Constant(2))
        yield expression(f"np.tanh({own})")
        yield expression(f"sigmoid({own})")
        yield expression(f"np.exp({own})")
    elif isinstance(node, ast.Name) and node.id in words.deltas:
        for text in ("1", *words.deltas, *words.quantities, *SIZES):
            yield expression(text)
        yield from _with_factor(node, words)
    elif isinstance(node, ast.Name) and node.id in words.parameters:
        for text in words.parameters:
            yield expression(text)


def _of_operation(node: ast.BinOp) -> Iterator[ast.expr]:
    yield node.left
    yield node.right
    for operator in OPERATORS[type(node.op)]:
        yield ast.BinOp(node.left, operator(), node.right)
    if isinstance(node.op, ast.Sub | ast.MatMult):
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node.op, ast.Mult):
        yield ast.BinOp(node.right, ast.Div(), node.left)
        yield ast.BinOp(node.right, ast.Sub(), node.left)


def _with_factor(node: ast.expr, words: Words) -> Iterator[ast.expr]:
    for text in (*words.quantities, *CONSTANTS):
        yield ast.BinOp(node, ast.Mult(), expression(text))
    for text in words.quantities:
        yield ast.BinOp(node, ast.Mult(), expression(f"1 - {text}"))
        yield ast.BinOp(node, ast.Mult(), expression(f"1 + {text}"))
        yield ast.BinOp(node, ast.Mult(), expression(f"1 - {text}**2"))


def for_gate(text: str, gate: str, other: str) -> str:
    """Return a statement about one gate as a statement about another."""
    return re.sub(r"\b(a|d|da|dW[xh]_|db_|dbh_|W[xh]_|)" + gate + r"\b", lambda match: match.group(1) + other, text)
