"""Several cores for one batch: processes forked from this one compute a share of its sequences each.

A step's matrices are too small for threads, but the sequences of a batch meet only in the gradient's sum. Parameters
and gradients lie in memory that all processes share; only a share of the batch travels.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection

import torch

from lstmcast.arrays import Array, shared_zeros
from lstmcast.data.batches import Batch, Sampler
from lstmcast.errors import InvalidError
from lstmcast.network.engine import Engine
from lstmcast.training.trainer import Stopped

# what a process must have to do, or the journey takes longer than it saves: sequences, and numbers of state
# (steps x sequences x hidden units)
SEQUENCES, NUMBERS = 8, 20_000


def cores() -> int:
    """Return how many processes, each with torch's number of threads, there are cores for.

    A worker of a sweep has one, for the others are its siblings'. Only Linux tells the number, and forks safely.
    """
    if multiprocessing.parent_process() is not None or not hasattr(os, "sched_getaffinity"):
        return 1
    return max(1, len(os.sched_getaffinity(0)) // torch.get_num_threads())


def shared(engine: Engine, sampler: Sampler, processes: int | None) -> Engine:
    """Return an engine that shares the sampler's batches among processes, or ``engine`` itself if none helps.

    Args:
        engine: who computes; no other process has to know that there are several.
        sampler: who draws the batches; it is left as it is.
        processes: how many; None: as many as there are cores, where the batch is large enough for them.

    Raises:
        InvalidError: if the system cannot fork.
    """
    state = sampler.state()
    count = _parts(engine, sampler.next(), processes)
    sampler.restore(state)
    if count > 1 and not hasattr(os, "sched_getaffinity"):
        raise InvalidError(f"model.processes: {processes} takes a system that forks safely: Linux", "leave it out")
    return Processes(engine, count, processes) if count > 1 else engine


def _parts(engine: Engine, batch: Batch, processes: int | None) -> int:
    """Return among how many processes to share a batch."""
    N, T = len(batch.inputs), int(batch.inputs.shape[1])
    if processes is not None:
        return min(processes, N)
    return max(1, min(cores(), N // SEQUENCES, N * T * sum(engine.network.hidden_sizes) // NUMBERS))


def loss_and_gradient_of(engine: Engine, share: float, part: Batch) -> float:
    """Return the share of the loss; overwrite ``parameters.gradient`` with its gradient.

    A loss is a mean weighted over the steps: parts with losses L_p and weights W_p make L = Σ W_p L_p / Σ W_p.
    """
    if not share:
        engine.parameters.gradient[:] = 0
        return 0.0
    loss = share * engine.loss_and_gradient(part)
    engine.parameters.gradient *= share
    return loss


class Processes:
    """An engine whose loss and gradient are computed by several processes, each on its share of the sequences.

    The others end with this one, or when it is no longer used.

    Attributes:
        count: how many there are.
    """

    def __init__(self, engine: Engine, count: int, wanted: int | None) -> None:
        """Fork ``count`` - 1 processes; ``wanted`` as in `shared`."""
        self.network, self.parameters = engine.network, engine.parameters
        self.input_gradients, self.predict, self.stream = engine.input_gradients, engine.predict, engine.stream
        self.count = count
        self._engine, self._wanted = engine, wanted
        values = engine.parameters.values
        self._others: list[tuple[Connection, Array]] = []
        context = multiprocessing.get_context("fork")
        for _ in range(count - 1):
            gradient = shared_zeros(values.shape, values.dtype)
            ours, theirs = context.Pipe()
            context.Process(target=_serve, args=(engine, theirs, gradient), daemon=True).start()
            theirs.close()
            self._others.append((ours, gradient))

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss of the whole batch; overwrite ``parameters.gradient`` with its gradient.

        Raises:
            Stopped: if another process is gone.
        """
        count = min(self.count, _parts(self._engine, batch, self._wanted))
        others, gradient = self._others[: count - 1], self.parameters.gradient
        try:
            for index, (other, _) in enumerate(others, 1):
                other.send(batch.share(index, count))
            loss = loss_and_gradient_of(self._engine, *batch.share(0, count))
            for other, their_gradient in others:
                loss += other.recv()
                gradient += their_gradient
        except (EOFError, OSError):
            raise Stopped("the end of a process that computes a share of each batch") from None
        return loss


def _serve(engine: Engine, channel: Connection, gradient: Array) -> None:
    """Compute shares, their gradients to ``gradient``, until the other end is closed."""
    # OpenMP's threads do not survive a fork, though it waits for them
    torch.set_num_threads(1)
    # Ctrl-C goes to us too: the first process decides when to end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # locks and pipes of the first process must not stay open because of us
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    with suppress(EOFError, OSError):
        while True:
            loss = loss_and_gradient_of(engine, *channel.recv())
            gradient[:] = engine.parameters.gradient
            channel.send(loss)
