"""A layer between the program and the disk: it records every change, and fails, or kills, at the one it is told to."""

from __future__ import annotations

import errno
import io
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHANGES = {"open", "write", "fsync", "replace", "mkdir", "unlink"}


@dataclass
class Disk:
    """All changes below ``root``, one after another.

    Attributes:
        fail_at: number of the change that fails, from 0; None: none does.
        error: the errno it fails with; None: the process is killed instead.
        for_good: whether all that come after it fail as well.
        operations: what has happened: kind, path, payload.
    """

    root: Path
    fail_at: int | None = None
    error: int | None = errno.ENOSPC
    for_good: bool = False
    operations: list[tuple[str, str, Any]] = field(default_factory=list)
    failed: int = 0

    def mark(self, what: str, payload: Any = None) -> None:
        """Record what the program has acknowledged."""
        self.operations.append(("mark", what, payload))

    @property
    def changes(self) -> int:
        return sum(kind in CHANGES for kind, _, _ in self.operations)

    def before(self, kind: str, path: str, payload: Any = None, partly: Callable[[], Any] = lambda: None) -> None:
        """Record a change, or fail in its place; a write fails after half of it."""
        count = self.changes
        due = self.fail_at is not None and (count == self.fail_at or (self.for_good and count > self.fail_at))
        # a full disk can still forget files
        if due and not (kind == "unlink" and self.error == errno.ENOSPC):
            if kind == "write" and self.error != errno.EINTR:  # an interrupted call has written nothing
                partly()
            if self.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            self.failed += 1
            self.operations.append((kind, path, b"" if kind == "write" else None))
            raise OSError(self.error, os.strerror(self.error), path)
        self.operations.append((kind, path, payload))

    def inside(self, path: Any) -> str | None:
        name = Path(f"/proc/self/fd/{path}").resolve() if isinstance(path, int) else Path(path).absolute()
        return str(name) if name.is_relative_to(self.root) else None

    @contextmanager
    def installed(self) -> Iterator[Disk]:
        """Put the layer under the program for the length of the block."""
        disk, real_open = self, io.open
        real = {name: getattr(os, name) for name in ("fsync", "replace", "mkdir", "unlink")}

        class Raw(io.FileIO):
            def write(self, data: Any) -> int:
                content = bytes(data)
                disk.before("write", self.name, content, lambda: super(Raw, self).write(content[: len(content) // 2]))
                return super().write(content)

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, *rest: Any, **more: Any):
            name = disk.inside(file) if not isinstance(file, int) and set(mode) & set("wxa+") else None
            if name is None:
                return real_open(file, mode, buffering, encoding, *rest, **more)
            disk.before("open", name, mode[0])
            binary = io.BufferedWriter(Raw(name, mode.replace("b", "").replace("t", "")))
            return binary if "b" in mode else io.TextIOWrapper(binary, encoding, line_buffering=buffering == 1)

        def change(kind: str) -> Callable[..., Any]:
            def call(path: Any, *rest: Any, **more: Any) -> Any:
                name = disk.inside(path)
                if name is not None:
                    disk.before(kind, name, str(rest[0]) if kind == "replace" else None)
                return real[kind](path, *rest, **more)

            return call

        try:
            io.open = opened  # type: ignore[assignment]
            for kind in real:
                setattr(os, kind, change(kind))
            yield self
        finally:
            io.open = real_open
            for kind, function in real.items():
                setattr(os, kind, function)


@dataclass
class _File:
    written: bytes = b""
    durable: bytes = b""


def crashes(operations: list[tuple[str, str, Any]], root: Path, seed: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what a loss of power after each operation may leave: its number, and path to content (None: a folder).

    Only what fsync has promised is certain. Of the names that changed since their folder's last fsync, any first part
    is kept, or all but one; of the bytes written since the file's last fsync none, half or all are.
    """
    draw = random.Random(seed)
    names: dict[str, _File | None] = {str(root): None}
    durable = dict(names)
    pending: list[tuple[str, str, Any]] = []

    def apply(target: dict[str, _File | None], kind: str, path: str, payload: Any) -> None:
        if kind == "replace":
            target.pop(path, None)
            target[payload[0]] = payload[1]
        elif kind == "unlink":
            target.pop(path, None)
        else:
            target[path] = payload

    for number, (kind, path, payload) in enumerate(operations):
        if kind == "open":
            if path not in names:
                names[path] = _File()
                pending.append(("open", path, names[path]))
            if payload == "w":
                names[path].written = b""
        elif kind == "mkdir":
            names[path] = None
            pending.append(("mkdir", path, None))
        elif kind == "write":
            names[path].written += payload
        elif kind == "fsync":
            if names.get(path, path) is None:
                ours = [item for item in pending if Path(item[1]).parent == Path(path)]
                pending = [item for item in pending if Path(item[1]).parent != Path(path)]
                for item in ours:
                    apply(durable, *item)
            else:
                names[path].durable = names[path].written
        elif kind == "replace":
            file = names.pop(path)
            names[payload] = file
            pending.append(("replace", path, (payload, file)))
        elif kind == "unlink":
            names.pop(path, None)
            pending.append(("unlink", path, None))
        kept = [pending[:length] for length in range(len(pending) + 1)]
        kept += [pending[:k] + pending[k + 1 :] for k in range(len(pending) - 1)]
        for some in kept:
            left = dict(durable)
            for item in some:
                apply(left, *item)
            for share in (0.0, 0.5, 1.0, draw.random()):
                state = {}
                for name, file in left.items():
                    if str(Path(name).parent) not in left and name != str(root):
                        continue
                    if file is None:
                        state[name] = None
                    elif file.written.startswith(file.durable):
                        extra = file.written[len(file.durable) :]
                        state[name] = file.durable + extra[: int(share * len(extra))]
                    else:
                        state[name] = file.durable if share < 0.5 else file.written
                yield number, state


def restore(state: dict[str, Any], root: Path, folder: Path) -> None:
    """Write what a loss of power has left of ``root`` into ``folder``."""
    for name in sorted(state):
        path = folder / Path(name).relative_to(root)
        if state[name] is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.write_bytes(state[name])
