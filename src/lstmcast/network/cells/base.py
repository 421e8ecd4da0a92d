"""What a cell is to the engine: element-wise mathematics on pre-activations ``a = W [x; 1; h']``.

The products with W, forward and backward, are the same for every cell and belong to the engine.
All arrays are ``(rows, B)``, features before batch, of any dtype, complex included.

The backward pass of a cell has two parts. Its local derivatives, such as ∂c/∂a, need nothing that comes after
their step: `linearize` finds them for many steps at once. What is left for `backward` is the chain rule, step by
step: a few products of those with dL/dh and dL/dc.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np

from lstmcast.arrays import Array

# views of a step's arrays, in an order that only the cell knows: they are made once, then used in every pass
Views = tuple[Array, ...]


@functools.cache
def one_and_half(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return 1 and 1/2 as arrays, which NumPy takes in half the time of Python's numbers."""
    return np.array(1, dtype), np.array(0.5, dtype)


class Cell(Protocol):
    """One kind of recurrent cell.

    A step's memory m is ``(blocks H, B)``; the product with W fills its first ``rows`` blocks, if it does not go to an
    array apart. Its local derivatives d have the same blocks.

    Attributes:
        torch_name: the cell is ``torch.nn.<torch_name>Cell``, its fused stack ``torch.nn.<torch_name>``.
        gates: blocks of H rows in torch's weights.
        gate_names: names of the gates, in torch's order.
        gate_blocks: the block of m in which each of them lies.
        states: 2 if the cell has a state c beside h, else 1.
        rows: blocks of H rows in the packed weight W.
        sigmoids: the first so many of them come to `forward` halved, a/2.
        blocks: blocks of H rows in m.
        carry: the block of m with c', and of d with what `backward` passes on to the step before other than
            through a: dL/dc', or a part of dL/dh' if there is no c. None if there is neither.
        apart: whether the product with W goes to an array of its own, the same for all steps, and not to m.
        compiles: ``compiled.py`` has its passes as loops.
    """

    torch_name: str
    gates: int
    gate_names: tuple[str, ...]
    gate_blocks: tuple[int, ...]
    states: int
    rows: int
    sigmoids: int
    blocks: int
    carry: int | None
    apart: bool
    compiles: bool

    def pack(self, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
        """Return W, ``(rows H, D + 1 + H)``, from torch's parameters."""
        ...

    def unpack(self, dW: Array, dw_ih: Array, dw_hh: Array, db_ih: Array, db_hh: Array) -> None:
        """Write the parameters' gradients, given W's: the transpose of `pack`."""
        ...

    def forward_views(self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array) -> Views:
        """Return what `forward` works on.

        Args:
            a: what the product with W fills, ``(rows H, B)``: blocks of m, or the array apart.
            m: the memory of this step.
            m_next: that of the next.
            h_prev: the state before the step.
            h: the state after it.
            scratch: ``(3H, B)`` to use.
        """
        ...

    def forward(self, views: Views) -> None:
        """Compute h, and c in the next step's memory, from the pre-activations."""
        ...

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array) -> None:
        """Write the local derivatives d to ``out``, many steps at once: arrays ``(T, rows, B)``, scratch of 3H rows."""
        ...

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Return what `backward` works on: m of all steps, d of a step and of the next; ``dc`` receives dL/dc."""
        ...

    def backward(self, views: Views, t: int) -> None:
        """Turn d of step t into da and the carry; dh comes without the carry of the step after, and leaves with it."""
        ...


class JointWeights:
    """The layout of a cell whose gates each need only the sum of the two products.

    Attributes:
        order: the gate, in torch's order, of each block of W.
    """

    order: tuple[int, ...]

    def pack(self, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
        """(0) a = W [x; 1; h']."""
        W = np.concatenate([w_ih, (b_ih + b_hh)[:, None], w_hh], axis=1)
        return W.reshape(len(self.order), -1, W.shape[1])[list(self.order)].reshape(W.shape)

    def unpack(self, dW: Array, dw_ih: Array, dw_hh: Array, db_ih: Array, db_hh: Array) -> None:
        """(0') dW = da [x; 1; h']ᵀ: a bias's column is the sum over the batch."""
        H, D = dw_hh.shape[1], dw_ih.shape[1]
        for block, gate in enumerate(self.order):
            ours, theirs = slice(block * H, (block + 1) * H), slice(gate * H, (gate + 1) * H)
            dw_ih[theirs] = dW[ours, :D]
            db_ih[theirs] = db_hh[theirs] = dW[ours, D]
            dw_hh[theirs] = dW[ours, D + 1 :]
