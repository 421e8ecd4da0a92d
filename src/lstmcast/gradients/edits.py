"""Mistakes that nobody has catalogued: every small change of a right formula.

One name for another, one operator for another, a factor, term, transposition or step too few or too many.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from lstmcast.gradients.formulas import Program
from lstmcast.gradients.problem import Model
from lstmcast.gradients.reference import Fault

CONSTANTS = ("-1", "2", "0.5", "B", "T", "O", "H", "D", "1 / B", "1 / T", "1 / O", "1 / H", "1 / (B * T)", "1 / D")

QUANTITIES = {
    "lstm": (
        *("i[t]", "f[t]", "g[t]", "o[t]", "c[t]", "c[t-1]", "tc[t]", "tc[t-1]", "h[t]", "h[t-1]"),
        *("ai[t]", "af[t]", "ag[t]", "ao[t]"),
    ),
    "gru": ("r[t]", "z[t]", "n[t]", "v[t]", "h[t]", "h[t-1]", "ar[t]", "az[t]", "an[t]"),
    "rnn": ("h[t]", "h[t-1]", "ah[t]"),
}
"""What can stand in the place of a forward quantity, for each cell."""

DELTAS = {
    "lstm": ("dh", "dc", "di", "df", "dg", "do", "dh_next", "dc_next", "dai", "daf", "dag", "dao"),
    "gru": ("dh", "dn", "dz", "dr", "ds", "dv", "dh_next", "dar", "daz", "dan"),
    "rnn": ("dh", "dh_next", "dah"),
}
"""What can stand in the place of a gradient."""

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


def derived(model: Model, program: Program) -> list[Fault]:
    """Return a fault for each small change of each statement but the parameters' sums."""
    faults = []
    for label, statement in program.items():
        if "+=" in statement:
            continue
        right = statement.partition(" = ")[2]
        for text in changed(right, QUANTITIES[model.cell], DELTAS[model.cell]):
            faults.append(Fault(label, "", {label: f"{label} = {text}"}, known=False))
    return faults


def changed(right: str, quantities: Sequence[str], deltas: Sequence[str]) -> list[str]:
    """Return all small changes of an expression, as text, each once."""
    tree = expression(right)
    found = dict.fromkeys(ast.unparse(node) for node in _variants(tree, quantities, deltas))
    found.pop(ast.unparse(tree), None)
    return list(found)


def _variants(node: ast.expr, quantities: Sequence[str], deltas: Sequence[str]) -> Iterator[ast.expr]:
    yield from _own_variants(node, quantities, deltas)
    if isinstance(node, ast.BinOp):
        for left in _variants(node.left, quantities, deltas):
            yield ast.BinOp(left, node.op, node.right)
        for right in _variants(node.right, quantities, deltas):
            yield ast.BinOp(node.left, node.op, right)
    elif isinstance(node, ast.Attribute):
        yield node.value


def _own_variants(node: ast.expr, quantities: Sequence[str], deltas: Sequence[str]) -> Iterator[ast.expr]:
    product = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.MatMult)
    if isinstance(node, ast.BinOp):
        yield node.left
        yield node.right
        for operator in OPERATORS[type(node.op)]:
            yield ast.BinOp(node.left, operator(), node.right)
        if isinstance(node.op, ast.Sub | ast.MatMult):
            yield ast.BinOp(node.right, node.op, node.left)
    elif isinstance(node, ast.Constant):
        for value in {0, 1, 2, 3} - {node.value}:
            yield ast.Constant(value)
    elif isinstance(node, ast.Subscript):
        name = ast.unparse(node.value)
        yield ast.Constant(1)
        for text in dict.fromkeys((*quantities, *(f"{name}[{index}]" for index in ("t", "t-1", "t+1")))):
            yield expression(text)
        yield ast.BinOp(node, ast.Pow(), ast.Constant(2))
        yield ast.Call(expression("np.tanh"), [node], [])
        yield ast.Call(expression("sigmoid"), [node], [])
    elif isinstance(node, ast.Name) and node.id in deltas:
        yield ast.Constant(1)
        for text in (*deltas, *quantities):
            yield expression(text)
    if product or (isinstance(node, ast.Name) and node.id in deltas):
        for text in (*quantities, *CONSTANTS):
            yield ast.BinOp(node, ast.Mult(), expression(text))
        for text in quantities:
            yield ast.BinOp(node, ast.Mult(), expression(f"1 - {text}"))
            yield ast.BinOp(node, ast.Mult(), expression(f"1 - {text}**2"))


def for_gate(text: str, gate: str, other: str) -> str:
    """Return a statement about one gate as a statement about another."""
    return re.sub(r"\b(a|d|da|dW[xh]_|db_|dbh_|W[xh]_|)" + gate + r"\b", lambda match: match.group(1) + other, text)
