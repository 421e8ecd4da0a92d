"""Reading a stranger's text file, and showing pieces of it in messages."""

from __future__ import annotations

import os
from pathlib import Path

from lstmcast.errors import InvalidError
from lstmcast.files import read


def status(path: Path) -> os.stat_result | None:
    """Look at a file; None if there is none, or the system takes no such name."""
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def read_text(path: Path, limit: int) -> str:
    r"""Read a file in UTF-8, with or without a byte order mark; every line ends with ``\n``.

    Raises:
        NotFoundError: if there is no such file, or it cannot be read.
        InvalidError: if it is no regular file, larger than ``limit`` bytes, or no UTF-8 text.
    """
    content = read(path, limit)
    try:
        # not utf-8-sig, whose errors do not count the mark's bytes
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def shorten(text: str, limit: int = 60) -> str:
    """Cut text that a message shows."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
