"""Runs side by side: grouped by config over seeds, with their spread and what the difference is worth."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_uppercase
from typing import Any

import numpy as np

from lstmcast.arrays import Array, finite_or_none
from lstmcast.errors import InvalidError, UsageError
from lstmcast.reports.records import OPERATORS, Record, badness, require_key

CONFIDENCE = 0.95
RESAMPLES = 10_000
# up to this many pairs every sign pattern is tried, beyond it as many as RESAMPLES are drawn
MAX_EXACT_PAIRS = 16
# configs that differ in more keys than these are called by a run's name
MAX_LABELLED = 8
# keys that make no other config: it is trained again, or watched by other tools
ASIDE = ("seed", "tracker")
# statuses of runs whose scores are final
DONE = ("finished", "diverged")


@dataclass(frozen=True)
class Group:
    """Runs of one config with different seeds.

    Attributes:
        letter: A, B, …, in the order in which the groups were named.
        runs: one for each seed, in the order of the seeds.
        values: the metric of each; infinite where a forecast was not finite.
        differs: the config's keys in which the groups differ, with this group's values.
    """

    letter: str
    runs: tuple[Record, ...]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    differs: dict[str, Any]

    @property
    def label(self) -> str:
        """What sets the group apart, for people."""
        if not 1 <= len(self.differs) <= MAX_LABELLED:
            return self.runs[0].run.name
        return ", ".join(f"{key}={_plain(value)}" for key, value in self.differs.items())

    @property
    def diverged(self) -> int:
        """How many of the runs diverged; their values are those of the parameters before it."""
        return sum(record.diverged for record in self.runs)

    @property
    def mean(self) -> float:
        """The mean over the seeds; infinite if one of them is."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float | None:
        """The standard deviation over the seeds (with n - 1), if there are two or more and all are finite."""
        return float(np.std(self.values, ddof=1)) if self._spreads else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The bootstrap interval of the mean."""
        return bootstrap(np.array(self.values)) if self._spreads else None

    @property
    def _spreads(self) -> bool:
        return len(self.values) > 1 and bool(np.isfinite(self.values).all())

    def as_json(self) -> dict[str, Any]:
        """Return the group's numbers; what is not finite is None."""
        return {
            "group": self.letter,
            "label": self.label,
            "differs": self.differs,
            "runs": [str(record.run.path) for record in self.runs],
            "seeds": list(self.seeds),
            "diverged": self.diverged,
            "values": [finite_or_none(value) for value in self.values],
            "mean": finite_or_none(self.mean),
            "std": self.std,
            "interval": self.interval,
        }


@dataclass(frozen=True)
class Pairing:
    """A group against the first, seed by seed.

    Attributes:
        letter: the group's.
        difference: the mean of this group's metric minus the first's, over the seeds that both have.
        interval: the bootstrap interval of that mean.
        p: how often a difference so large arises if the signs of the differences mean nothing.
    """

    letter: str
    seeds: tuple[int, ...]
    difference: float
    interval: tuple[float, float] | None
    p: float | None

    def as_json(self) -> dict[str, Any]:
        """Return the numbers; what is not finite is None."""
        return {
            "group": self.letter,
            "reference": "A",
            "seeds": list(self.seeds),
            "difference": finite_or_none(self.difference),
            "interval": self.interval,
            "p": self.p,
        }


