"""The errors that a user can cause, each with the exit code that scripts rely on."""

from __future__ import annotations

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


class LstmcastError(Exception):
    """An error with one clear message: where, what was found, what is allowed; and perhaps a hint."""

    exit_code: ExitCode = ExitCode.INTERNAL_ERROR

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
