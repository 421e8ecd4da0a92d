"""Batches, and the samplers that draw them from rows, one after another without end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError


@dataclass(frozen=True)
class Batch:
    """What an engine computes a loss on.

    Attributes:
        inputs: ``(N, T, F)``.
        targets: ``(N, T, O)``.
        weights: ``(N, T)``, the weight of each step in the loss, 0 where it is masked; None: all 1.
        feedback: ``(N, T)`` of bool; where True the network reads its own prediction instead of the
            first O input features; None: nowhere.
        delay: a prediction made at step t is read at step ``t + delay`` (the horizon).
        lengths: ``(N,)``, the steps of each sequence before its padding; None: all T.
        initial_state: ``(N, S)`` with S the network's `state_size`; None: zero.
    """

    inputs: Array
    targets: Array
    weights: Array | None = None
    feedback: Array | None = None
    delay: int = 1
    initial_state: Array | None = None
    lengths: Array | None = None

    @property
    def first_fed(self) -> int:
        """The first step at which any sequence reads its own prediction; T if none does.

        Raises:
            ValueError: if a prediction is read before one has been made.
        """
        if self.feedback is None or not self.feedback.any():
            return int(self.inputs.shape[1])
        fed = int(self.feedback.any(axis=0).argmax())
        if fed < self.delay:
            raise ValueError(f"step {fed} cannot read a prediction made {self.delay} steps before it")
        return fed

    @property
    def first_counted(self) -> int:
        """The first step that has a weight in the loss."""
        return 0 if self.weights is None else int(self.weights.any(axis=0).argmax())

    def cut(self, timesteps: int | None) -> Batch:
        """Return the first ``timesteps`` steps of every sequence, as views; None: all of them."""
        if timesteps is None or timesteps >= self.inputs.shape[1]:
            return self
        return replace(
            self,
            inputs=self.inputs[:, :timesteps],
            targets=self.targets[:, :timesteps],
            weights=None if self.weights is None else self.weights[:, :timesteps],
            feedback=None if self.feedback is None else self.feedback[:, :timesteps],
            lengths=None if self.lengths is None else np.minimum(self.lengths, timesteps),
        )

    def part(self, sequences: slice) -> Batch:
        """Return some of the sequences, as views."""
        arrays: dict[str, Any] = {name: array for name, array in vars(self).items() if isinstance(array, np.ndarray)}
        return replace(self, **{name: array[sequences] for name, array in arrays.items()})

    def share(self, index: int, count: int) -> tuple[float, Batch]:
        """Return one of ``count`` shares of the sequences, after the part of the weight that it has."""
        N = len(self.inputs)
        part = self.part(slice(N * index // count, N * (index + 1) // count))
        if self.weights is None or part.weights is None:
            return len(part.inputs) / N, part
        return float(part.weights.sum() / self.weights.sum()), part


class Sampler(Protocol):
    """An endless stream of training batches that can be stopped and taken up again."""

    batches_per_epoch: int | None

    def next(self) -> Batch:
        """Draw the next batch."""
        ...

    def state(self) -> dict[str, Any]:
        """Return all that decides the batches to come, as JSON."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take up the stream where `state` was called."""
        ...


class ChangedSampler:
    """Another sampler's batches, each as ``change`` returns it."""

    def __init__(self, sampler: Sampler, change: Callable[[Batch], Batch]) -> None:
        self._sampler, self._change = sampler, change
        self.batches_per_epoch = sampler.batches_per_epoch

    def next(self) -> Batch:
        """Draw the next batch."""
        return self._change(self._sampler.next())

    def state(self) -> dict[str, Any]:
        """Return the other sampler's state."""
        return self._sampler.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the other sampler's state."""
        self._sampler.restore(state)


def windows(rows: Array, timesteps: int, horizon: int) -> tuple[Array, Array]:
    """View ``rows`` (N, L, F) as all windows of inputs and the targets ``horizon`` steps later.

    Returns:
        Two views of ``rows``, each ``(N, L - timesteps - horizon + 1, timesteps, F)``.
    """
    view = sliding_window_view(rows, timesteps + horizon, axis=1).swapaxes(2, 3)
    return view[:, :, :timesteps], view[:, :, horizon:]