@dataclass(frozen=True)
class Comparison:
    """The groups, and each but the first paired with the first; ``left_out`` are runs without a final score."""

    metric: str
    groups: tuple[Group, ...]
    pairings: tuple[Pairing, ...]
    left_out: tuple[Record, ...]
    repeated: tuple[Record, ...]

    @property
    def ranked(self) -> list[Group]:
        """The groups, that with the best mean first; those of which a run diverged come after all others."""
        return sorted(self.groups, key=lambda group: rank(self.metric, group.runs))

    @property
    def best(self) -> Group | None:
        """The group with the best mean; None if there is none in which no run diverged."""
        first = self.ranked[0]
        return None if first.diverged else first

    def sentences(self) -> list[str]:
        """Say in words what each pairing is worth."""
        lines = []
        for pairing in self.pairings:
            seeds = "1 common seed" if len(pairing.seeds) == 1 else f"{len(pairing.seeds)} common seeds"
            how = f"{pairing.letter} against A: {pairing.difference:+.4g} over {seeds}"
            if pairing.p is None:
                lines.append(f"{how}; one seed says nothing about others" if len(pairing.seeds) == 1 else how)
                continue
            least = 2.0 ** (1 - len(pairing.seeds))
            doubt = f", the least that {len(pairing.seeds)} seeds can show" if pairing.p <= least > 0.05 else ""
            lines.append(f"{how}, p = {pairing.p:.3g}{doubt}")
        unpaired = {group.letter for group in self.groups[1:]} - {pairing.letter for pairing in self.pairings}
        if unpaired:
            lines.append(f"no seed in common with A: {', '.join(sorted(unpaired))}")
        if len(self.pairings) > 1:
            level = 0.05 / len(self.pairings)
            lines.append(f"{len(self.pairings)} tests: by chance one in 20 is below 0.05; believe p below {level:.2g}")
        lines += [
            f"{group.letter}: {group.diverged} of {len(group.runs)} diverged, so it is not the best; the score is that"
            " before it"
            for group in self.groups
            if group.diverged
        ]
        data = [key for key in self.groups[0].differs if key.startswith("data.")]
        if data:
            lines.append(f"the groups differ in {', '.join(data)}: their scores may be of different test parts")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Return all numbers."""
        return {
            "metric": self.metric,
            "confidence": CONFIDENCE,
            "groups": [group.as_json() for group in self.groups],
            "comparisons": [pairing.as_json() for pairing in self.pairings],
            "left_out": [str(record.run.path) for record in self.left_out],
            "repeated": [str(record.run.path) for record in self.repeated],
        }


def default_metric(records: Sequence[Record], wanted: object = None) -> str:
    """Return a sweep's own metric if a run has it, else the rollout's error at the longest horizon that all have.

    Runs without rollouts are compared by the score of the next step.
    """
    if isinstance(wanted, str) and any(wanted in record.score_names() for record in records):
        return wanted
    names = [set(record.score_names()) for record in records if record.manifest.get("status") in DONE]
    common = set.intersection(*names) if names else set()
    horizons = [int(name.partition("@")[2]) for name in common if name.startswith("rollout.rmse@")]
    if horizons:
        return f"rollout.rmse@{max(horizons)}"
    return "next_step.cross_entropy" if "next_step.cross_entropy" in common else "next_step.rmse"


def compare(records: Sequence[Record], metric: str, *, ranked: bool = False) -> Comparison:
    """Group runs by their configs, and pair the groups seed by seed with the first, or with the best if ``ranked``.

    Raises:
        UsageError: if no run has the metric.
        InvalidError: if no run has a final score.
    """
    require_key("--metric", metric, records)
    scored = [
        record for record in records if record.manifest.get("status") in DONE and record.score(metric) is not None
    ]
    if not scored:
        raise InvalidError(f"no run of {len(records)} has a final {metric}", "see `lstmcast runs`")
    by_config: dict[str, dict[int, Record]] = {}
    repeated = []
    for record in scored:
        config = {key: value for key, value in record.settings.items() if key not in ASIDE}
        # a run whose config is lost is like no other
        identity = json.dumps(config, sort_keys=True) if config else str(record.run.path)
        runs = by_config.setdefault(identity, {})
        seed = int(record.value("seed") or 0)
        if seed in runs:
            repeated.append(record)  # the same config and seed again: no new evidence
        else:
            runs[seed] = record
    members = list(by_config.values())
    if ranked:
        members.sort(key=lambda runs: rank(metric, list(runs.values())))
    settings = [next(iter(runs.values())).settings for runs in members]
    groups = tuple(
        Group(
            letter=letters(index),
            runs=tuple(runs[seed] for seed in sorted(runs)),
            seeds=tuple(sorted(runs)),
            values=tuple(float(runs[seed].score(metric) or 0.0) for seed in sorted(runs)),
            differs={key: settings[index].get(key) for key in differing(settings)},
        )
        for index, runs in enumerate(members)
    )
    pairings = tuple(pairing for group in groups[1:] if (pairing := _pair(groups[0], group)))
    unscored = tuple(record for record in records if record not in scored)
    return Comparison(metric, groups, pairings, unscored, tuple(repeated))


def rank(metric: str, runs: Sequence[Record]) -> tuple[bool, float]:
    """Return what sorts configs, each given as its runs: a mean over seeds of which one diverged is no one's best."""
    mean = float(np.mean([record.score(metric) for record in runs]))
    return any(record.diverged for record in runs), badness(metric, mean)


