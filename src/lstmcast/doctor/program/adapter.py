"""What a user says about a program: the constant ``LSTMCAST`` in its file."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.problem import CellKind, OutputKind, Problem, Sizes
from lstmcast.errors import InvalidError

KEYS = ("cell", "output", "loss", "x", "y", "shapes", "state", "gradients", "one_hot", "sizes")
NAME = "LSTMCAST"
SIZE_NAMES = ("B", "T", "D", "H", "O")


@dataclass(frozen=True)
class Adapter:
    """How a program's arrays correspond to a problem's.

    Attributes:
        cells: the cells that it may be.
        every: the loss is on every step; None: not said.
        x: the axes of the inputs, as ``BTD``; without D they are whole numbers (symbols).
        y: the axes of the targets, as ``BTO``.
        shapes: each parameter's shape, as expressions in D, H and O.
        state: the axes of each initial state that the functions take after x and y: h, then c.
        gradients: the order of the gradients, if they come as a list.
        one_hot: inputs are one-hot vectors.
        fixed: sizes that the program has as constants, by letter.
        ties: O is D: the outputs are over the same symbols as the inputs.
    """

    cells: tuple[CellKind, ...]
    output: OutputKind
    every: bool | None
    x: str
    y: str
    shapes: dict[str, tuple[str, ...]]
    state: tuple[str, ...]
    gradients: list[str] | None
    one_hot: bool
    fixed: dict[str, int] = field(default_factory=dict)

    @property
    def symbols(self) -> bool:
        """Whether the inputs are one-hot, as vectors or as numbers."""
        return self.one_hot or ("D" not in self.x and self._uses("D"))

    @property
    def ties(self) -> bool:
        """Whether there are as many outputs as inputs."""
        return not self._uses("O") and "O" not in self.y and (self.output == "softmax" or "D" in self.y)

    def _uses(self, letter: str) -> bool:
        return any(letter in expression for shape in self.shapes.values() for expression in shape)

    def sizes(self, wanted: Sizes) -> Sizes:
        """Return the sizes nearest to those wanted that the program can have."""
        D = wanted.D if self._uses("D") or "D" in self.x else 1
        O = wanted.O if self._uses("O") or "O" in self.y else 1
        sizes = replace(Sizes(wanted.B if "B" in self.x else 1, wanted.T, D, wanted.H, O), **self.fixed)
        return replace(sizes, O=sizes.D) if self.ties else sizes

    def shape(self, name: str, sizes: Sizes) -> tuple[int, ...]:
        """Return a parameter's shape."""
        return tuple(size_of(expression, sizes) for expression in self.shapes[name])

    def arguments(self, problem: Problem) -> list[Array]:
        """Return x, y and the initial states as the program wants them."""
        x = problem.x.argmax(-1) if "D" not in self.x and self.symbols else problem.x
        y = problem.y.argmax(-1) if "O" not in self.y and "D" not in self.y and self.output == "softmax" else problem.y
        if "T" not in self.y:
            y = y[-1:]
        y_axes = self.y.replace("D", "O")
        arrays = [_arranged(x, "TBD"[: x.ndim], self.x), _arranged(y, "TBO"[: y.ndim], y_axes)]
        states = (problem.h0, problem.c0)
        arrays += [_arranged(state, "BH", axes) for state, axes in zip(states, self.state, strict=False)]
        return arrays


def _arranged(array: Array, axes: str, wanted: str) -> Array:
    """Put an array's axes in the order wanted; those not wanted must have size 1."""
    names = [axis for axis in axes if axis in wanted]
    array = array.reshape([size for axis, size in zip(axes, array.shape, strict=True) if axis in wanted])
    array = array.transpose([names.index(axis) for axis in wanted if axis in names])
    for index, axis in enumerate(wanted):
        if axis not in names:
            array = np.expand_dims(array, index)
    return np.ascontiguousarray(array)


def size_of(expression: str, sizes: Sizes) -> int:
    """Return the size that an expression gives, such as ``H + D`` or ``4*H``.

    Raises:
        InvalidError: if it is none.
    """
    values = {"D": sizes.D, "H": sizes.H, "O": sizes.O}

    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name) if name in values:
                return values[name]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return value(left) + value(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return value(left) * value(right)
        raise InvalidError(f"{NAME}: shapes: {expression!r} is no sum or product of D, H, O and numbers")

    try:
        return value(ast.parse(expression.strip(), mode="eval").body)
    except SyntaxError:
        raise InvalidError(f"{NAME}: shapes: {expression!r} is no expression in D, H and O") from None


def read(source: str, file: str) -> Adapter:
    """Return the adapter in a program's text.

    Raises:
        InvalidError: if there is none, or it makes no sense: where, what is allowed.
    """
    hint = "`lstmcast gradcheck --template lstm` prints an example"
    try:
        tree = ast.parse(source, file)
    except SyntaxError as error:
        where = f"{file}:{error.lineno}" if error.lineno else file
        raise InvalidError(f"{where}: {error.msg}") from None
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(t, ast.Name) and t.id == NAME for t in targets):
            assert isinstance(node, ast.Assign | ast.AnnAssign)
            if node.value is None:
                continue
            try:
                said = ast.literal_eval(node.value)
            except ValueError:
                raise InvalidError(f"{file}:{node.lineno}: {NAME} must be a dict of literals", hint) from None
            try:
                return parse(said)
            except InvalidError as error:
                raise InvalidError(f"{file}:{node.lineno}: {error.message}", error.hint or hint) from None
    raise InvalidError(f"{file}: there is no {NAME} = {{...}} that says which array is what", hint)


