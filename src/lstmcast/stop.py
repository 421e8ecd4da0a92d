"""Asking a long piece of work to stop, and to save what it has."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from lstmcast.errors import ExitCode


@dataclass
class StopRequest:
    """Whether to stop, and the exit code that says why: Ctrl-C, SIGTERM, the time limit, or someone else's word."""

    deadline: float | None = None
    also: Callable[[], bool] = lambda: False
    exit_code: ExitCode | None = field(default=None, init=False)

    def __call__(self) -> bool:
        """Look at the clock, the signals so far and ``also``."""
        if self.exit_code is None and (
            (self.deadline is not None and time.monotonic() >= self.deadline) or self.also()
        ):
            self.exit_code = ExitCode.STOPPED
        return self.exit_code is not None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.STOPPED
        if self.exit_code is not None:
            sys.exit(code)  # the second time: leave at once
        self.exit_code = code

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a request for the length of the block; only a main thread hears them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
