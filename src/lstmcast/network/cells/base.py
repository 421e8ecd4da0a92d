"""What a cell is to the engine: element-wise mathematics on pre-activations ``a = W [x; h'; 1]``.

The products with W, forward and backward, are the same for every cell and belong to the engine.
All arrays are ``(rows, B)``, features before batch, of any dtype, complex included.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lstmcast.arrays import Array


class Cell(Protocol):
    """One kind of recurrent cell.

    Attributes:
        torch_name: the cell is ``torch.nn.<torch_name>Cell``, its fused stack ``torch.nn.<torch_name>``.
        gates: blocks of H rows in torch's weights.
        rows: blocks of H rows in the packed weight W, and so in ``a``.
        gate_names: name of each block of rows in ``a`` after `forward`, as far as they are worth showing.
        states: 2 if the cell has a state c beside h, else 1.
    """

    torch_name: str
    gates: int
    rows: int
    gate_names: tuple[str, ...]
    states: int

    def pack(self, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
        """Return W, ``(rows H, D + H + 1)``, from torch's parameters."""
        ...

    def unpack(self, dW: Array, dw_ih: Array, dw_hh: Array, db_ih: Array, db_hh: Array) -> None:
        """Write the parameters' gradients, given W's: the transpose of `pack`."""
        ...

    def forward(self, a: Array, h_prev: Array, c_prev: Array, h: Array, c: Array, tanh_c: Array) -> None:
        """Write h, c and tanh_c, and turn ``a`` into what `backward` needs. Without a c, those are unused."""
        ...

    def backward(self, a: Array, h_prev: Array, c_prev: Array, tanh_c: Array, dh: Array, dc: Array) -> None:
        """Turn ``a`` into da, and dh, dc into what reaches h', c' other than through ``a``."""
        ...


class JointWeights:
    """The layout of a cell whose gates each need only the sum of the two products."""

    def pack(self, w_ih: Array, w_hh: Array, b_ih: Array, b_hh: Array) -> Array:
        """(0) a = W [x; h'; 1]."""
        return np.concatenate([w_ih, w_hh, (b_ih + b_hh)[:, None]], axis=1)

    def unpack(self, dW: Array, dw_ih: Array, dw_hh: Array, db_ih: Array, db_hh: Array) -> None:
        """(0') dW = da [x; h'; 1]ᵀ: a bias's column is the sum over the batch."""
        D = dw_ih.shape[1]
        dw_ih[...] = dW[:, :D]
        dw_hh[...] = dW[:, D:-1]
        db_ih[...] = db_hh[...] = dW[:, -1]
