"""How well each shipped recipe forecasts PyTorch's sine example, on seeds that none was tuned on.

Run it with ``make recipes``, or ``python benchmarks/recipes.py --quick``; it prints one table and writes
``outputs/recipes.json``. R1k and R10k are the RMSE of rollouts of 1,000 and 10,000 steps on the three test rows,
H that of 1,000 steps on 100 fresh phases; a pass is 97 x 999 steps of a sequence, forward and backward.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lstmcast.config.load import load
from lstmcast.data.dataset import Dataset
from lstmcast.experiment.train_run import StopRequest, Training
from lstmcast.experiment.trained import load_forecaster

SEEDS = (10, 11, 12, 13, 14)
AS_POSTED = ("training.rollout=null", "training.clip=null", "training.weight_average=null", "then=[]")
PLAIN = ("schedule={kind: constant}", "data.timesteps=null", "training.warmup=0", "training.steps=105")
# name in the table, config, overrides, whether it is in the quick version
RECIPES: list[tuple[str, str, tuple[str, ...], bool]] = [
    ("Adam 0.08, next-step targets (as posted)", "adam-minibatches", (
        *AS_POSTED, *PLAIN, "optimizer={kind: adam, learning_rate: 0.08}"), False),
    ("the same, only the rate lowered to 3e-3", "adam-minibatches", (
        *AS_POSTED, *PLAIN, "optimizer={kind: adam, learning_rate: 3e-3}"), False),
    ("`adam-minibatches`", "adam-minibatches", (), False),
    ("`adam-minibatches` without its second stage", "adam-minibatches", ("then=[]",), False),
    ("`sgd-scheduler`", "sgd-scheduler", (), False),
    ("`sine-waves`", "sine-waves", (), True),
    ("`adam-then-lbfgs`", "adam-then-lbfgs", (), True),
    ("`levenberg-marquardt`", "levenberg-marquardt", (), True),
    ("`levenberg-marquardt`, LSTM of 8", "levenberg-marquardt", ("model.cell=lstm", "model.hidden_sizes=[8]"), False),
    ("`pytorch-example-lbfgs`", "pytorch-example-lbfgs", (), False),
]  # fmt: skip


def sines(phases: np.ndarray, start: int, steps: int) -> np.ndarray:
    """Return sin((t + phase)/20) for t from ``start`` on, ``(N, steps, 1)``."""
    return np.sin((np.arange(start, start + steps) + phases[:, None]) / 20)[:, :, None]


def run(config: str, overrides: tuple[str, ...], seed: int) -> dict[str, Any]:
    """Train one recipe with one seed, and measure it."""
    started = time.process_time()
    # one process: its processor's seconds are all, and the last bits do not depend on the number of cores
    training = Training(load(config, [*overrides, "model.processes=1"], seed))
    steps = 0

    def counted(loss):
        def evaluate(batch):
            nonlocal steps
            steps += batch.inputs.shape[0] * batch.inputs.shape[1]
            return loss(batch)

        return evaluate

    for trainer in training._trainers:
        trainer.engine.loss_and_gradient = counted(trainer.engine.loss_and_gradient)
    with tempfile.TemporaryDirectory() as folder:
        result = training.execute(Path(folder), None, "recipe", StopRequest())
        if result.status not in ("finished", "diverged"):
            raise SystemExit(result.status)
        seconds = time.process_time() - started
        trained = load_forecaster(result.run, "recipes")
    dataset = training.dataset
    assert isinstance(dataset, Dataset)

    def rmse(known: np.ndarray, truth: np.ndarray) -> float:
        errors = (step - truth[:, t] for t, step in enumerate(islice(trained.forecaster.stream(known), truth.shape[1])))
        return float(np.sqrt(np.mean([np.mean(error**2) for error in errors])))

    known = dataset.test.rows[:, : dataset.test.origin]
    # the phase of a row lies in its first two values: sin a and sin(a + 1/20)
    first, second = known[:, 0, 0], known[:, 1, 0]
    angle = np.arctan2(first, (second - first * np.cos(1 / 20)) / np.sin(1 / 20))
    fresh = np.random.default_rng([seed, 99]).uniform(-80, 80, 100)
    return {
        "seed": seed,
        "status": result.status,
        "R1k": rmse(known, sines(20 * angle, known.shape[1], 1000)),
        "H": rmse(sines(fresh, 0, 1000), sines(fresh, 1000, 1000)),
        "R10k": rmse(known, sines(20 * angle, known.shape[1], 10_000)),
        "passes": steps / (97 * 999),
        "seconds": seconds,
        "verdict": result.summary()["verdict"],
    }


def row(name: str, results: list[dict[str, Any]]) -> list[str]:
    """Return one recipe's row: medians, the worst of R1k, and the number that diverged."""

    def median(key: str) -> float:
        return statistics.median(result[key] for result in results)

    worst = max(result["R1k"] for result in results)
    diverged = sum(result["status"] == "diverged" for result in results)
    return [
        name,
        f"{median('R1k'):.2g} / {worst:.2g}",
        f"{median('H'):.2g}",
        f"{median('R10k'):.2g}",
        str(diverged),
        f"{median('passes'):.0f}",
        f"{median('seconds'):.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the fast recipes, one seed")
    parser.add_argument("--only", help="recipes whose name contains this")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    console, table = Console(width=140), Table(title="PyTorch's sine example: RMSE of rollouts")
    for heading in ("recipe", "R1k median / worst", "H", "R10k", "diverged", "passes", "CPU s"):
        table.add_column(heading)
    report = {}
    for name, config, overrides, quick in RECIPES:
        if (arguments.quick and not quick) or (arguments.only and arguments.only not in name):
            continue
        results = []
        for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
            results.append(run(config, overrides, seed))
            console.print(f"{name}: {results[-1]}", style="dim", highlight=False, soft_wrap=True)
        report[name] = results
        table.add_row(*row(name, results))
    console.print(table)
    Path("outputs").mkdir(exist_ok=True)
    Path("outputs/recipes.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
