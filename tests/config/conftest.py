from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lstmcast.config.load import load
from lstmcast.config.schema import Config
from lstmcast.errors import InvalidError, LstmcastError

LoadText = Callable[..., Config]
Problems = Callable[..., list[str]]


@pytest.fixture
def valid() -> str:
    """Four lines, one section each; every key that a config must have."""
    return "seed: 7\ndata: {kind: windowed_sine}\noptimizer: {kind: adam}\ntraining: {steps: 5}\n"


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Load a config from its text, or bytes."""

    def load_text(content: str | bytes, overrides: Sequence[str] = (), seed: int | None = None) -> Config:
        file = tmp_path / "config.yaml"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load(str(file), overrides, seed)

    return load_text


@pytest.fixture
def problems(load_text: LoadText, tmp_path: Path) -> Problems:
    """Load a config that is refused; return each problem, then the hint."""

    def problems(
        content: str | bytes, overrides: Sequence[str] = (), error: type[LstmcastError] = InvalidError
    ) -> list[str]:
        with pytest.raises(LstmcastError) as caught:
            load_text(content, overrides)
        assert type(caught.value) is error
        lines = caught.value.message.replace(f"{tmp_path}/", "").split("\n")
        return [*lines, *([f"hint: {caught.value.hint}"] if caught.value.hint else [])]

    return problems


@pytest.fixture
def within_a_second() -> Callable[[], object]:
    """Limit the processor time of a block."""

    @contextmanager
    def limit() -> Iterator[None]:
        start = time.process_time()
        yield
        assert time.process_time() - start < 1

    return limit
