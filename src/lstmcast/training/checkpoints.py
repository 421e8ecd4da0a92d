"""Checkpoints: named arrays and JSON in one safetensors file; nothing in it can run code.

Source of the format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from lstmcast.arrays import Array
from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.runs import write

FORMAT = "lstmcast-checkpoint-1"
MAX_BYTES = 4 * 2**30


@dataclass
class Checkpoint:
    """Arrays by name, and whatever else JSON can say."""

    arrays: dict[str, Array]
    facts: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        # one key only: the format's library writes several in random order
        metadata = {FORMAT: json.dumps(self.facts)}
        contiguous = {name: np.asarray(array, order="C") for name, array in self.arrays.items()}
        write(path, save_arrays(contiguous, metadata))

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read the file.

        Raises:
            NotFoundError: if there is none.
            InvalidError: if it is not such a file.
        """
        if not path.exists():
            raise NotFoundError(f"{path}: no such checkpoint", "the run was stopped before its first one")
        if not path.is_file():
            raise InvalidError(f"{path}: not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise InvalidError(f"{path}: larger than {MAX_BYTES:,} bytes")
        data = path.read_bytes()
        try:
            arrays = load_arrays(data)
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            facts = json.loads(header["__metadata__"][FORMAT])
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidError(f"{path}: damaged, or not a checkpoint of this program: {error}") from None
        return cls(arrays, facts)

    def part(self, prefix: str) -> dict[str, Array]:
        """Return the arrays whose names begin with ``prefix``, without it."""
        return {name.removeprefix(prefix): array for name, array in self.arrays.items() if name.startswith(prefix)}


def flatten(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Move every tensor in nested dicts and lists to ``arrays``; return JSON that names them instead."""
    if hasattr(value, "detach"):
        arrays[name] = value.detach().cpu().numpy().copy()
        return {"__array__": name}
    if isinstance(value, Mapping):
        return {str(key): flatten(item, f"{name}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [flatten(item, f"{name}.{index}", arrays) for index, item in enumerate(value)]
    return value


def unflatten(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Undo `flatten`, into tensors; tuples come back as lists."""
    import torch

    if isinstance(value, dict):
        if "__array__" in value:
            return torch.from_numpy(arrays[value["__array__"]].copy())
        return {key: unflatten(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [unflatten(item, arrays) for item in value]
    return value
