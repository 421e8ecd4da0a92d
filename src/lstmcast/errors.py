"""The errors that a user can cause, each with the exit code that scripts rely on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the command line; documented in ``docs/commands.md``."""

    DONE = 0
    INTERNAL_ERROR = 1
    USAGE = 2
    MISSING_EXTRA = 3
    NOT_FOUND = 4
    INVALID = 5
    DIVERGED = 6
    CHECK_FAILED = 7
    FAILED_TRIALS = 8
    UNWRITABLE = 9
    STOPPED = 75
    INTERRUPTED = 130


def counted(number: int, noun: str) -> str:
    """Write how many there are: 1 step, 2 steps."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the name that was probably meant, if any.

    It is one with the same last part (``learning_rate`` for ``optimizer.learning_rate``), or that is written out
    (``optimizer.lr``), or the nearest by `difflib`'s ratio, if that is above ``cutoff``.
    """
    import difflib

    names = list(known)
    above, _, last = word.rpartition(".")

    def written_out(name: str) -> bool:
        around, _, own = name.rpartition(".")
        initials = "".join(part[:1] for part in own.split("_"))
        return around.startswith(above) and (own == last or (len(last) > 1 and initials == last))

    near = difflib.get_close_matches(word, names, n=1, cutoff=cutoff)
    return min(filter(written_out, names), key=len, default=near[0] if near else None)


class LstmcastError(Exception):
    """An error with one clear message: where, what was found, what is allowed; and perhaps a hint."""

    exit_code: ExitCode = ExitCode.INTERNAL_ERROR

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def put_before(self, place: str) -> None:
        """Begin the message with the place, where the raiser did not know it."""
        self.message = f"{place}: {self.message}"
        self.args = (self.message,)


class UsageError(LstmcastError):
    """An option, argument or override makes no sense."""

    exit_code = ExitCode.USAGE


class NotFoundError(LstmcastError):
    """A run, config or file does not exist."""

    exit_code = ExitCode.NOT_FOUND


class InvalidError(LstmcastError):
    """A config, data file or checkpoint has wrong content."""

    exit_code = ExitCode.INVALID


class UnwritableError(LstmcastError):
    """Output cannot be written: disk full, read-only, no permission, already there."""

    exit_code = ExitCode.UNWRITABLE


class MissingExtraError(LstmcastError):
    """An optional extra is not installed."""

    exit_code = ExitCode.MISSING_EXTRA

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what}: needs an extra that is not installed", f"pip install 'lstmcast[{extra}]'")
