"""Asking a long piece of work to stop, and to save what it has."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from lstmcast.errors import ExitCode

# seconds within which a second signal is the first one's echo: timeout, for one, signals us and then our whole group
ECHO = 0.5


class Stopped(Exception):  # noqa: N818  (an expected event)
    """Someone asked to stop within a step."""


class StoppedAtOnce(BaseException):
    """A signal came where nothing has to be saved; no ``except Exception`` may take it for a failure."""


@dataclass
class StopRequest:
    """Whether to stop, and why: Ctrl-C, SIGTERM, SIGHUP, the time limit, or someone else's word.

    Attributes:
        exit_code: of the program, once it is to stop.
        reason: what it was stopped by, for people.
    """

    deadline: float | None = None
    also: Callable[[], bool] = lambda: False
    exit_code: ExitCode | None = field(default=None, init=False)
    reason: str = field(default="a signal to another process", init=False)
    _at_once: bool = field(default=False, init=False)
    _heard: float | None = field(default=None, init=False)

    def __call__(self) -> bool:
        """Look at the clock, the signals so far and ``also``."""
        if self.exit_code is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.exit_code, self.reason = ExitCode.STOPPED, "the time limit"
        elif self.exit_code is None and self.also():
            self.exit_code = ExitCode.STOPPED
        return self.exit_code is not None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._heard is not None and now - self._heard < ECHO:
            return
        self._heard = now
        code = ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.STOPPED
        if self.exit_code is not None and not self._at_once:
            # the second time; print() might be interrupted in the middle of itself
            os.write(2, b"stopped at once; what was last saved is kept\n")
            sys.exit(code)
        self.exit_code = code
        self.reason = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if self._at_once:
            self._at_once = False
            raise StoppedAtOnce

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Turn SIGINT, SIGTERM and SIGHUP into a request for the length of the block.

        Only a main thread hears them, and what the shell has us ignore stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Raise `StoppedAtOnce` in the block when a signal comes."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False