def differing(settings: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys, seed and tracker aside, whose values are not the same in all configs.

    Where a section's kind differs, so do the keys that only one kind has; they go without saying.
    """
    keys = dict.fromkeys(key for each in settings for key in each if key not in ASIDE)
    found = [key for key in keys if any(each.get(key) != settings[0].get(key) for each in settings)]
    kinds = {key.removesuffix("kind") for key in found if key.endswith(".kind")}

    def goes_without_saying(key: str) -> bool:
        return any(key.startswith(section) for section in kinds) and any(key not in each for each in settings)

    return [key for key in found if not goes_without_saying(key)]


def letters(index: int) -> str:
    """Count A, B, …, Z, AA, AB, …."""
    text = ""
    while index >= 0:
        text = ascii_uppercase[index % 26] + text
        index = index // 26 - 1
    return text


def _pair(reference: Group, group: Group) -> Pairing | None:
    common = sorted(set(reference.seeds) & set(group.seeds))
    if not common:
        return None
    first, second = (dict(zip(side.seeds, side.values, strict=True)) for side in (reference, group))
    with np.errstate(invalid="ignore"):
        differences = np.array([second[seed] for seed in common]) - np.array([first[seed] for seed in common])
    testable = len(common) > 1 and bool(np.isfinite(differences).all())
    return Pairing(
        letter=group.letter,
        seeds=tuple(common),
        difference=float(differences.mean()),
        interval=bootstrap(differences) if testable else None,
        p=sign_flip(differences) if testable else None,
    )


def bootstrap(values: Array) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of ``values`` (n,), with a fixed seed.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    random = np.random.default_rng(0)
    means = values[random.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def sign_flip(differences: Array) -> float:
    """Return the two-sided p-value of the mean of paired ``differences`` (n,), by flipping signs.

    If the two sides were the same, each difference could as well have had the other sign: p is the share of sign
    patterns whose mean is as far from 0. Exact for up to `MAX_EXACT_PAIRS` pairs; the least it can be is 2^(1 - n).
    Source: Fisher, The Design of Experiments, 1935, section 21.
    """
    n = len(differences)
    if n <= MAX_EXACT_PAIRS:
        signs = np.array(list(product((1, -1), repeat=n)))
    else:
        drawn = np.random.default_rng(0).choice((1, -1), size=(RESAMPLES, n))
        signs = np.concatenate([np.ones((1, n)), drawn])  # the pattern that was seen is one of them
    sums = np.abs(signs @ differences)
    return float(np.mean(sums >= np.abs(differences.sum()) * (1 - 1e-12)))


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


THRESHOLD = re.compile(r"\s*(?:([A-Z]{1,3})\s*:\s*)?([a-z][\w.@]*)\s*(<=|>=|<|>)\s*(\S+)\s*")
WORSE = re.compile(r"\s*([A-Z]{1,3})\s+worse\s+than\s+([A-Z]{1,3})(?:\s+by\s+([0-9.eE+-]+)\s*%)?\s*")


@dataclass(frozen=True)
class Check:
    """A condition under which a comparison fails: a threshold for a score, or one group worse than another."""

    text: str
    letter: str | None = None
    metric: str = ""
    symbol: str = ""
    limit: float = 0.0
    than: str | None = None

    @classmethod
    def read(cls, text: str) -> Check:
        """Read ``[GROUP:] SCORE > NUMBER`` or ``GROUP worse than GROUP [by NUMBER %]``.

        Raises:
            UsageError: if it is neither.
        """
        for pattern in (THRESHOLD, WORSE):
            match = pattern.fullmatch(text)
            if not match:
                continue
            try:
                if pattern is THRESHOLD:
                    check = cls(text, match[1], match[2], match[3], float(match[4]))
                else:
                    check = cls(text, match[1], limit=float(match[3] or 0), than=match[2])
            except ValueError:
                break
            if np.isfinite(check.limit):
                return check
            break
        raise UsageError(
            f"--fail-if {text[:80]!r}: not of the form SCORE > NUMBER (or <, <=, >=), or B worse than A by NUMBER %",
            "for instance --fail-if 'rollout.rmse@100 > 0.05', or 'B: rollout.rmse > 0.05' for one group",
        )

    def failures(self, comparison: Comparison) -> list[str]:
        """Say where the condition holds, one line each.

        Raises:
            UsageError: if there is no such group or score.
        """
        groups = {group.letter: group for group in comparison.groups}
        for letter in (self.letter, self.than):
            if letter is not None and letter not in groups:
                raise UsageError(f"--fail-if {self.text!r}: there is no group {letter}, only {', '.join(groups)}")
        if self.than is not None:
            assert self.letter is not None
            metric = comparison.metric
            group, other = groups[self.letter], groups[self.than]
            ours, theirs = group.mean, other.mean
            if bool(group.diverged) != bool(other.diverged):
                return [f"{self.text}: {group.diverged} of {len(group.runs)} diverged"] if group.diverged else []
            limit = self.limit / 100 * abs(theirs)
            with np.errstate(invalid="ignore"):
                worse = float(np.subtract(badness(metric, ours), badness(metric, theirs)))
            # infinity against infinity is not known to be better
            fails = not worse <= limit if self.limit or np.isnan(worse) else worse > 0
            return [f"{self.text}: {metric} is {ours:.4g} against {theirs:.4g}"] if fails else []
        lines = []
        for group in [groups[self.letter]] if self.letter else comparison.groups:
            require_key("--fail-if", self.metric, group.runs)
            scores = [score for record in group.runs if (score := record.score(self.metric)) is not None]
            if len(scores) < len(group.runs):
                raise UsageError(f"--fail-if {self.text!r}: {self.metric} is no number in all runs of {group.letter}")
            mean = float(np.mean(scores))
            if OPERATORS[self.symbol](mean, self.limit):
                lines.append(f"{self.text}: the mean of {group.letter} is {mean:.4g}")
        return lines
