"""Worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from lstmcast.sweeps.trial import Ended, Order, Progress, Word, train_trial

REPORT_EVERY = 0.5


class Workers(Protocol):
    """Processes that train trials, here or elsewhere."""

    @property
    def slots(self) -> int:
        """How many trials can run at once."""
        ...

    def submit(self, order: Order, folder: Path) -> Future[Ended]:
        """Start a trial, whose run will be in the sweep's ``folder``."""
        ...

    def reports(self) -> Iterator[Progress]:
        """Yield what the trials have reported since the last call."""
        ...

    def tell(self, number: int, word: Word) -> None:
        """Say something to a running trial."""
        ...

    def close(self) -> None:
        """End the processes."""
        ...


class LocalWorkers:
    """Processes that are used again for one trial after another, for importing torch takes seconds.

    Each is a pool of its own, so that one that is killed takes one trial with it.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        # processes that are forked from one that has imported torch, and nothing else: no threads, no state
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["lstmcast.experiment.train_run", "lstmcast.reports.plots", "torch._dynamo"]
        )
        self._lanes = [_Lane(self._context) for _ in range(slots)]

    def submit(self, order: Order, folder: Path) -> Future[Ended]:
        """Start a trial in a process that is free."""
        index = next(index for index, lane in enumerate(self._lanes) if lane.free)
        try:
            return self._lanes[index].submit(order, folder)
        except BrokenProcessPool:
            self._lanes[index].close()
            self._lanes[index] = _Lane(self._context)
            return self._lanes[index].submit(order, folder)

    def reports(self) -> Iterator[Progress]:
        """Yield what the trials have reported since the last call."""
        for lane in self._lanes:
            yield from lane.reports()

    def tell(self, number: int, word: Word) -> None:
        """Say something to a running trial."""
        for lane in self._lanes:
            if lane.number == number:
                # a process that has been killed hears nothing
                with suppress(OSError):
                    lane.connection.send((number, word))

    def close(self) -> None:
        """End the processes."""
        for lane in self._lanes:
            lane.close()


class _Lane:
    """One process, the trial in it, and a pipe for what is said meanwhile."""

    def __init__(self, context: multiprocessing.context.ForkServerContext) -> None:
        self.connection, other = context.Pipe()
        self.number = 0
        self._executor = ProcessPoolExecutor(1, context, _prepare, (other,))
        self._future: Future[Ended] | None = None

    @property
    def free(self) -> bool:
        return self._future is None or self._future.done()

    def submit(self, order: Order, folder: Path) -> Future[Ended]:
        self._future = self._executor.submit(_train, order, folder)
        self.number = order.number
        return self._future

    def reports(self) -> Iterator[Progress]:
        with suppress(EOFError, OSError):
            while self.connection.poll():
                yield self.connection.recv()

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self.connection.close()


# in the worker process: its end of the pipe
_pipe: Connection | None = None


def _prepare(connection: Connection) -> None:
    """Make a fresh worker process deaf to Ctrl-C between trials, and let it end with its parent."""
    global _pipe
    _pipe = connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _train(order: Order, folder: Path) -> Ended:
    pipe = _pipe
    assert pipe is not None

    def told() -> Word | None:
        while pipe.poll():
            number, word = pipe.recv()
            if number == order.number:
                said: Word = word
                return said
        return None

    return train_trial(order, folder, pipe.send, told, REPORT_EVERY)
