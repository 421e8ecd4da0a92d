"""Several cores for one batch: processes forked from this one compute a share of its sequences each.

A step's matrices are too small for threads, but the sequences of a batch meet only in the gradient's sum, and those of
a rollout nowhere. Parameters and gradients lie in memory that all processes share; only a share of the batch travels.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import numpy as np

from lstmcast.arrays import Array, shared_zeros
from lstmcast.data.batches import Batch
from lstmcast.errors import InvalidError
from lstmcast.network.engine import TrainingEngine
from lstmcast.stop import Stopped

Result = TypeVar("Result")
# what a process must have to do, or the journey takes longer than it saves: sequences, and numbers of state
# (steps x sequences x hidden units)
SEQUENCES, NUMBERS = 8, 20_000


def cores() -> int:
    """Return how many processes there are cores for.

    Where torch has threads of its own, or in another program's process, that is one. Only Linux tells the number, and
    forks safely.
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() > 1 if torch else os.environ.get("OMP_NUM_THREADS", "1") != "1"
    alone = threads or multiprocessing.parent_process() is not None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") and not alone else 1


def loss_and_gradient_of(engine: TrainingEngine, share: float, part: Batch) -> float:
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

    The others are forked when a batch first needs them; they end with `close`, or with this process. The engine's
    parameters must lie in shared memory.
    """

    def __init__(self, engine: TrainingEngine, count: int | None = None) -> None:
        """Share batches among ``count`` processes; None: as many as there are cores and work for.

        Raises:
            InvalidError: if there can be no other process.
        """
        if count is not None and count > 1 and not hasattr(os, "sched_getaffinity"):
            raise InvalidError(f"model.processes: {count} takes a system that forks safely: Linux", "leave it out")
        if count is not None and count > 1 and multiprocessing.current_process().daemon:
            raise InvalidError(
                f"model.processes: {count}, but a cluster's worker can have no processes of its own", "leave it out"
            )
        self.network, self.parameters = engine.network, engine.parameters
        self._engine, self._count, self._cores = engine, count, cores()
        self._others: list[tuple[BaseProcess, Connection, Array]] = []

    def parts(self, batch: Batch) -> int:
        """Return among how many processes to share a batch."""
        N, T = len(batch.inputs), int(batch.inputs.shape[1])
        if self._count is not None:
            return min(self._count, N)
        return max(1, min(self._cores, N // SEQUENCES, N * T * sum(self.network.hidden_sizes) // NUMBERS))

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss of the whole batch; overwrite ``parameters.gradient`` with its gradient.

        Raises:
            InvalidError: if the system has no room for another process.
            Stopped: if another process is gone.
        """
        count, gradient = self.parts(batch), self.parameters.gradient
        if count == 1:
            return self._engine.loss_and_gradient(batch)
        losses = self._ask(loss_and_gradient_of, [batch.share(index, count) for index in range(count)])
        with np.errstate(over="ignore", invalid="ignore"):  # the training loop looks at the loss
            for _, _, their_gradient in self._others[: count - 1]:
                gradient += their_gradient
        return sum(losses)

    @property
    def count(self) -> int:
        """How many there may be, this one included."""
        return self._count or self._cores

    def map(self, task: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """Return ``task(engine, *each)`` of all arguments, each computed by another process."""
        try:
            return self._ask(task, arguments)
        except (InvalidError, Stopped):  # there is no room for another, or it is gone
            return [task(self._engine, *each) for each in arguments]

    def _ask(self, task: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """Return ``task(engine, *each)`` of all arguments: of the first here, of each other in a process of its own."""
        count = len(arguments)
        try:
            while len(self._others) < count - 1:
                self._fork()
        except OSError as error:
            self.close()
            raise InvalidError(
                f"model.processes: no room for {count} processes: {error.strerror}", "try model.processes=1"
            ) from None
        channels = [channel for _, channel, _ in self._others[: count - 1]]
        try:
            for channel, each in zip(channels, arguments[1:], strict=True):
                channel.send((task, each))
            results = [task(self._engine, *arguments[0])]
            for channel in channels:
                answer = channel.recv()
                if isinstance(answer, Exception):
                    raise answer
                results.append(answer)
        except (EOFError, ConnectionError):
            self.close()
            raise Stopped("the end of a process that computes a share of each batch") from None
        except BaseException:
            self.close()  # there may be answers under way that no one will ask for
            raise
        return results

    def compile(self) -> None:
        """Let all processes be faster from now on: the others are forked anew."""
        self._engine.compile()
        self.close()

    def _fork(self) -> None:
        context = multiprocessing.get_context("fork")
        gradient = shared_zeros(self.parameters.values.shape, self.parameters.values.dtype)
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(self._engine, theirs, gradient), daemon=True)
        with warnings.catch_warnings():
            # other threads draw a progress bar, or wait; none holds anything that the new process needs
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        self._others.append((process, ours, gradient))

    def close(self) -> None:
        """End the other processes; the next batch forks new ones."""
        for process, channel, _ in self._others:
            channel.close()
            process.terminate()
            process.join()
            process.close()
        self._others.clear()


def _serve(engine: TrainingEngine, channel: Connection, gradient: Array) -> None:
    """Compute what is asked for, the gradient to ``gradient``, until the other end is closed."""
    if torch := sys.modules.get("torch"):
        # OpenMP's threads do not survive a fork, though it waits for them
        torch.set_num_threads(1)
    # Ctrl-C and a closed terminal are everybody's: the first process decides when to end
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # locks and pipes of the first process must not stay open because of us
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
    with suppress(EOFError, OSError):
        while True:
            task, arguments = channel.recv()
            try:
                answer = task(engine, *arguments)
                gradient[:] = engine.parameters.gradient
            except Exception as error:
                answer = error
            channel.send(answer)
