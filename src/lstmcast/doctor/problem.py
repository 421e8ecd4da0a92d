"""Small random problems: what a program is asked to differentiate.

All arrays here are canonical: inputs ``(T, B, D)``, targets ``(T, B, O)``, states ``(B, H)``, weights ``(in, out)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from lstmcast.arrays import Array

CellKind: TypeAlias = Literal["lstm", "gru", "rnn"]
OutputKind: TypeAlias = Literal["squared", "softmax"]

GATES: dict[CellKind, tuple[str, ...]] = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ("h",)}


@dataclass(frozen=True)
class Sizes:
    """Samples B, steps T, inputs D, hidden units H, outputs O."""

    B: int
    T: int
    D: int
    H: int
    O: int

    def __str__(self) -> str:
        """Return the sizes by letter."""
        return f"B = {self.B}, T = {self.T}, D = {self.D}, H = {self.H}, O = {self.O}"


@dataclass(frozen=True)
class Model:
    """Which mathematics a program follows.

    Attributes:
        every: the loss is on every step, else on the last one only.
        reset_after: (GRU) the reset gate multiplies the product with the recurrent weight, not the state.
        z_keeps: (GRU) h = (1 - z) n + z h', else h = z n + (1 - z) h'.
        slip: a mistake in the forward pass; see `reference.SLIPS`.
        roles: the parameters that there are: ``Wx_i``, ``Wh_i``, ``b_i``, a second bias ``bh_i``, ``Wy``, ``by``.
    """

    cell: CellKind
    output: OutputKind
    every: bool = True
    reset_after: bool = False
    z_keeps: bool = True
    slip: str = ""
    roles: tuple[str, ...] = ()

    @property
    def gates(self) -> tuple[str, ...]:
        """Names of the gates."""
        return GATES[self.cell]


@dataclass(frozen=True)
class Problem:
    """Data and parameters of one problem.

    Attributes:
        x: inputs ``(T, B, D)``.
        y: targets ``(T, B, O)``; one-hot for softmax.
        h0: initial state ``(B, H)``.
        c0: initial cell state ``(B, H)``.
        parameters: values by role; a role that is missing counts as zero.
    """

    sizes: Sizes
    x: Array
    y: Array
    h0: Array
    c0: Array
    parameters: Mapping[str, Array] = field(default_factory=dict)


def shape_of(role: str, sizes: Sizes) -> tuple[int, ...]:
    """Return the canonical shape of a parameter: weights are ``(in, out)``."""
    kind = role.partition("_")[0]
    shapes = {
        "Wx": (sizes.D, sizes.H),
        "Wh": (sizes.H, sizes.H),
        "b": (sizes.H,),
        "bh": (sizes.H,),
        "Wy": (sizes.H, sizes.O),
        "by": (sizes.O,),
    }
    return shapes[kind]


def random_data(rng: np.random.Generator, sizes: Sizes, output: OutputKind, symbols: bool = False) -> Problem:
    """Draw a problem's data, without parameters.

    Args:
        rng: the source of all numbers.
        sizes: its sizes.
        output: ``softmax`` draws classes as targets.
        symbols: draw one-hot inputs.
    """
    B, T, D, H, O = sizes.B, sizes.T, sizes.D, sizes.H, sizes.O
    x = np.eye(D)[rng.integers(D, size=(T, B))] if symbols else rng.normal(size=(T, B, D))
    y = np.eye(O)[rng.integers(O, size=(T, B))] if output == "softmax" else rng.normal(size=(T, B, O))
    h0, c0 = rng.normal(scale=0.7, size=(2, B, H))
    return Problem(sizes, x, y, h0, c0)
