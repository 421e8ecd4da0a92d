"""Checkpoints: named arrays and JSON in one safetensors file; nothing in it can run code.

The file's SHA-256 stands in its own metadata, before the JSON, and is that of all bytes but its own. Any reader of
safetensors opens the file; this one notices each changed, missing or added bit first, and parses nothing before.

Source of the format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.files import read, write

FORMAT = "lstmcast-checkpoint-2"
# the file's beginning: the header's length in 8 bytes, then this, then the digest
OPENING = b'{"__metadata__":{"' + FORMAT.encode() + b'":"'
DIGEST = slice(8 + len(OPENING), 8 + len(OPENING) + 64)
MAX_HEADER = 2**20


@dataclass
class Checkpoint:
    """Arrays by name, and whatever else JSON can say."""

    arrays: dict[str, Array]
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path, previous: Path | None = None) -> None:
        """Write the file, whole or not at all; what it replaces is kept as ``previous``."""
        # one key only: the format's library writes several in random order
        metadata = {FORMAT: "0" * 64 + json.dumps(self.facts)}
        content = bytearray(
            save_arrays({name: np.asarray(array, order="C") for name, array in self.arrays.items()}, metadata)
        )
        content[DIGEST] = _digest(content)
        if previous is not None:
            # a damaged one is not worth a good one's place
            with suppress(NotFoundError, InvalidError):
                write(previous, _verified(path, sys.maxsize))
        write(path, bytes(content))

    @classmethod
    def load(cls, path: Path, limit: int) -> Checkpoint:
        """Read a file whose arrays have ``limit`` bytes at most.

        Raises:
            NotFoundError: if there is none.
            InvalidError: if it is not such a file, or any bit of it has changed.
        """
        content = _verified(path, 8 + MAX_HEADER + limit)
        length = int.from_bytes(content[:8], "little")
        if length > MAX_HEADER:
            raise InvalidError(f"{path}: a header of {length:,} bytes; at most {MAX_HEADER:,} are read")
        try:
            arrays = load_arrays(content)
            facts = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][FORMAT][64:])
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidError(f"{path}: not a checkpoint of this program: {error}") from None
        if not isinstance(facts, dict):
            raise InvalidError(f"{path}: not a checkpoint of this program: its facts are no mapping")
        for name, array in arrays.items():
            if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
                raise InvalidError(f"{path}: {name[:60]} holds values that are not finite numbers")
        return cls(arrays, facts)

    def part(self, prefix: str) -> dict[str, Array]:
        """Return the arrays whose names begin with ``prefix``, without it."""
        return {name.removeprefix(prefix): array for name, array in self.arrays.items() if name.startswith(prefix)}


def _digest(content: bytes | bytearray) -> bytes:
    """Return the SHA-256 of all that is not the digest itself, in hexadecimal digits."""
    whole = memoryview(content)
    digest = hashlib.sha256(whole[: DIGEST.start])
    digest.update(whole[DIGEST.stop :])
    return digest.hexdigest().encode()


def _verified(path: Path, limit: int) -> bytes:
    """Read a checkpoint's bytes and compare them with their digest."""
    try:
        content = read(path, limit)
    except NotFoundError as error:
        raise NotFoundError(error.message.replace("such file", "such checkpoint"), "see `lstmcast runs`") from None
    if content[8 : DIGEST.start] != OPENING:
        raise InvalidError(f"{path}: damaged, or not a checkpoint of this program")
    if content[DIGEST] != _digest(content):
        raise InvalidError(f"{path}: damaged: the content does not have the checksum that was saved with it")
    return content


def flatten(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Move every tensor in nested dicts and lists to ``arrays``; return JSON that names them instead."""
    if hasattr(value, "detach"):
        arrays[name] = value.detach().cpu().numpy().copy()
        return {"__array__": name}
    if isinstance(value, Mapping):
        return {str(key): flatten(item, f"{name}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        kinds = {(item.dtype, item.shape) if hasattr(item, "detach") else None for item in value}
        if len(kinds) == 1 and None not in kinds:
            arrays[name] = np.stack([item.detach().cpu().numpy() for item in value])
            return {"__rows__": name}
        return [flatten(item, f"{name}.{index}", arrays) for index, item in enumerate(value)]
    return value


def unflatten(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo `flatten`, into tensors; tuples come back as lists."""
    import torch

    if isinstance(value, dict):
        if "__array__" in value:
            return torch.from_numpy(arrays[value["__array__"]].copy())
        if "__rows__" in value:
            return list(torch.from_numpy(arrays[value["__rows__"]].copy()).unbind())
        return {key: unflatten(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [unflatten(item, arrays) for item in value]
    return value


def check_like(found: Any, pattern: Any, name: str) -> None:
    """Demand the keys and kinds of values of ``pattern``; where that holds None, a number will do too.

    Raises:
        ValueError: if ``found`` differs, naming where.
    """
    if isinstance(pattern, dict) and isinstance(found, dict):
        if found.keys() != pattern.keys():
            raise ValueError(f"{name}: missing or unknown: {', '.join(sorted(found.keys() ^ pattern.keys()))[:80]}")
        for key, item in pattern.items():
            check_like(found[key], item, f"{name}.{key}")
    elif isinstance(pattern, list | tuple) and isinstance(found, list) and len(found) == len(pattern):
        for index, (ours, item) in enumerate(zip(found, pattern, strict=True)):
            check_like(ours, item, f"{name}.{index}")
    else:
        allowed = {type(None): (type(None), int, float), float: (int, float)}.get(type(pattern), (type(pattern),))
        if type(found) not in allowed:
            raise ValueError(f"{name}: {str(found)[:60]!r} is no {type(pattern).__name__}")
