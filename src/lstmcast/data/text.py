"""The characters of a text file, one line a sequence or all of it one stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from lstmcast.arrays import Array
from lstmcast.data.batches import ChangedSampler, Sampler, SequenceSampler, WindowSampler
from lstmcast.data.categories import one_hot_batch
from lstmcast.data.dataset import Borders, check_window
from lstmcast.data.user_file import read_text
from lstmcast.errors import InvalidError
from lstmcast.sections import Section, Seed

MAX_BYTES = 64 * 2**20
# not characters of any text: private use
START, END = "\ue000", "\ue001"


@dataclass(frozen=True)
class Tokens:
    """Sequences of symbols, and how to read them.

    Attributes:
        vocabulary: the symbols; a code is a place in it.
        train: sequences of codes ``(L_n, 1)``.
        validation: likewise, held out for model selection; may be empty.
        test: likewise, held out for the scores.
        lines: whether each sequence begins with `START` and ends with `END`.
        shortest: steps of the shortest training sequence.
        sampler: makes the endless stream of one-hot training batches, as `Dataset.sampler`.
    """

    vocabulary: tuple[str, ...]
    train: Sequence[Array]
    validation: Sequence[Array]
    test: Sequence[Array]
    lines: bool
    shortest: int
    sampler: Callable[..., Sampler]

    @property
    def features(self) -> int:
        """The network's inputs and outputs at each step: the vocabulary's symbols."""
        return len(self.vocabulary)


class Text(Section):
    """Characters of the user's text file; the network learns which comes next."""

    kind: Literal["text"]
    path: str = Field(min_length=1, description="the text file, UTF-8; relative to the config's own folder")
    mode: Literal["lines", "stream"] = Field(
        "lines", description="lines: each is a sequence with a start and an end; stream: one long sequence"
    )
    lowercase: bool = Field(False, description="turn all letters into lower case")
    timesteps: int | None = Field(None, gt=0, description="steps in a training window of a stream")
    validation_share: float = Field(0.0, ge=0, lt=1, description="share held out to select the best checkpoint")
    test_share: float = Field(0.1, gt=0, lt=1, description="share held out for the scores")
    shuffle: bool = Field(True, description="draw in a new random order in each epoch")
    drop_last: bool = Field(False, description="leave out an epoch's incomplete last batch")
    horizon: Literal[1] = Field(1, description="the next character")

    def build(self, seed: Seed, future: int) -> Tokens:  # noqa: ARG002
        """Read the file; lines are put in a seeded random order before they are split, a stream is split in its own.

        Raises:
            NotFoundError: if there is no such file.
            InvalidError: if it is no UTF-8 text, or too short to be split.
        """
        text = self._read()
        if self.mode == "stream":
            if self.timesteps is None:
                raise InvalidError("data.timesteps: missing; a stream is cut into windows of this length")
            vocabulary = tuple(sorted(set(text)))
            codes = self._encode(text, vocabulary)
            borders = Borders.cut(len(codes), self.validation_share, self.test_share)
            check_window("data.timesteps", "training part", borders.train, self.timesteps, 1)
            check_window("data.test_share", "test part", borders.length - borders.validation, 1, 1)
            train, validation, test = np.split(codes, [borders.train, borders.validation])
            make: Callable[..., Sampler] = partial(WindowSampler, train[None], self.timesteps, 1)
            parts = [train], [validation] if len(validation) > 1 else [], [test]
        else:
            if self.timesteps is not None:
                raise InvalidError("data.timesteps: only a stream is cut into windows; a line is taken whole")
            lines = [line for line in text.splitlines() if line.strip()]
            vocabulary = (START, END, *sorted(set("".join(lines))))
            if len(lines) < 2:
                raise InvalidError(f"{self.path}: {len(lines)} lines with text; at least 2 are needed")
            lines = [START + lines[index] + END for index in np.random.default_rng(seed).permutation(len(lines))]
            sequences = np.split(self._encode("".join(lines), vocabulary), np.cumsum([*map(len, lines)])[:-1])
            borders = Borders.cut(len(sequences), self.validation_share, self.test_share)
            parts = (
                sequences[: borders.train],
                sequences[borders.train : borders.validation],
                sequences[borders.validation :],
            )
            make = partial(SequenceSampler, parts[0])

        def sampler(**settings: Any) -> Sampler:
            inner = make(shuffle=self.shuffle, drop_last=self.drop_last, **settings)
            return ChangedSampler(inner, partial(one_hot_batch, classes=len(vocabulary)))

        shortest = self.timesteps or min(len(sequence) - 1 for sequence in parts[0])
        return Tokens(vocabulary, *parts, lines=self.mode == "lines", shortest=shortest, sampler=sampler)

    def _read(self) -> str:
        text = read_text(Path(self.path), MAX_BYTES)
        if START in text or END in text:
            raise InvalidError(f"{self.path}: holds the characters U+E000 or U+E001, which mark start and end here")
        return text.lower() if self.lowercase else text

    @staticmethod
    def _encode(text: str, vocabulary: Sequence[str]) -> Array:
        symbols, places = (np.frombuffer(part.encode("utf-32-le"), "<u4") for part in ("".join(vocabulary), text))
        order = np.argsort(symbols)
        codes: Array = order[np.searchsorted(symbols, places, sorter=order)]
        return codes[:, None]
