"""What a cell is to the engine: element-wise mathematics on pre-activations ``a = W [x; 1; h']``.

The products with W, forward and backward, are the same for every cell and belong to the engine.
All arrays are ``(rows, B)``, features before batch, of any dtype, complex included.

The backward pass of a cell has two parts. Its local derivatives, such as ∂c/∂a, need nothing that comes after
their step: `linearize` finds them for many steps at once. What is left for `backward` is the chain rule, step by
step: a few products of those with dL/dh and dL/dc.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from lstmcast.arrays import Array

# views of a step's arrays, in an order that only the cell knows: they are made once, then used in every pass
Views = tuple[Array, ...]
# given a name and a value of torch's, returns the value to go on with
Keep = Callable[[str, Any], Any]
# given parameters by name, inputs (N, D), the states before the step (N, H) and who keeps values, returns the states
# after it: all tensors of torch
TorchStep = Callable[[Mapping[str, Any], Any, tuple[Any, ...], Keep], tuple[Any, ...]]


@functools.cache
def one_and_half(dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Return 1 and 1/2 as arrays, which NumPy takes in half the time of Python's numbers."""
    return np.array(1, dtype), np.array(0.5, dtype)


class Cell(Protocol):
    """One kind of recurrent cell.

    A step's memory m is ``(blocks H, B)``; the product with W fills its first ``rows`` blocks, if it does not go to an
    array apart. Its local derivatives d have the same blocks.

    Attributes:
        torch_name: the cell is ``torch.nn.<torch_name>Cell``, its fused stack ``torch.nn.<torch_name>``. None: torch
            has no such cell, and its engine runs `torch_step`.
        torch_faster: the hidden sizes from which torch's fused stack is the faster engine: in general, and in float32
            with at most 16 sequences (`make bench`). None: nowhere.
        gate_names: names of the gates, in the order of their blocks of H rows in the weights.
        gate_blocks: the block of m in which each of them lies.
        elementwise: names of the parameters ``(H,)`` that multiply states element by element.
        states: 2 if the cell has a state c beside h, else 1.
        rows: blocks of H rows in the packed weight W.
        sigmoids: the first so many of them come to `forward` halved, a/2.
        blocks: blocks of H rows in m.
        carry: the block of m with c', and of d with what `backward` passes on to the step before other than
            through a: dL/dc', or a part of dL/dh' if there is no c. None if there is neither.
        apart: whether the product with W goes to an array of its own, the same for all steps, and not to m.
        compiles: ``compiled.py`` has its passes as loops.
    """

    torch_name: str | None
    torch_faster: tuple[int | None, int | None]
    gate_names: tuple[str, ...]
    gate_blocks: tuple[int, ...]
    elementwise: tuple[str, ...]
    states: int
    rows: int
    sigmoids: int
    blocks: int
    carry: int | None
    apart: bool
    compiles: bool

    @property
    def torch_step(self) -> TorchStep | None:
        """One step in torch's operations, which autograd differentiates; None: the NumPy engine alone runs the cell.

        It hands pre-activations ("a_" and the gate's name), gates, c and h to ``keep`` by name, and goes on with what
        that returns.
        """

    def shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the name and the shape of each parameter, for inputs of size D and H units."""
        ...

    def pack(self, parameters: Mapping[str, Array]) -> Array:
        """Return W, ``(rows H, D + 1 + H)``."""
        ...

    def unpack(self, dW: Array, gradients: Mapping[str, Array]) -> None:
        """Write the parameters' gradients, given W's: the transpose of `pack`."""
        ...

    def forward_views(
        self, a: Array, m: Array, m_next: Array, h_prev: Array, h: Array, scratch: Array, e: Array
    ) -> Views:
        """Return what `forward` works on.

        Args:
            a: what the product with W fills, ``(rows H, B)``: blocks of m, or the array apart.
            m: the memory of this step.
            m_next: that of the next.
            h_prev: the state before the step.
            h: the state after it.
            scratch: ``(3H, B)`` to use.
            e: the elementwise parameters, one below the other, ``(… H, 1)``.
        """
        ...

    def forward(self, views: Views) -> None:
        """Compute h, and c in the next step's memory, from the pre-activations."""
        ...

    def linearize(self, m: Array, h_prev: Array, h: Array, out: Array, scratch: Array, e: Array) -> None:
        """Write the local derivatives d to ``out``, many steps at once: arrays ``(T, rows, B)``, scratch of 3H rows."""
        ...

    def backward_views(self, m: Array, d: Array, d_next: Array, dh: Array, dc: Array) -> Views:
        """Return what `backward` works on: m of all steps, d of a step and of the next; ``dc`` receives dL/dc."""
        ...

    def backward(self, views: Views, t: int) -> None:
        """Turn d of step t into da and the carry; dh comes without the carry of the step after, and leaves with it."""
        ...

    def elementwise_gradient(self, m: Array, d: Array) -> Array:
        """Return the gradient of the elementwise parameters, one after the other, ``(… H,)``.

        Args:
            m: the memory of some steps and of the one after them, ``(T + 1, blocks H, B)``.
            d: what `backward` has left of the steps, ``(T, blocks H, B)``.
        """
        ...


