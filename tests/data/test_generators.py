"""What holds for every generator. With noise all values differ, so a value tells where it comes from."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstmcast
from lstmcast.arrays import Array
from lstmcast.data.batches import Batch, Sampler
from lstmcast.data.dataset import Dataset, Held
from lstmcast.data.random_segments import RandomSegments
from lstmcast.data.series import Series
from lstmcast.data.signal import Signal
from lstmcast.data.sine_bank import SineBank
from lstmcast.data.windowed_sine import WindowedSine
from lstmcast.errors import InvalidError

NOISY = Signal(noise=0.1)
SYNTHETIC: dict[str, Callable[[int], Any]] = {
    "windowed_sine": lambda horizon: WindowedSine(
        kind="windowed_sine", length=200, timesteps=6, horizon=horizon, validation_share=0.2, signal=NOISY
    ),
    "sine_bank": lambda horizon: SineBank(
        kind="sine_bank", sequences=12, length=40, horizon=horizon, validation_sequences=2, signal=NOISY
    ),
    "sine_bank in windows": lambda horizon: SineBank(
        kind="sine_bank", sequences=6, length=20, timesteps=5, horizon=horizon, validation_sequences=1, signal=NOISY
    ),
    "random_segments": lambda horizon: RandomSegments(
        kind="random_segments", length=200, max_timesteps=9, horizon=horizon, validation_share=0.2, signal=NOISY
    ),
}


@pytest.fixture(params=[*SYNTHETIC, "series"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Any]:
    """Make the settings of a small data set with the given horizon."""
    if request.param in SYNTHETIC:
        return SYNTHETIC[request.param]
    file = tmp_path / "series.csv"
    values = np.random.default_rng(5).normal(30, 7, 150)
    file.write_text("\n".join(["a", *map(repr, values.tolist())]))
    return lambda horizon: Series(
        kind="series", path=str(file), columns=["a"], timesteps=6, horizon=horizon, validation_share=0.2
    )


def sample(dataset: Dataset, seed: int = 1, **options: Any) -> Sampler:
    return dataset.sampler(**({"batch_size": 4, "seed": [seed, 1], "last_step": False, "warmup": 0} | options))


def draw(sampler: Sampler, count: int) -> list[Batch]:
    return [sampler.next() for _ in range(count)]


def same(left: list[Batch], right: list[Batch]) -> bool:
    arrays = ("inputs", "targets", "weights")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for a, b in zip(left, right, strict=True) for n in arrays)


def scored(held: Held) -> Array:
    return held.rows[:, held.scored_from : held.known]


def places(values: Array, rows: Array) -> Array:
    """Find where in ``rows`` each value stands, as an index into the flattened rows."""
    flat = rows.ravel()
    order = np.argsort(flat)
    found = order[np.minimum(np.searchsorted(flat, values, sorter=order), len(flat) - 1)]
    assert np.array_equal(flat[found], values), "a value is not among the rows"
    return found


def test_shapes_and_bounds(settings: Any) -> None:
    dataset = settings(2).build(0, 10)
    features = len(dataset.columns)
    beyond = 10 if settings(2).kind == "sine_bank" else 0
    for held in (dataset.validation, dataset.test):
        assert held is not None
        assert 0 < held.scored_from <= held.origin <= held.known
        assert held.rows.shape[1] == held.known + beyond
        assert held.rows.shape[2] == features
        assert np.isfinite(held.rows).all()
    assert dataset.train.shape[2] == features
    assert dataset.train.dtype == np.float64
    assert dataset.horizon == 2
    assert 0 < dataset.shortest <= dataset.longest <= dataset.context + 1 - dataset.horizon < dataset.train.shape[1]
    assert 0 < dataset.context < dataset.train.shape[1]


def test_the_same_seed_gives_the_same_bytes(settings: Any) -> None:
    first, again = settings(1).build(3, 10), settings(1).build(3, 10)
    assert first.train.tobytes() == again.train.tobytes()
    assert first.test.rows.tobytes() == again.test.rows.tobytes()
    assert same(draw(sample(first), 9), draw(sample(again), 9))


def test_another_seed_gives_other_bytes(settings: Any) -> None:
    first, other = settings(1).build(3, 10), settings(1).build(4, 10)
    # a file is what it is
    assert (first.train.tobytes() == other.train.tobytes()) == (settings(1).kind == "series")


def test_another_seed_gives_other_batches(settings: Any) -> None:
    dataset = settings(1).build(3, 10)
    assert not same(draw(sample(dataset, 1), 3), draw(sample(dataset, 2), 3))


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_target_is_the_training_value_a_horizon_later(settings: Any, horizon: int) -> None:
    dataset = settings(horizon).build(0, 10)
    length = dataset.train.shape[1]
    for batch in draw(sample(dataset), 30):
        assert batch.delay == horizon
        N, T, _ = batch.inputs.shape
        counted = np.arange(T) < (np.full(N, T) if batch.lengths is None else batch.lengths)[:, None]
        assert np.array_equal(batch.weights, counted)
        source = places(batch.inputs[..., 0], dataset.train)
        target = places(batch.targets[..., 0], dataset.train)
        assert (target - source == horizon)[counted].all()
        assert (target // length == source // length)[counted].all()
        assert (np.diff(source, axis=1) == 1)[counted[:, 1:]].all()


@pytest.mark.parametrize("options", [{"noise": 1e308}, {"trend": 1e308}, {"chirp": 1e308}, {"trend": 1e29}])
@pytest.mark.parametrize("kind", SYNTHETIC)
def test_values_too_large_to_compute_with_are_refused(kind: str, options: dict[str, float]) -> None:
    settings = SYNTHETIC[kind](1).model_copy(update={"signal": Signal(**options)})
    with pytest.raises(InvalidError, match="data: the values reach from"):
        settings.build(0, 0)


def test_nothing_that_is_scored_is_trained_on(settings: Any) -> None:
    dataset = settings(2).build(0, 10)
    assert dataset.validation is not None
    assert not np.isin(scored(dataset.test), dataset.train).any()
    assert not np.isin(scored(dataset.validation), dataset.train).any()
    assert not np.isin(scored(dataset.test), scored(dataset.validation)).any()


def test_a_stopped_sampler_goes_on_where_it_was(settings: Any) -> None:
    dataset = settings(1).build(0, 10)
    for stop in range(8):
        sampler, other = sample(dataset, 1), sample(dataset, 2)
        draw(sampler, stop)
        # what a checkpoint keeps is JSON
        state = json.loads(json.dumps(sampler.state()))
        expected = draw(sampler, 12)
        draw(other, 3)
        other.restore(state)
        assert same(draw(other, 12), expected)


TOY = """
from typing import Literal

