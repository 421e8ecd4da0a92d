"""Files, read with care and replaced whole or not at all: the one place where files are written."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from lstmcast.errors import InvalidError, NotFoundError, UnwritableError

# of every JSON document that scripts read
SCHEMA_VERSION = 1


def without_waiting(name: str, flags: int) -> int:
    """Open a file that may be a pipe to which nobody writes."""
    return os.open(name, flags | os.O_NONBLOCK)


def read(path: Path, limit: int) -> bytes:
    """Read a file that may come from a stranger.

    Raises:
        NotFoundError: if there is no such file, or it cannot be read.
        InvalidError: if it is no regular file, or larger than ``limit`` bytes.
    """
    try:
        with open(path, "rb", opener=without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InvalidError(f"{path}: not a regular file")
            if status.st_size > limit:
                raise InvalidError(f"{path}: {status.st_size:,} bytes; at most {limit:,} are read")
            return file.read(status.st_size)
    except IsADirectoryError:
        raise InvalidError(f"{path}: not a regular file") from None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFoundError(f"{path}: no such file") from None
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one clear error.

    Raises:
        UnwritableError: if the block raises `OSError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be written: {error.strerror or error}") from None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Replace a file whole or not at all: the block writes beside it, then it is flushed to the disk and moved.

    Raises:
        UnwritableError: if that fails; the old file is left as it was.
    """
    with writing(path):
        special = path.exists() and not path.is_file()
        target = path.resolve()  # a link is written through
    if special:
        # a device or a pipe cannot be replaced; a folder refuses by itself
        with writing(path), path.open("wb") as stream:
            yield stream
        return
    path = target
    with writing(path):
        remove_dead_temporaries(path.parent, path.name)
        temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
        try:
            with temporary.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # says that we are alive
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder that does not exist yet, above it what is missing, and their names durable."""
    if not folder.parent.is_dir():
        with suppress(FileExistsError):
            make_folder(folder.parent)
    folder.mkdir()
    try:
        sync_folder(folder.parent)
    except OSError:
        folder.rmdir()
        raise


def remove_dead_temporaries(folder: Path, name: str = "") -> None:
    """Remove what writers of ``name``, or of any file, have left in a folder when they were killed."""
    pattern = re.compile(rf"\.{re.escape(name[:100]) or '.+'}\.[0-9a-f]{{8}}\.tmp")
    with suppress(OSError):
        for found in [entry for entry in os.listdir(folder) if pattern.fullmatch(entry)]:  # noqa: PTH208
            with suppress(OSError), (folder / found).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while the writer lives
                (folder / found).unlink()


def write(path: Path, content: bytes | str) -> None:
    """Replace a file whole or not at all.

    Raises:
        UnwritableError: if that fails; the old file is left as it was.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def to_json(document: Any, *, indent: int | None = 2) -> str:
    """Write JSON without NaN and infinities, in UTF-8."""
    return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)