class WeightsAsInTorch:
    """Parameters named and laid out as in ``torch.nn``'s cells: a block of H rows for each gate.

    Attributes:
        gate_count: how many gates there are.
    """

    gate_count: int
    elementwise: tuple[str, ...] = ()

    def shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the name and the shape of each parameter, for inputs of size D and H units."""
        rows = self.gate_count * H
        weights = {"weight_ih": (rows, D), "weight_hh": (rows, H), "bias_ih": (rows,), "bias_hh": (rows,)}
        return weights | dict.fromkeys(self.elementwise, (H,))

    def elementwise_gradient(self, m: Array, d: Array) -> Array:
        """Return nothing: there are no elementwise parameters."""
        return np.zeros(0)


class JointWeights(WeightsAsInTorch):
    """The layout of a cell whose gates each need only the sum of the two products.

    Attributes:
        order: the gate, in torch's order, of each block of W.
    """

    order: tuple[int, ...]

    def pack(self, parameters: Mapping[str, Array]) -> Array:
        """(0) a = W [x; 1; h']."""
        w_ih, w_hh = parameters["weight_ih"], parameters["weight_hh"]
        bias = parameters["bias_ih"] + parameters["bias_hh"]
        W = np.concatenate([w_ih, bias[:, None], w_hh], axis=1)
        return W.reshape(len(self.order), -1, W.shape[1])[list(self.order)].reshape(W.shape)

    def unpack(self, dW: Array, gradients: Mapping[str, Array]) -> None:
        """(0') dW = da [x; 1; h']ᵀ: a bias's column is the sum over the batch."""
        D, H = gradients["weight_ih"].shape[1], gradients["weight_hh"].shape[1]
        for block, gate in enumerate(self.order):
            ours, theirs = slice(block * H, (block + 1) * H), slice(gate * H, (gate + 1) * H)
            gradients["weight_ih"][theirs] = dW[ours, :D]
            gradients["bias_ih"][theirs] = gradients["bias_hh"][theirs] = dW[ours, D]
            gradients["weight_hh"][theirs] = dW[ours, D + 1 :]


class CandidateApart(WeightsAsInTorch):
    """The layout of a cell whose last gate, the candidate, needs its two products apart: u of x, and v of h'.

    W has the blocks of the other gates, then u and v.
    """

    def pack(self, parameters: Mapping[str, Array]) -> Array:
        """(0) a = W [x; 1; h'], the rows of u blind to h', the rows of v blind to x."""
        w_ih, w_hh, b_ih, b_hh = (parameters[name] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        (rows, D), H = w_ih.shape, w_hh.shape[1]
        joint = rows - H
        W = np.zeros((rows + H, D + 1 + H), w_ih.dtype)
        W[:rows, :D] = w_ih
        W[:joint, D + 1 :] = w_hh[:joint]
        W[rows:, D + 1 :] = w_hh[joint:]
        W[:rows, D] = b_ih
        W[:joint, D] += b_hh[:joint]
        W[rows:, D] = b_hh[joint:]
        return W

    def unpack(self, dW: Array, gradients: Mapping[str, Array]) -> None:
        """(0') dW = da [x; 1; h']ᵀ; the blind blocks are dropped."""
        (rows, D), H = gradients["weight_ih"].shape, gradients["weight_hh"].shape[1]
        joint = rows - H
        gradients["weight_ih"][...] = dW[:rows, :D]
        gradients["weight_hh"][:joint] = dW[:joint, D + 1 :]
        gradients["weight_hh"][joint:] = dW[rows:, D + 1 :]
        gradients["bias_ih"][...] = dW[:rows, D]
        gradients["bias_hh"][:joint] = dW[:joint, D]
        gradients["bias_hh"][joint:] = dW[rows:, D]
