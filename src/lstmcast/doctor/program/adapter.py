"""What a user says about a program: the constant ``LSTMCAST`` in its file."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, ValidationError

from lstmcast.arrays import Array
from lstmcast.doctor.problem import CellKind, OutputKind, Problem, Sizes
from lstmcast.errors import InvalidError, nearest
from lstmcast.sections import Section

NAME = "LSTMCAST"
EXAMPLE = "`lstmcast gradcheck --template lstm` prints an example"
# what each key may be
ALLOWED = {
    "cell": "it must be lstm, gru or rnn",
    "output": "it must be 'squared' or 'softmax'",
    "loss": "it must be 'every' or 'last'",
    "x": "give the order of its axes, as BTD, BDT, TBD, TD for one sample",
    "y": "give the order of its axes, as BTO, BOT, TBO, TO for one sample",
    "shapes": "give each parameter's shape as text, as {'W': 'D, H', 'b': '4*H'}",
    "state": "give the axes of h (and of c), as ['BH', 'BH']",
    "gradients": "give the names in shapes, in the order returned",
    "one_hot": "it must be True or False",
    "sizes": "give those that are constants of your program, as {'H': 16}",
}


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
        ValueError: if it is none.
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
        raise ValueError(f"{expression!r} is no sum or product of D, H, O and numbers")

    try:
        return value(ast.parse(expression.strip(), mode="eval").body)
    except SyntaxError:
        raise ValueError(f"{expression!r} is no expression in D, H and O") from None


def read(source: str, file: str) -> Adapter:
    """Return the adapter in a program's text.

    Raises:
        InvalidError: if there is none, or it makes no sense: where, what was found, what is allowed; all at once.
    """
    try:
        tree = ast.parse(source, file)
    except SyntaxError as error:
        where = f"{file}:{error.lineno}" if error.lineno else file
        raise InvalidError(f"{where}: {error.msg}") from None
    for node in tree.body:
        value = _assigned(node)
        if value is None:
            continue
        try:
            said = ast.literal_eval(value)
        except ValueError:
            raise InvalidError(f"{file}:{node.lineno}: {NAME} must be a dict of literals", EXAMPLE) from None
        keys = value.keys if isinstance(value, ast.Dict) else []
        lines = {key.value: key.lineno for key in keys if isinstance(key, ast.Constant)}
        return parse(said, partial(_place, file, lines, node.lineno))
    raise InvalidError(f"{file}: there is no {NAME} = {{...}} that says which array is what", EXAMPLE)


def _place(file: str, lines: Mapping[Any, int], line: int, key: str) -> str:
    return f"{file}:{lines.get(key, line)}: "


def _assigned(node: ast.stmt) -> ast.expr | None:
    """Return what a statement assigns to ``LSTMCAST``, if it does."""
    if not isinstance(node, ast.Assign | ast.AnnAssign):
        return None
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return node.value if any(isinstance(t, ast.Name) and t.id == NAME for t in targets) else None


def parse(said: Any, place: Callable[[str], str] = lambda _: "") -> Adapter:
    """Return the adapter that a dict describes.

    Args:
        said: the dict.
        place: what stands before a message on a key of it: where it is.

    Raises:
        InvalidError: if it makes no sense; the message lists everything.
    """
    if not isinstance(said, dict):
        raise InvalidError(f"{place('')}{NAME} must be a dict", EXAMPLE)
    try:
        section = AdapterSection.model_validate(said)
        problems = list(section.contradictions())
    except ValidationError as error:
        problems = _explained(error)
    if problems:
        lines = [f"{place(problem.key)}{NAME}: {problem.message}" for problem in problems]
        raise InvalidError("\n".join(lines), (problems[0].hint if len(problems) == 1 else None) or EXAMPLE)
    return Adapter(
        (section.cell,) if section.cell else ("lstm", "gru", "rnn"),
        section.output,
        None if section.loss is None else section.loss == "every",
        section.x,
        section.targets,
        section.shapes,
        section.state,
        section.gradients,
        section.one_hot,
        dict(section.sizes.items()),
    )


class Wrong(NamedTuple):
    """What is wrong at a key of the dict, and perhaps a hint."""

    key: str
    message: str
    hint: str | None = None


def _explained(error: ValidationError) -> list[Wrong]:
    """Say what is wrong and what is allowed, once for each key."""
    problems: dict[str, Wrong] = {}
    for details in error.errors(include_url=False):
        key = str(details["loc"][0])
        where = ": ".join(map(str, details["loc"][: 2 if key in ("shapes", "sizes") else 1]))
        if details["type"] == "extra_forbidden":
            near = nearest(key, ALLOWED)
            hint = f"did you mean {near}?" if near else None
            problems[key] = Wrong(key, f"unknown key {key!r}; there are {', '.join(ALLOWED)}", hint)
        elif details["type"] == "missing":
            problems[key] = Wrong(key, f"{key}: missing; {ALLOWED[key]}")
        elif details["type"] == "value_error":
            problems[key] = Wrong(key, f"{where}: {details['ctx']['error']}")
        else:
            problems.setdefault(key, Wrong(key, f"{where}: {details['input']!r}; {ALLOWED[key]}"))
    return list(problems.values())


def _axes(key: str, allowed: str, needed: str) -> AfterValidator:
    """Demand axes that are allowed, none twice, and those that are needed."""

    def check(axes: str) -> str:
        repeated = any(axes.count(axis) > 1 for axis in "BTDOH")
        if repeated or set(axes) - set(allowed) or set(needed) - set(axes):
            raise ValueError(f"{axes!r}; {ALLOWED[key]}")
        return axes

    return AfterValidator(check)


def _shape(found: Any) -> tuple[str, ...]:
    """Take a shape as text or as a list of its sizes."""
    if not isinstance(found, str | list | tuple):
        raise ValueError(f"{found!r}; {ALLOWED['shapes']}")
    parts = found.strip("() ").split(",") if isinstance(found, str) else [str(part) for part in found]
    shape = tuple(part.strip() for part in parts if part.strip())
    for part in shape:
        size_of(part, Sizes(1, 1, 1, 1, 1))
    return shape


def _states(found: Any) -> Any:
    """Take the axes of the states as a list, or by name."""
    return tuple(found.values() if isinstance(found, Mapping) else found) if found else ()


Axes = Annotated[str, _axes("state", "BH1", "H")]


class AdapterSection(Section):
    """The dict as the user writes it; see `Adapter`."""

    cell: CellKind | None = None
    output: OutputKind
    loss: Literal["every", "last"] | None = None
    x: Annotated[str, _axes("x", "BTD1", "T")]
    y: Annotated[str, _axes("y", "BTOD1", "")] | None = None
    shapes: dict[str, Annotated[tuple[str, ...], BeforeValidator(_shape)]] = Field(min_length=1)
    state: Annotated[tuple[Axes, ...], BeforeValidator(_states)] = Field((), max_length=2)
    gradients: Annotated[list[str], BeforeValidator(list)] | None = None
    one_hot: bool = Field(False, strict=False)
    sizes: dict[Literal["B", "T", "D", "H", "O"], PositiveInt] = Field(default_factory=dict)

    @property
    def targets(self) -> str:
        """The axes of the targets: as those of the inputs, if nothing else is said."""
        return self.x.replace("D", "O") if self.y is None else self.y

    def contradictions(self) -> Iterator[Wrong]:
        """Yield each combination that makes no sense."""
        y = self.targets
        if "T" not in y and self.loss != "last":
            yield Wrong(
                "y",
                f"y: {y!r}; without an axis T of the steps, as in TBO, the loss is on the last step only",
                "if it is, say so: 'loss': 'last'",
            )
        with_outputs = any("O" in part for shape in self.shapes.values() for part in shape)
        if self.output == "squared" and with_outputs and not set("OD") & set(y):
            yield Wrong("y", f"y: {y!r}; there are O outputs, so targets have an axis O, as in BTO")
        for key, axes in (("y", y), *(("state", axes) for axes in self.state)):
            if ("B" in axes) != ("B" in self.x):
                yield Wrong(key, f"{key}: {axes!r}; it must have B, as x has, or both have not")
        if unknown := set(self.gradients or ()) - set(self.shapes):
            yield Wrong("gradients", f"gradients: {sorted(unknown)}; {ALLOWED['gradients']}")
