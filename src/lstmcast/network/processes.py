"""Several cores for one batch: processes forked from this one compute a share of its sequences each.

A step's matrices are too small for threads, but the sequences of a batch meet only in the gradient's sum, and those of
a rollout nowhere. Parameters and gradients lie in memory that all processes share; only a share of the batch travels.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
# and in a rollout, where each step waits for the one before: fewer series are no faster than twice as many
SERIES, ROLLOUT_NUMBERS = 16, 500_000


def cores() -> int:
    """Return how many processes there are cores for.

    Where torch or NumPy has threads of its own, or in another program's process, that is one. Only Linux tells the
    number, and forks safely.
    """
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() > 1 if torch else os.environ.get("OMP_NUM_THREADS") != "1"
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


def count_of(asked: int | None) -> int:
    """Return how many processes may share work: as many as are asked for, or as there are cores."""
    return asked or cores()


class _NoRoomError(InvalidError):
    """The system has no room for another process."""


class _Gone(Stopped):
    """Another process is gone."""


@contextmanager
def _reaching_others() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError):
        raise _Gone("the end of a process that computes a share of each batch") from None


class Processes:
    """An engine whose loss and gradient are computed by several processes, each on its share of the sequences.

    The others are forked when a batch or a rollout first needs them; they end with `close`, or with this process. The
    engine's parameters must lie in shared memory.
    """

    def __init__(self, engine: TrainingEngine, count: int | None = None, *, strict: bool = True) -> None:
        """Share work among ``count`` processes; None: as many as there are cores and work for.

        Not ``strict``, work is cut as for so many, and done by as many of them as there are cores for.

        Raises:
            InvalidError: if there can be no other process.
        """
        why_not = None
        if not hasattr(os, "sched_getaffinity"):
            why_not = "{} takes a system that forks safely: Linux"
        elif multiprocessing.current_process().daemon:
            why_not = "{}, but a cluster's worker can have no processes of its own"
        if why_not and strict and count_of(count) > 1:
            raise InvalidError(f"model.processes: {why_not.format(count)}", "leave it out")
        self._workers = count_of(count) if strict else min(count_of(count), cores())
        self.network, self.parameters = engine.network, engine.parameters
        self._engine, self._asked, self._count = engine, count, count_of(count)
        self._others: list[tuple[BaseProcess, Connection, Array]] = []

    def parts(self, batch: Batch) -> int:
        """Return among how many processes to share a batch."""
        N, T = len(batch.inputs), int(batch.inputs.shape[1])
        if self._asked is not None:
            return min(self._asked, N)
        return max(1, min(self._count, N // SEQUENCES, N * T * sum(self.network.hidden_sizes) // NUMBERS))

    def parts_of_rollout(self, N: int, steps: int) -> int:
        """Return into how many parts to cut a rollout of N series."""
        return max(1, min(self._count, N // SERIES, N * steps * sum(self.network.hidden_sizes) // ROLLOUT_NUMBERS))

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

    def map(self, task: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """Return ``task(engine, *each)`` of all arguments, in several processes where that can be."""
        workers = min(self._workers, len(arguments))
        with suppress(_NoRoomError, _Gone):
            shares = self._ask(_call_with_each, [(task, arguments[k::workers]) for k in range(workers)])
            return [shares[k % workers][k // workers] for k in range(len(arguments))]
        return _call_with_each(self._engine, task, arguments)

    def _ask(self, task: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> list[Result]:
        """Return ``task(engine, *each)`` of all arguments: of the first here, of each other in a process of its own.

        Raises:
            _NoRoomError: if the system has no room for another process.
            _Gone: if another process is gone.
        """
        count = len(arguments)
        try:
            while len(self._others) < count - 1:
                self._fork()
        except OSError as error:
            self.close()
            raise _NoRoomError(
                f"model.processes: no room for {count} processes: {error.strerror}", "try model.processes=1"
            ) from None
        channels = [channel for _, channel, _ in self._others[: count - 1]]
        try:
            with _reaching_others():
                for channel, each in zip(channels, arguments[1:], strict=True):
                    channel.send((task, each))
            results = [task(self._engine, *arguments[0])]
            with _reaching_others():
                results += [channel.recv() for channel in channels]
            for result in results:
                if isinstance(result, Exception):
                    raise result
        except BaseException:
            self.close()  # there may be answers under way that no one will ask for
            raise
        return results

    def compile(self) -> bool:
        """Let all processes be faster from now on, if they can: the others are forked anew."""
        faster = self._engine.compile()
        if faster:
            self.close()
        return faster

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


def _call_with_each(
    engine: TrainingEngine, task: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]
) -> list[Result]:
    return [task(engine, *each) for each in arguments]


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
    threading.Thread(target=_end_with, args=(channel.fileno(),), daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            task, arguments = channel.recv()
            try:
                answer = task(engine, *arguments)
                gradient[:] = engine.parameters.gradient
            except Exception as error:
                answer = error
            channel.send(answer)


def _end_with(descriptor: int) -> None:
    """End this process as soon as the other end of its channel is closed, whatever it computes."""
    poll = select.poll()
    poll.register(descriptor, 0)  # only the end of it
    poll.poll()
    os._exit(0)