def loss_weights(lengths: Array, timesteps: int, *, last_step: bool, warmup: int) -> Array:
    """Weigh the steps of sequences of the given ``lengths`` (N,), padded on the right to ``timesteps``.

    Returns:
        ``(N, timesteps)``: 1 on each step that counts: the last one of each sequence, or all but the
        first ``warmup``.
    """
    step = np.arange(timesteps)
    end = lengths[:, None]
    counted = step == end - 1 if last_step else (step >= warmup) & (step < end)
    return counted.astype(np.float64)


class Epochs:
    """The order in which ``count`` items are drawn in batches, each item once an epoch."""

    def __init__(self, count: int, size: int, *, seed: Sequence[int], shuffle: bool, drop_last: bool) -> None:
        self.batches = count // size if drop_last else -(-count // size)
        self._count, self._size, self._shuffle = count, size, shuffle and size < count
        self._random = np.random.default_rng(seed)
        self._start()

    def _start(self) -> None:
        self._position = 0
        self._before = self._random.bit_generator.state
        self._order = self._random.permutation(self._count) if self._shuffle else None

    def next(self) -> Array | slice:
        """Draw the indices of the next batch: a slice if they follow one another."""
        if self._position == self.batches:
            self._start()
        start = self._position * self._size
        stop = min(start + self._size, self._count)
        self._position += 1
        return slice(start, stop) if self._order is None else self._order[start:stop]

    def state(self) -> dict[str, Any]:
        """Return the generator's state at the start of the epoch and the position in it."""
        return {"epoch": self._before, "position": self._position}

    def restore(self, state: dict[str, Any]) -> None:
        """Draw the epoch's order again and go to the position.

        Raises:
            ValueError: if there is no such position.
        """
        if not 0 <= state["position"] <= self.batches:
            raise ValueError(f"position {state['position']} of {self.batches}")
        self._random.bit_generator.state = state["epoch"]
        self._start()
        self._position = int(state["position"])


class WindowSampler:
    """Draws windows of one length from rows, each window once an epoch."""

    def __init__(
        self,
        rows: Array,
        timesteps: int,
        horizon: int,
        *,
        batch_size: int | None,
        seed: Sequence[int],
        last_step: bool,
        warmup: int,
        shuffle: bool,
        drop_last: bool,
    ) -> None:
        """Make a sampler; ``batch_size`` None takes all windows at once.

        Raises:
            InvalidError: if the batch is larger than the number of windows, or the warm-up masks them whole.
        """
        self._inputs, self._targets = windows(rows, timesteps, horizon)
        count = self._inputs.shape[0] * self._inputs.shape[1]
        size = batch_size or count
        check_batch_size(batch_size, count, "training windows")
        check_warmup(warmup, timesteps, "a window", last_step=last_step)
        self._epochs = Epochs(count, size, seed=seed, shuffle=shuffle, drop_last=drop_last)
        self.batches_per_epoch: int | None = self._epochs.batches
        self._weights = loss_weights(np.full(size, timesteps), timesteps, last_step=last_step, warmup=warmup)
        self._horizon = horizon
        self.state, self.restore = self._epochs.state, self._epochs.restore

    @staticmethod
    def _take(view: Array, chosen: Array | slice) -> Array:
        rows, starts = view.shape[:2]
        if isinstance(chosen, slice):
            if 1 in (rows, starts):
                # one row, or one window a row: still a view
                return (view[0] if rows == 1 else view[:, 0])[chosen]
            chosen = np.arange(chosen.start, chosen.stop)
        taken: Array = view[np.divmod(chosen, starts)]
        return taken

    def next(self) -> Batch:
        """Draw the next batch; the last one of an epoch may be smaller."""
        chosen = self._epochs.next()
        inputs = self._take(self._inputs, chosen)
        targets = self._take(self._targets, chosen)
        return Batch(inputs, targets, self._weights[: len(inputs)], delay=self._horizon)


