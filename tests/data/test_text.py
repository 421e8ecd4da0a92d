from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, Sampler
from lstmcast.data.text import END, START, Text, Tokens
from lstmcast.errors import InvalidError, NotFoundError

LINES = [f"{word}{number}" for number in range(10) for word in ("ab", "b", "cabac", "dd")]
STREAM = "the cat sat on the mat; " * 20

Build = Callable[..., Tokens]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Write a file and build the data of it."""

    def build(content: str | bytes, seed: int = 0, **options: Any) -> Tokens:
        file = tmp_path / "a.txt"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return Text(kind="text", path=str(file), **options).build(seed, 0)

    return build


def read(tokens: Tokens, codes: Array) -> str:
    return "".join(tokens.vocabulary[code] for code in codes.ravel())


def sample(tokens: Tokens, seed: int = 1, **options: Any) -> Sampler:
    return tokens.sampler(**({"batch_size": 4, "seed": [seed], "last_step": False, "warmup": 0} | options))


def test_the_vocabulary_of_lines_is_their_characters_after_the_two_ends(build: Build) -> None:
    tokens = build("\n".join(LINES))
    assert tokens.vocabulary == (START, END, *"0123456789abcd")
    assert tokens.features == 16
    assert tokens.lines


def test_each_line_stands_between_its_ends_in_one_part(build: Build) -> None:
    tokens = build("\n".join(LINES), validation_share=0.25, test_share=0.1)
    assert (len(tokens.train), len(tokens.validation), len(tokens.test)) == (26, 10, 4)
    texts = [read(tokens, line) for part in (tokens.train, tokens.validation, tokens.test) for line in part]
    assert sorted(texts) == sorted(START + line + END for line in LINES)
    assert texts != [START + line + END for line in LINES]
    assert tokens.shortest == min(map(len, tokens.train)) - 1


def test_the_seed_orders_the_lines(build: Build) -> None:
    first, again, other = (
        [read(tokens, line) for line in tokens.train]
        for tokens in (build("\n".join(LINES), seed=seed) for seed in (0, 0, 1))
    )
    assert first == again != other


@pytest.mark.parametrize("content", ["\n\nAb\r\n  \r\ncD\r\n\n", b"\xef\xbb\xbfAb\ncD", "Ab\rcD"])
def test_blank_lines_and_marks_are_left_out(build: Build, content: str | bytes) -> None:
    tokens = build(content, test_share=0.5)
    assert tokens.vocabulary == (START, END, *"ADbc")
    assert sorted(read(tokens, line) for line in (*tokens.train, *tokens.test)) == [
        START + "Ab" + END,
        START + "cD" + END,
    ]
    assert build(content, test_share=0.5, lowercase=True).vocabulary == (START, END, *"abcd")


def test_every_character_of_a_stream_comes_back(build: Build) -> None:
    content = "naïve 🌊 \n日本 𝄞 zß" * 3
    tokens = build(content, mode="stream", timesteps=3, test_share=0.2)
    assert read(tokens, np.concatenate([*tokens.train, *tokens.test])) == content
    assert tokens.vocabulary == tuple(sorted(set(content)))


def inside(batch: Batch) -> Array:
    assert batch.lengths is not None
    return np.arange(batch.inputs.shape[1]) < batch.lengths[:, None]


@pytest.mark.parametrize("last_step", [False, True])
def test_batches_of_lines_are_one_hot_padded_and_masked(build: Build, last_step: bool) -> None:
    tokens = build("\n".join(LINES))
    sampler = sample(tokens, last_step=last_step)
    seen: list[str] = []
    for _ in range(sampler.batches_per_epoch or 0):
        batch = sampler.next()
        assert batch.inputs.shape == batch.targets.shape == (4, batch.inputs.shape[1], 16)
        for values in (batch.inputs, batch.targets):
            assert set(np.unique(values)) == {0, 1}
            assert (values.sum(axis=2) == 1).all()
        codes, targets, mask = batch.inputs.argmax(axis=2), batch.targets.argmax(axis=2), inside(batch)
        assert batch.lengths is not None
        assert batch.weights is not None
        for code, target, within, weight, length in zip(
            codes, targets, mask, batch.weights, batch.lengths, strict=True
        ):
            assert np.array_equal(code[within][1:], target[within][:-1])
            assert np.flatnonzero(weight).tolist() == ([length - 1] if last_step else list(range(length)))
            text = read(tokens, code[within]) + read(tokens, target[within][-1:])
            assert text.startswith(START)
            assert text.endswith(END)
            seen.append(text)
    assert sorted(seen) == sorted(read(tokens, line) for line in tokens.train)


def test_a_warm_up_that_masks_the_shortest_line_is_refused(build: Build) -> None:
    tokens = build("\n".join(LINES))
    sample(tokens, warmup=2)
    with pytest.raises(InvalidError, match=r"training.warmup: 3 masks all 3 steps of the shortest sequence"):
        sample(tokens, warmup=3)
    sample(tokens, warmup=3, last_step=True)


def test_a_batch_of_more_than_all_lines_is_refused(build: Build) -> None:
    tokens = build("\n".join(LINES))
    assert len(sample(tokens, batch_size=None).next().inputs) == len(tokens.train) == 36
    with pytest.raises(InvalidError, match=r"training.batch_size: 37 is more than the 36 training sequences"):
        sample(tokens, batch_size=37)


def test_a_stream_is_cut_in_its_own_order(build: Build) -> None:
    tokens = build(STREAM, mode="stream", timesteps=7, validation_share=0.2, test_share=0.1)
    assert tokens.vocabulary == tuple(sorted(set(STREAM)))
    assert [len(part[0]) for part in (tokens.train, tokens.validation, tokens.test)] == [336, 96, 48]
    assert "".join(read(tokens, part[0]) for part in (tokens.train, tokens.validation, tokens.test)) == STREAM
    assert not tokens.lines
    assert tokens.shortest == 7
    assert not build(STREAM, mode="stream", timesteps=7).validation


def test_windows_of_a_stream(build: Build) -> None:
    tokens = build(STREAM, mode="stream", timesteps=7, shuffle=False)
    batch = sample(tokens, batch_size=3).next()
    assert batch.inputs.shape == (3, 7, tokens.features)
    assert [read(tokens, window) for window in batch.inputs.argmax(axis=2)] == ["the cat", "he cat ", "e cat s"]
    assert [read(tokens, window) for window in batch.targets.argmax(axis=2)] == ["he cat ", "e cat s", " cat sa"]


@pytest.mark.parametrize("options", [{}, {"mode": "stream", "timesteps": 5}])
def test_a_stopped_sampler_goes_on_where_it_was(build: Build, options: dict[str, Any]) -> None:
    tokens = build("\n".join(LINES), **options)
    for stop in (0, 1, 5, 9, 10):
        sampler, other = sample(tokens, 1), sample(tokens, 2)
        for _ in range(stop):
            sampler.next()
        other.restore(json.loads(json.dumps(sampler.state())))
        for _ in range(12):
            expected, found = sampler.next(), other.next()
            assert np.array_equal(expected.inputs, found.inputs)
            assert np.array_equal(expected.targets, found.targets)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("", {}, "0 lines with text; at least 2"),
        (" \n\n", {}, "0 lines with text; at least 2"),
        ("one", {}, "1 lines with text; at least 2"),
        ("a\nb", {"test_share": 0.1}, "each part needs at least one"),
        ("a\nb", {"timesteps": 3}, "data.timesteps: only a stream"),
        (b"a\n\xffb", {}, r"a.txt: not UTF-8 text \(byte 2\)"),
        ("a\nb\ue000", {}, r"a.txt: holds the characters U\+E000"),
        ("", {"mode": "stream", "timesteps": 3}, "each part needs at least one"),
        (STREAM, {"mode": "stream"}, "data.timesteps: missing"),
        ("abcdefghij", {"mode": "stream", "timesteps": 8, "test_share": 0.2}, "does not fit into the training part"),
        ("abcdefghij", {"mode": "stream", "timesteps": 3}, "does not fit into the test part"),
    ],
)
def test_what_cannot_be_learnt_from(build: Build, content: str | bytes, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        build(content, **options)


def test_what_is_no_file(tmp_path: Path) -> None:
    for name in ("none.txt", "x" * 300, "a\0b"):
        with pytest.raises(NotFoundError, match=r"no such file|cannot be read"):
            Text(kind="text", path=str(tmp_path / name)).build(0, 0)
    with pytest.raises(InvalidError, match="not a regular file"):
        Text(kind="text", path=str(tmp_path)).build(0, 0)
    with (tmp_path / "large.txt").open("wb") as large:
        large.truncate(2**30)  # of holes: nothing is written
    with pytest.raises(InvalidError, match=r"1,073,741,824 bytes; at most"):
        Text(kind="text", path=str(tmp_path / "large.txt")).build(0, 0)
