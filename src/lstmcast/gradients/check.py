"""The check of a config's own network: its backward pass against derivatives that do without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from lstmcast.arrays import Array
from lstmcast.config.schema import Config
from lstmcast.data.batches import Batch, loss_weights
from lstmcast.errors import UsageError
from lstmcast.gradients.oracles import EngineMaker, Objective, central_differences, complex_step
from lstmcast.gradients.report import ParameterResult, Report
from lstmcast.network.description import Network
from lstmcast.network.engine import EngineName
from lstmcast.network.make_engine import make_engine, make_training_engine
from lstmcast.network.numpy_engine import MANY, NumpyEngine
from lstmcast.network.parameters import Parameters

OracleName = Literal["complex", "central", "torch", "all"]

# relative error that is still rounding: exact oracles, and differences of losses
EXACT, DIFFERENCED = 1e-10, 1e-6
# a part whose gradient is below this share of the whole is measured against that share
FLOOR = 1e-6
# the sizes of the small problems, in which every variable is checked for itself
SMALL = (4, 3, 5, 2)
CLASSES = 6
# directions in which each part of the full-sized network is checked
DIRECTIONS = 3


def check_config(config: Config, oracle: OracleName = "complex", rollout: int | None = None) -> Report:
    """Check the gradient of a config's network, by the engine of its first stage, against an oracle.

    Small problems of the network's structure are checked variable by variable: every parameter, input and initial
    state; several lengths, batches and layer counts, zero and other initial states, sequences of different lengths,
    the loss on every or the last step as in the config, and rollouts of fed-back steps with and without a warm-up.
    The network in its full size is checked by complex step in random directions, part by part, or by torch alone in
    every variable. Where torch is the oracle, the NumPy engine is also checked as training runs it: with torch's
    products and compiled passes.

    Args:
        config: the config; of its data only the horizon is used.
        oracle: "complex" step, "central" differences, "torch" autograd, or "all" of them.
        rollout: steps fed back in the rollout's problem; None: 3, 0: none.

    Raises:
        UsageError: if a rollout is asked of a network whose outputs cannot be fed back.
    """
    categorical = config.model.output == "categorical"
    if rollout and categorical:
        raise UsageError("--rollout: a drawn class has no gradient; a categorical network has no rollout to check")
    if rollout and config.last_step_loss:
        raise UsageError("--rollout: with the loss on the last step alone no prediction is ever read")
    if rollout is not None and not 0 <= rollout <= 1000:
        raise UsageError(f"--rollout {rollout}: must be from 0 to 1,000")
    random = np.random.default_rng(config.seed)
    engine = config.stages[0].engine
    make = partial(make_engine, engine, recompute=config.model.recompute)
    results: dict[str, ParameterResult] = {}
    notes: list[str] = []
    oracles: tuple[str, ...] = ("complex", "central", "torch") if oracle == "all" else (oracle,)
    problems = list(small_problems(config, random, rollout))
    for problem in problems:
        gradient = problem.gradient(make)
        for name in oracles:
            _compare_all(problem, name, engine, gradient, results, notes)
    notes.append(f"{len(problems)} small problems, every variable for itself: " + ", ".join(p.label for p in problems))
    if "torch" in oracles and engine == "numpy":
        many = make_problem(config, random, f"as in training, B {MANY}", problems[0].network, T=5, B=MANY)
        gradient = many.gradient(partial(_as_in_training, config))
        _compare_all(many, "torch", engine, gradient, results, notes)
        notes.append(f"{many.label}: with torch's matrix products and, where there are any, compiled passes")
    elif engine == "numpy":
        notes.append(
            "training takes torch's matrix products for large batches, and compiled passes in time; not run here, but"
            " with --oracle torch"
        )
    elif config.model.device != "cpu":
        notes.append("checked on the processor, not on a GPU")
    if any(stage.engine != engine for stage in config.stages):
        notes.append(f"checked with the {engine} engine, as in the first stage; a later stage takes the other one")
    if config.model.dtype == "float32":
        notes.append("checked in float64; the config trains in float32")
    full = make_problem(
        config,
        random,
        "full size",
        config.model.network(CLASSES if categorical else 1, config.known_features),
        T=6,
        B=2,
    )
    if oracle == "torch":
        _compare_all(full, oracle, engine, full.gradient(make), results, notes)
        how = "every variable for itself"
    else:
        _compare_directions(full, make, random, results)
        how = f"in {DIRECTIONS} random directions a part"
    notes.append(f"the full size, {len(full.values):,} parameters, {how}")
    worst = max(result.relative_error for result in results.values())
    return Report(
        passed=all(result.passed for result in results.values()),
        oracle=oracle,
        worst_relative_error=worst,
        parameters=results,
        notes=tuple(notes),
    )


def small_problems(config: Config, random: np.random.Generator, rollout: int | None) -> Iterator[Objective]:
    """Yield the battery of small problems of a config's structure."""
    model = config.model
    features = CLASSES if model.output == "categorical" else 2
    sizes = tuple(SMALL[layer % len(SMALL)] for layer in range(min(len(model.hidden_sizes), 3)))
    network = replace(
        model.network(features, min(config.known_features, 2)),
        hidden_sizes=sizes,
        head_sizes=tuple(3 + k % 2 for k in range(len(model.head_sizes))),
    )
    deeper = replace(network, hidden_sizes=(*sizes, 3))

    problem = partial(make_problem, config, random)

    yield problem("T 5, B 3", network, T=5, B=3)
    yield problem("zero state", network, T=4, B=2, zero_state=True)
    yield problem("T 1, B 1", network, T=1, B=1)
    yield problem("T 2, B 1", network, T=2, B=1)
    yield problem("all sizes equal", replace(network, hidden_sizes=(3,) * len(sizes)), T=3, B=3)
    yield problem("one layer more", deeper, T=3, B=2)
    yield problem("different lengths", network, T=6, B=4, ragged=True)
    feedable = model.output == "value" and not config.last_step_loss
    steps = 3 if rollout is None else rollout
    if feedable and steps:
        T = config.generator.horizon + 2 + steps
        yield problem(f"rollout of {steps}", network, T=T, B=2, fed=steps)
        # predictions that are read and not counted, and counted before any is read
        yield problem("rollout, long warm-up", network, T=T, B=2, fed=steps, warmup=T - 1)
        yield problem("rollout, short warm-up", network, T=T, B=2, fed=steps, warmup=1)