class SequenceSampler:
    """Draws whole sequences of different lengths, padded on the right and masked, each once an epoch."""

    def __init__(
        self,
        sequences: Sequence[Array],
        *,
        batch_size: int | None,
        seed: Sequence[int],
        last_step: bool,
        warmup: int,
        shuffle: bool,
        drop_last: bool,
    ) -> None:
        """Draw from sequences ``(L_n, F)``; inputs are all but the last step, targets all but the first.

        Raises:
            InvalidError: if the batch is larger than the number of sequences, or the warm-up masks the shortest.
        """
        check_batch_size(batch_size, len(sequences), "training sequences")
        check_warmup(warmup, min(map(len, sequences)) - 1, "the shortest sequence", last_step=last_step)
        size = batch_size or len(sequences)
        self._epochs = Epochs(len(sequences), size, seed=seed, shuffle=shuffle, drop_last=drop_last)
        self.batches_per_epoch: int | None = self._epochs.batches
        self._sequences, self._last_step, self._warmup = sequences, last_step, warmup
        self.state, self.restore = self._epochs.state, self._epochs.restore

    def next(self) -> Batch:
        """Draw the next batch, as wide as its longest sequence."""
        chosen = self._epochs.next()
        indices = range(chosen.start, chosen.stop) if isinstance(chosen, slice) else chosen
        padded, lengths = pad([self._sequences[index] for index in indices])
        weights = loss_weights(lengths - 1, padded.shape[1] - 1, last_step=self._last_step, warmup=self._warmup)
        return Batch(padded[:, :-1], padded[:, 1:], weights, lengths=lengths - 1)


def check_batch_size(batch_size: int | None, count: int, what: str) -> None:
    """Refuse a batch larger than the data.

    Raises:
        InvalidError: if it is.
    """
    if batch_size and batch_size > count:
        raise InvalidError(
            f"training.batch_size: {batch_size} is more than the {count} {what}",
            f"use at most {count}, or null to take all of them at once",
        )


def check_warmup(warmup: int, timesteps: int, what: str, *, last_step: bool) -> None:
    """Refuse a warm-up that leaves none of ``timesteps`` steps to be counted.

    Raises:
        InvalidError: if it does.
    """
    if warmup >= timesteps and not last_step:
        raise InvalidError(
            f"training.warmup: {warmup} masks all {timesteps} steps of {what}", f"use less than {timesteps}"
        )


def pad(sequences: Sequence[Array]) -> tuple[Array, Array]:
    """Pad sequences ``(L_n, F)`` by their first value to ``(N, max L, F)``; return that and the lengths ``(N,)``."""
    lengths = np.array([len(sequence) for sequence in sequences])
    padded = np.repeat(np.stack([sequence[:1] for sequence in sequences]), lengths.max(), axis=1)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


class SegmentSampler:
    """Draws segments with a random start and a random end, padded on the right and masked."""

    batches_per_epoch: int | None = None

    def __init__(
        self,
        rows: Array,
        horizon: int,
        minimum: int,
        maximum: int,
        *,
        batch_size: int | None,
        seed: Sequence[int],
        last_step: bool,
        warmup: int,
    ) -> None:
        """Draw segments of ``minimum`` to ``maximum`` steps (both included) from ``rows`` (N, L, F).

        Raises:
            InvalidError: if there is no batch size, or the warm-up masks the shortest segment.
        """
        if batch_size is None:
            raise InvalidError(
                "training.batch_size: null (all data at once) is not possible with random segments",
                "give a number",
            )
        check_warmup(warmup, minimum, "the shortest segment", last_step=last_step)
        self._rows, self._horizon, self._minimum, self._maximum = rows, horizon, minimum, maximum
        self._size, self._last_step, self._warmup = batch_size, last_step, warmup
        self._random = np.random.default_rng(seed)

    def next(self) -> Batch:
        """Draw the next batch, as wide as its longest segment."""
        lengths = self._random.integers(self._minimum, self._maximum + 1, self._size)
        rows = self._random.integers(0, len(self._rows), self._size)
        starts = self._random.integers(0, self._rows.shape[1] - lengths - self._horizon + 1)
        timesteps = int(lengths.max())
        step = np.arange(timesteps)
        inside = step < lengths[:, None]
        # a padded step reads the segment's first value: finite, and its weight is 0
        index = starts[:, None] + np.where(inside, step, 0)
        inputs = self._rows[rows[:, None], index]
        targets = self._rows[rows[:, None], index + self._horizon]
        weights = loss_weights(lengths, timesteps, last_step=self._last_step, warmup=self._warmup)
        return Batch(inputs, targets, weights, delay=self._horizon, lengths=lengths)

    def state(self) -> dict[str, Any]:
        """Return the generator's state."""
        return dict(self._random.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Set the generator's state."""
        self._random.bit_generator.state = state
