"""Scores of a network on text, beside what letter counts know; and new sequences drawn from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmcast.arrays import Array, finite_or_none
from lstmcast.data.batches import pad
from lstmcast.data.categories import draw, one_hot
from lstmcast.data.text import END, START, Tokens
from lstmcast.errors import UsageError
from lstmcast.network.engine import Engine

# sequences scored at once, and the numbers of their one-hot inputs
CHUNK, MAX_INPUTS = 256, 2**24
# steps of a long stream scored at once; the state starts from zero in each
STREAM_CHUNK = 1000


@dataclass(frozen=True)
class TokenScore:
    """Cross-entropy in nats per symbol, and the share of symbols that were the likeliest."""

    label: str
    cross_entropy: float
    accuracy: float

    def as_json(self) -> dict[str, float | None]:
        """Return the two numbers and the perplexity; what is not finite is None."""
        with np.errstate(over="ignore"):
            perplexity = float(np.exp(self.cross_entropy))
        return {
            "cross_entropy": finite_or_none(self.cross_entropy),
            "perplexity": finite_or_none(perplexity),
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class TokenEvaluation:
    """A network's score beside those of the baselines, on the test part."""

    model: TokenScore
    baselines: dict[str, TokenScore]

    @property
    def essential(self) -> float:
        """The one number that scripts ask for: the cross-entropy in nats per symbol."""
        return self.model.cross_entropy

    @property
    def verdict(self) -> str:
        """Say in one line how the network compares."""
        best = min(self.baselines.values(), key=lambda score: score.cross_entropy)
        ours, theirs = self.model.cross_entropy, best.cross_entropy
        how = "beats every baseline" if ours < theirs else f"trails {best.label}"
        return f"{how}: {ours:.3f} nats per symbol, {best.label} {theirs:.3f}"

    def summary(self) -> dict[str, Any]:
        """Return the scores as JSON."""
        return {
            "next_step": self.model.as_json(),
            "baselines": {
                name: {"label": score.label, "next_step": score.as_json()} for name, score in self.baselines.items()
            },
            "verdict": self.verdict,
        }


def evaluate_tokens(engine: Engine, tokens: Tokens) -> TokenEvaluation:
    """Score the network on the test part, beside uniform chances and the counts of symbols and of pairs."""
    classes = tokens.features
    counts = np.ones(classes)
    pairs = np.ones((classes, classes))
    for sequence in tokens.train:
        codes = sequence[:, 0]
        np.add.at(counts, codes[1:], 1)
        np.add.at(pairs, (codes[:-1], codes[1:]), 1)
    tables = {
        "uniform": ("uniform", np.full((classes, classes), 1 / classes)),
        "unigram": ("counts of symbols", np.broadcast_to(counts / counts.sum(), (classes, classes))),
        "bigram": ("counts of pairs", pairs / pairs.sum(axis=1, keepdims=True)),
    }
    before = np.concatenate([sequence[:-1, 0] for sequence in tokens.test])
    after = np.concatenate([sequence[1:, 0] for sequence in tokens.test])
    baselines = {
        name: TokenScore(
            label,
            float(-np.log(table[before, after]).mean()),
            float((table.argmax(axis=1)[before] == after).mean()),
        )
        for name, (label, table) in tables.items()
    }
    return TokenEvaluation(score_tokens(engine, tokens.test, classes), baselines)


def score_tokens(engine: Engine, sequences: Sequence[Array], classes: int) -> TokenScore:
    """Score the network on sequences of codes ``(L_n, 1)``, each from the zero state."""
    pieces = [
        sequence[start : start + STREAM_CHUNK + 1]
        for sequence in sequences
        for start in range(0, len(sequence) - 1, STREAM_CHUNK)
    ]
    total = right = count = 0.0
    size = max(1, min(CHUNK, MAX_INPUTS // (max(map(len, pieces)) * classes)))
    for start in range(0, len(pieces), size):
        padded, lengths = pad(pieces[start : start + size])
        logits = engine.predict(one_hot(padded[:, :-1], classes)).astype(np.float64)
        targets = padded[:, 1:, 0]
        counted = np.arange(targets.shape[1]) < lengths[:, None] - 1
        shifted = logits - logits.max(axis=2, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
        total -= float(np.take_along_axis(log_p, targets[:, :, None], axis=2)[..., 0][counted].sum())
        right += float((logits.argmax(axis=2) == targets)[counted].sum())
        count += float(counted.sum())
    return TokenScore("network", total / count, right / count)


def sample(
    engine: Engine,
    vocabulary: Sequence[str],
    *,
    lines: bool,
    count: int,
    temperature: float,
    seed: int,
    prompt: str,
    max_length: int,
) -> Iterator[str]:
    """Draw sequences of symbols that continue ``prompt``.

    Args:
        engine: runs the network.
        vocabulary: the symbols.
        lines: whether a sequence begins with `START` and ends with `END`; else it has ``max_length`` symbols.
        count: how many to draw.
        temperature: 1 draws as learned, less is bolder on what is likely, 0 takes the likeliest symbol always.
        seed: of the draws.
        prompt: how every sequence begins.
        max_length: symbols drawn at most.

    Raises:
        UsageError: if the prompt has a symbol that is not in the vocabulary.
    """
    unknown = sorted(set(prompt) - set(vocabulary))
    if unknown:
        raise UsageError(f"--prompt {prompt!r}: the network does not know {', '.join(map(repr, unknown))}")
    random = np.random.default_rng(seed)
    code = {symbol: index for index, symbol in enumerate(vocabulary)}
    start = (START if lines else "") + prompt
    # any symbol may begin a piece of a stream
    first = np.full(count, code[start[0]]) if start else random.integers(0, len(vocabulary), count)
    given = np.concatenate([first[:, None], np.tile([code[symbol] for symbol in start[1:]], (count, 1))], axis=1)
    history = one_hot(given.astype(np.int64)[:, :, None], len(vocabulary))

    def read(logits: Array) -> Array:
        if lines:
            # a start stands nowhere but at the start
            logits = np.where(np.arange(len(vocabulary)) == code[START], -np.inf, logits)
        return one_hot(draw(logits, temperature, random)[:, None], len(vocabulary))

    stream = engine.stream(history, read=read)
    drawn = np.full((count, max_length), -1)
    running = np.ones(count, dtype=bool)
    for step in range(max_length):
        if not running.any():
            break
        symbols = next(stream).argmax(axis=1)
        if lines:
            running &= symbols != code[END]
        drawn[running, step] = symbols[running]
    beginning = 1 if lines else 0
    for row, ahead in zip(drawn, given, strict=True):
        codes = [*ahead[beginning:], *row[row >= 0]]
        yield "".join(vocabulary[int(index)] for index in codes)