def parse(said: Any) -> Adapter:
    """Return the adapter that a dict describes.

    Raises:
        InvalidError: if it makes no sense.
    """
    if not isinstance(said, dict):
        raise InvalidError(f"{NAME} must be a dict")
    for key in ("cell", "output", "loss"):
        if not isinstance(said.get(key), str | None):
            raise InvalidError(f"{NAME}: {key}: {said[key]!r}; it must be a word")
    for key in said:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            raise InvalidError(
                f"{NAME}: unknown key {key!r}; there are {', '.join(KEYS)}",
                f"did you mean {near[0]}?" if near else None,
            )
    cells: dict[str | None, tuple[CellKind, ...]] = {
        "lstm": ("lstm",),
        "gru": ("gru",),
        "rnn": ("rnn",),
        None: ("lstm", "gru", "rnn"),
    }
    if said.get("cell") not in cells:
        raise InvalidError(f"{NAME}: cell: {said['cell']!r}; it must be lstm, gru or rnn")
    outputs: dict[str, OutputKind] = {"squared": "squared", "softmax": "softmax"}
    if said.get("output") not in outputs:
        raise InvalidError(f"{NAME}: output: {said.get('output')!r}; it must be 'squared' or 'softmax'")
    losses = {"every": True, "last": False, None: None}
    if said.get("loss") not in losses:
        raise InvalidError(f"{NAME}: loss: {said['loss']!r}; it must be 'every' or 'last'")
    x = _axes(said, "x", "BTD1", "T")
    every = losses[said.get("loss")]
    y = _axes(said, "y", "BTOD1", "") if "y" in said else x.replace("D", "O")
    if "T" not in y and every is not False:
        raise InvalidError(
            f"{NAME}: y: {y!r}; without an axis T of the steps, as in TBO, the loss is on the last step only",
            "if it is, say so: 'loss': 'last'",
        )
    shapes = said.get("shapes")
    if not isinstance(shapes, Mapping) or not shapes:
        raise InvalidError(f"{NAME}: shapes: give each parameter's shape, as {{'W': 'D, H', 'b': 'H'}}")
    split: dict[str, tuple[str, ...]] = {}
    for name, text in shapes.items():
        if not isinstance(text, str | list | tuple):
            raise InvalidError(f"{NAME}: shapes: {name}: {text!r}; give the shape as text, as '4*H'")
        parts = text.strip("() ").split(",") if isinstance(text, str) else [str(part) for part in text]
        split[str(name)] = tuple(part.strip() for part in parts if part.strip())
        for part in split[str(name)]:
            size_of(part, Sizes(1, 1, 1, 1, 1))
    with_outputs = any("O" in part for shape in split.values() for part in shape)
    if said["output"] == "squared" and with_outputs and not set("OD") & set(y):
        raise InvalidError(f"{NAME}: y: {y!r}; there are O outputs, so targets have an axis O, as in BTO")
    state = said.get("state") or ()
    if not isinstance(state, Mapping | list | tuple) or len(state) > 2:
        raise InvalidError(f"{NAME}: state: {state!r}; give the axes of h (and of c), as ['BH', 'BH']")
    state = tuple(state.values()) if isinstance(state, Mapping) else tuple(state)
    if any(not isinstance(axes, str) or not {"H"} <= set(axes) <= set("BH1") for axes in state):
        raise InvalidError(f"{NAME}: state: {list(state)}; give the axes of h (and of c), as ['BH', 'BH']")
    for key, axes in (("y", y), *(("state", axes) for axes in state)):
        if ("B" in axes) != ("B" in x):
            raise InvalidError(f"{NAME}: {key}: {axes!r}; it must have B, as x has, or both have not")
    gradients = said.get("gradients")
    if gradients is not None and (not isinstance(gradients, list | tuple) or set(gradients) - set(split)):
        raise InvalidError(f"{NAME}: gradients: {gradients!r}; give the names in shapes, in the order returned")
    fixed = said.get("sizes", {})
    if not isinstance(fixed, dict) or any(k not in SIZE_NAMES or type(v) is not int or v < 1 for k, v in fixed.items()):
        raise InvalidError(f"{NAME}: sizes: {fixed!r}; give those that are constants of your program, as {{'H': 16}}")
    return Adapter(
        cells[said.get("cell")],
        outputs[said["output"]],
        every,
        x,
        y,
        split,
        state,
        None if gradients is None else [str(name) for name in gradients],
        bool(said.get("one_hot", False)),
        fixed,
    )


def _axes(said: Mapping[str, Any], key: str, allowed: str, needed: str) -> str:
    axes = said.get(key)
    repeated = isinstance(axes, str) and any(axes.count(axis) > 1 for axis in "BTDOH")
    if not isinstance(axes, str) or repeated or set(axes) - set(allowed) or set(needed) - set(axes):
        named = ", ".join("".join(p) for p in list(permutations(allowed[:3], 3))[:3])
        raise InvalidError(f"{NAME}: {key}: {axes!r}; give the order of its axes, as {named}, TD for one sample")
    return axes