from lstmcast.data.windowed_sine import WindowedSine


class Toy(WindowedSine):
    kind: Literal["toy"]
"""


def test_a_new_generator_is_its_file_and_one_line_of_the_table(tmp_path: Path) -> None:
    package = tmp_path / "lstmcast"
    shutil.copytree(Path(lstmcast.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "data" / "toy.py").write_text(TOY)
    table = package / "data" / "generators.py"
    lines = table.read_text().replace("= WindowedSine |", "= Toy | WindowedSine |")
    table.write_text(
        lines.replace(
            "from lstmcast.data.windowed_sine", "from lstmcast.data.toy import Toy\nfrom lstmcast.data.windowed_sine", 1
        )
    )
    config = "optimizer: {kind: adam}\ntraining: {steps: 1}\nmodel: {hidden_sizes: [2], output: OUTPUT}\ndata: "
    (tmp_path / "values.yaml").write_text(config.replace("OUTPUT", "value") + "{kind: toy}")
    quantized = config.replace("OUTPUT", "categorical") + "{kind: quantized, source: {kind: toy}}"
    (tmp_path / "classes.yaml").write_text(quantized)
    command = [sys.executable, "-m", "lstmcast", "config", "validate", "values.yaml", "classes.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (tmp_path / "values.yaml").write_text(config.replace("OUTPUT", "value") + "{kind: tyo}")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "'toy'" in done.stderr