def make_problem(
    config: Config,
    random: np.random.Generator,
    label: str,
    network: Network,
    *,
    T: int,
    B: int,
    zero_state: bool = False,
    ragged: bool = False,
    fed: int = 0,
    warmup: int = 0,
) -> Objective:
    """Make a problem with random parameters, none of them zero, random inputs, targets and initial state."""
    values = 0.5 * random.standard_normal(network.size)
    values += np.copysign(0.05, values)
    F = network.input_size
    if network.output == "categorical":
        inputs, targets = (np.eye(F)[random.integers(0, F, (B, T))] for _ in range(2))
    else:
        inputs = random.standard_normal((B, T, F))
        targets = random.standard_normal((B, T, network.output_size))
    lengths = random.integers(2, T + 1, B) if ragged else np.full(B, T)
    if ragged:
        lengths[0] = T
    feedback = np.arange(T) >= lengths[:, None] - fed if fed else None
    batch = Batch(
        inputs,
        targets,
        loss_weights(lengths, T, last_step=config.last_step_loss, warmup=warmup),
        feedback,
        config.generator.horizon,
        np.zeros((B, network.state_size)) if zero_state else 0.5 * random.standard_normal((B, network.state_size)),
        lengths,
    )
    return Objective(label, network, values, batch)


def _as_in_training(config: Config, network: Network, parameters: Parameters) -> NumpyEngine:
    """Make the NumPy engine that training has come to after some time."""
    recompute = config.model.recompute
    engine = make_training_engine("numpy", network, parameters, device="cpu", recompute=recompute)
    assert isinstance(engine, NumpyEngine)
    engine.compile()
    return engine


def _compare_all(
    problem: Objective,
    oracle: str,
    engine: EngineName,
    gradient: Array,
    results: dict[str, ParameterResult],
    notes: list[str],
) -> None:
    """Compare every variable with an oracle, part by part; keep the worst of each part."""
    scale = float(np.linalg.norm(gradient))
    tolerance = EXACT
    smooth = np.ones(len(gradient), dtype=bool)
    likely_error = np.zeros(len(gradient))
    if oracle == "complex":
        truth = complex_step(problem)
    elif oracle == "torch":
        # the other engine: autograd beside the hand-derived pass, whichever of the two the config has
        truth = problem.gradient(partial(make_engine, "torch" if engine == "numpy" else "numpy"))
    else:
        central = central_differences(problem)
        truth, likely_error, tolerance = central.gradient, central.error, DIFFERENCED
        smooth = ~central.kink
        if central.kink.any():
            notes.append(f"{problem.label}: {central.kink.sum()} variables at a bend of a ReLU are left out")
    for name, places in problem.slices.items():
        kept = places[smooth[places]]
        ours, true = gradient[kept], truth[kept]
        floor = FLOOR * scale + float(np.linalg.norm(likely_error[kept]))
        error = relative_error(ours, true, floor)
        worst = None
        if len(kept):
            worst = (int(kept[np.abs(ours - true).argmax()] - places[0]),)
        note = f"{problem.label}, {oracle}"
        _keep_worst(results, name, ParameterResult(error, error <= tolerance, worst, note))


def _compare_directions(
    problem: Objective, make: EngineMaker, random: np.random.Generator, results: dict[str, ParameterResult]
) -> None:
    """Compare derivatives of the full-sized network along random directions of each part."""
    gradient = problem.gradient(make)
    scale = float(np.linalg.norm(gradient))
    for name, places in problem.slices.items():
        directions = np.zeros((DIRECTIONS, len(gradient)))
        directions[:, places] = random.standard_normal((DIRECTIONS, len(places)))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        error = relative_error(directions @ gradient, complex_step(problem, directions), FLOOR * scale)
        _keep_worst(results, name, ParameterResult(error, error <= EXACT, None, f"{problem.label}, complex"))


def relative_error(ours: Array, true: Array, floor: float) -> float:
    """Return ‖ours - true‖ / max(‖ours‖, ‖true‖, floor); 0 where all of it is 0, infinite where ours is not finite."""
    if not np.isfinite(ours).all():
        return float("inf")
    difference = float(np.linalg.norm(ours - true))
    size = max(float(np.linalg.norm(ours)), float(np.linalg.norm(true)), floor)
    return difference / size if difference else 0.0


def _keep_worst(results: dict[str, ParameterResult], name: str, result: ParameterResult) -> None:
    known = results.get(name)
    if known is None or (result.passed, -result.relative_error) < (known.passed, -known.relative_error):
        results[name] = result
