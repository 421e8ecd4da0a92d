"""Find out which part of which array is which gate's weight: the layout under which the losses agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations, product

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor.problem import Model, Problem, Sizes
from lstmcast.doctor.program.adapter import Adapter
from lstmcast.doctor.reference import forward

PROBE = Sizes(1, 1, 101, 307, 10_007)
LIMIT = 30_000
TOLERANCE = 1e-8
Parts = tuple[str, ...]


@dataclass(frozen=True)
class Kind:
    """What an array may be.

    Attributes:
        parts: its input side, in order: of ``x``, ``h``, ``1`` (a bias), ``y`` (the head's input).
        gates: blocks on its output side; 0 for the head.
        transposed: it is ``(out, in)``.
    """

    parts: Parts
    gates: int
    transposed: bool = False


@dataclass(frozen=True)
class Piece:
    """Where one parameter lies: rows ``parts[:part]`` on, gate number ``gate`` of ``gates``, in an array."""

    array: str
    parts: Parts
    part: int
    gate: int
    gates: int
    transposed: bool

    def take(self, array: Array, sizes: Sizes) -> Array:
        """Return the parameter in canonical layout, ``(in, out)`` or ``(out,)``; a view where possible."""
        widths = {"x": sizes.D, "h": sizes.H, "1": 1, "y": sizes.H}
        out = sizes.H if self.gates else sizes.O
        rows = sum(widths[part] for part in self.parts)
        matrix = array.reshape(
            (out * max(1, self.gates), rows) if self.transposed else (rows, out * max(1, self.gates))
        )
        if self.transposed:
            matrix = matrix.T
        start = sum(widths[part] for part in self.parts[: self.part])
        block = matrix[start : start + widths[self.parts[self.part]], self.gate * out : (self.gate + 1) * out]
        return block[0] if self.parts[self.part] == "1" else block


@dataclass(frozen=True)
class Layout:
    """A model, and where each of its parameters lies."""

    model: Model
    pieces: Mapping[str, Piece]
    words: tuple[str, ...] = ()

    def canonical(self, arrays: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
        """Return the parameters, or gradients, by role."""
        return {role: piece.take(arrays[piece.array], sizes) for role, piece in self.pieces.items()}

    def arrays(self, values: Mapping[str, Array], like: Mapping[str, Array], sizes: Sizes) -> dict[str, Array]:
        """Put values by role where they lie in arrays of these shapes."""
        found = {name: np.zeros_like(array) for name, array in like.items()}
        for role, piece in self.pieces.items():
            piece.take(found[piece.array], sizes)[...] = values[role]
        return found

    def roles_of(self, array: str) -> list[str]:
        """Return the roles that lie in an array."""
        return [role for role, piece in self.pieces.items() if piece.array == array]


def kinds(adapter: Adapter, name: str, gates: int) -> list[Kind]:
    """Return what an array may be, by its shape."""
    sizes = replace(PROBE, D=PROBE.D if adapter.sizes(PROBE).D > 1 else 1)
    sizes = replace(sizes, O=sizes.D if adapter.ties else adapter.sizes(PROBE).O)
    shape = adapter.shape(name, sizes)
    D, H, O = sizes.D, sizes.H, sizes.O
    long = [size for size in shape if size > 1]
    sides: list[tuple[int, int, bool]] = []
    if len(shape) == 2:
        sides = [(shape[0], shape[1], False), (shape[1], shape[0], True)]
    found: list[Kind] = []
    inputs: dict[int, list[Parts]] = {}
    for width, parts in (
        (D, ("x",)),
        (H, ("h",)),
        (D + H, ("h", "x")),
        (D + H, ("x", "h")),
        (D + H + 1, ("1", "x", "h")),
        (D + H + 1, ("1", "h", "x")),
        (D + H + 1, ("h", "x", "1")),
        (D + H + 1, ("x", "h", "1")),
    ):
        inputs.setdefault(width, []).append(parts)
    for rows, columns, transposed in sides:
        for m in range(1, gates + 1):
            if columns == m * H:
                found += [Kind(parts, m, transposed) for parts in inputs.get(rows, ())]
        if columns == O:
            found += [
                Kind(parts, 0, transposed) for width, parts in ((H, ("y",)), (H + 1, ("1", "y"))) if rows == width
            ]
    if len(shape) < 2 or len(long) < 2:
        size = long[0] if long else 1
        for m in range(1, gates + 1):
            if size == m * H:
                found.append(Kind(("1",), m))
        if size == O:
            found.append(Kind(("1",), 0))
    return found


def layouts(adapter: Adapter, slip: str = "") -> Iterator[Layout]:
    """Yield every layout that goes with the shapes, the likelier ones first."""
    for cell in adapter.cells:
        model = Model(cell, adapter.output, slip=slip)
        options = {name: kinds(adapter, name, len(model.gates)) for name in adapter.shapes}
        if not all(options.values()):
            continue
        for chosen in product(*options.values()):
            yield from _assigned(model, adapter, dict(zip(options, chosen, strict=True)))


def _assigned(model: Model, adapter: Adapter, chosen: Mapping[str, Kind]) -> Iterator[Layout]:
    G = len(model.gates)
    # squares do not show how they lie: treat all of one kind alike
    for parts in (("h",), ("y",), ("x",)):
        if len({kind.transposed for kind in chosen.values() if kind.parts == parts}) > 1:
            return
    slots: dict[str, list[tuple[str, int, int]]] = {"x": [], "h": [], "1": []}
    head: dict[str, list[Piece]] = {"y": [], "1": []}
    for name in _aligned(chosen):
        kind = chosen[name]
        for index, part in enumerate(kind.parts):
            if kind.gates:
                slots[part] += [(name, index, gate) for gate in range(kind.gates)]
            else:
                head[part].append(Piece(name, kind.parts, index, 0, 0, kind.transposed))
    biases = len(slots["1"]) // G
    if (len(slots["x"]), len(slots["h"]), len(head["y"])) != (G, G, 1) or len(head["1"]) > 1:
        return
    if len(slots["1"]) != biases * G or biases > 2:
        return
    for order in permutations(model.gates):
        pieces: dict[str, Piece] = {}
        for part, prefixes in (("x", ["Wx"]), ("h", ["Wh"]), ("1", ["b", "bh"][:biases])):
            for number, (name, index, gate) in enumerate(slots[part]):
                kind = chosen[name]
                role = f"{prefixes[number // G]}_{order[number % G]}"
                pieces[role] = Piece(name, kind.parts, index, gate, kind.gates, kind.transposed)
        pieces["Wy"] = head["y"][0]
        if head["1"]:
            pieces["by"] = head["1"][0]
        variants = [model]
        if model.cell == "gru":
            variants = [replace(model, reset_after=a, z_keeps=z) for a in (False, True) for z in (True, False)]
        for variant in variants:
            for every in (True, False) if adapter.every is None else (adapter.every,):
                yield Layout(replace(variant, every=every, roles=tuple(pieces)), pieces)


def _aligned(chosen: Mapping[str, Kind]) -> list[str]:
    """Order the arrays so that those of one gate have the same place in each kind, going by their names."""
    groups: dict[tuple[Parts, int], list[str]] = {}
    for name, kind in chosen.items():
        groups.setdefault((kind.parts, kind.gates), []).append(name)
    order: list[str] = []
    leader: list[str] | None = None
    for (_, gates), names in groups.items():
        if gates and len(names) > 1:
            tokens = _tokens(names)
            if leader is None:
                leader = tokens
            elif sorted(leader) == sorted(tokens):
                names = [names[tokens.index(token)] for token in leader]
        order += names
    return order


def _tokens(names: Sequence[str]) -> list[str]:
    """Return what distinguishes names: without their common beginning and end."""
    start = end = 0
    shortest = min(map(len, names))
    while start < shortest and len({name[start] for name in names}) == 1:
        start += 1
    while end < shortest - start and len({name[-1 - end] for name in names}) == 1:
        end += 1
    return [name[start : len(name) - end] for name in names]


def find(
    adapter: Adapter,
    problems: Sequence[Problem],
    arrays: Sequence[Mapping[str, Array]],
    losses: Sequence[float],
    slip: str = "",
    tolerance: float = TOLERANCE,
) -> Layout | None:
    """Return the layout under which the program's losses are the reference's, up to one constant.

    Args:
        adapter: what the user says.
        problems: at least three of the same sizes, without parameters.
        arrays: the program's parameters for each.
        losses: its losses.
        slip: a mistake that its forward pass may make.
        tolerance: how far that constant may vary.
    """
    for layout in islice(layouts(adapter, slip), LIMIT):
        ratios: list[float] = []
        for problem, own, loss in zip(problems, arrays, losses, strict=True):
            ratios.append(ratio(layout, problem, own, loss))
            if not np.isfinite(ratios[-1]) or abs(ratios[-1] - ratios[0]) > tolerance * abs(ratios[0]):
                break
        else:
            if ratios[0] > 0:
                return layout
    return None


def ratio(layout: Layout, problem: Problem, arrays: Mapping[str, Array], loss: float) -> float:
    """Return the program's loss over the reference's."""
    posed = replace(problem, parameters=layout.canonical(arrays, problem.sizes))
    with np.errstate(all="ignore"):
        reference = float(forward(layout.model, posed).loss)
    return loss / reference if reference else float("nan")
