"""Measures lstmcast beside the programs in ``peers.py``; `make bench` prints one table and writes outputs/bench.json.

Each number of threads has a process of its own, which is told it before its first operation. What is compared runs in
turns, after a warm-up; a row gives the median, the fastest and the slowest of the repeats. Run it on an idle machine.

    python benchmarks/speed.py [training engines windows rollout accuracy command growth memory]
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from itertools import islice, pairwise, product
from pathlib import Path

PARTS = ("training", "engines", "windows", "rollout", "accuracy", "command", "growth", "memory")
THREADED = ("training", "rollout")
HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "outputs" / "bench.json"
# the work of PyTorch's example time_sequence_prediction
HIDDEN, STEPS = (51, 51), 999


def in_turns(contenders, repeats):
    """Return the seconds of each contender's runs, taken in turns after one warm-up each."""
    for run in contenders.values():
        run()
    times = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def network_and_parameters(hidden, dtype, cell="lstm"):
    import numpy as np

    from lstmcast.network.description import Network
    from lstmcast.network.parameters import Parameters

    network = Network(cell, 1, tuple(hidden), (), 1)
    parameters = Parameters(network, dtype, shared=True)
    parameters.initialize(network, np.random.default_rng(0))
    return network, parameters


def sines(B, T, dtype):
    import numpy as np

    phase = np.random.default_rng(1).uniform(0, 6, (B, 1, 1))
    rows = np.sin(phase + np.arange(T + 1)[:, None] / 20).astype(dtype)
    return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])


def by_hand(network, parameters, products=None, *, compiled=True):
    """Return the hand-derived engine; compiled, as it is in training after five seconds, or not, as elsewhere."""
    from lstmcast.network.numpy_engine import NumpyEngine
    from lstmcast.network.products import TorchProducts

    engine = NumpyEngine(network, parameters, products or TorchProducts())
    if compiled:
        engine.compile()
    return engine


def by_default(network, parameters, batch, rollout=False):
    """Return the engine that training takes for batches like this one, and what it is."""
    from lstmcast.network.make_engine import make_training_engine
    from lstmcast.network.processes import Processes
    from lstmcast.network.section import ModelSection

    settings = ModelSection(hidden_sizes=list(network.hidden_sizes), device="cpu")
    name = settings.faster_engine(str(parameters.values.dtype), len(batch.inputs), rollout=rollout)
    engine = Processes(make_training_engine(name, network, parameters, device="cpu", recompute=False))
    engine.compile()  # what training comes to after five seconds
    count = engine.parts(batch)
    return engine, f"lstmcast: {name}, {count} process{'es' * (count > 1)}"


def agreed(network, gradient, peers, dtype):
    """Refuse to time what does not compute the same."""
    from peers import mismatch

    for name, peer in peers.items():
        error = mismatch(network, peer.gradient(), gradient)
        if not error < (1e-9 if dtype == "float64" else 2e-3):
            raise SystemExit(f"{name}: its gradient is off by {error:.1e}")


def products_alone(network, products, dtype, B, T):
    """Return a function that does the matrix products of a training step, and nothing else."""
    import numpy as np

    jobs = []
    for layer, (D, H) in enumerate(pairwise((network.input_size, *network.hidden_sizes))):
        back_rows = H + D * (layer > 0)
        shapes = [(4 * H, D + 1 + H), (D + 1 + H, B), (4 * H, B), (back_rows, 4 * H), (back_rows, B)]
        W, z, a, back, dz = (np.random.default_rng(0).standard_normal(shape).astype(dtype) for shape in shapes)
        jobs.append(([products.wrap(array) for array in (W, z, a, back, dz)], a, z, np.zeros_like(W)))

    def run():
        for _ in range(T):
            for (W, z, a, back, dz), da, signal, total in jobs:
                products.multiply(W, z, a)
                products.multiply(back, a, dz)
                products.add_sum(total, da[None], signal[None])

    return run


def training(threads):
    """A training step, loss and gradient, on the work of PyTorch's example."""
    for dtype in ("float64", "float32"):
        for B in (97, 16):
            yield f"training step, {dtype}, batch {B}", "s", training_step(dtype, B, threads)


def training_step(dtype, B, threads):
    from peers import Autograd, Batched, CellLoop, Fused, PerSample

    from lstmcast.data.batches import Batch
    from lstmcast.network.products import NumpyProducts, TorchProducts
    from lstmcast.network.torch_engine import TorchEngine

    network, parameters = network_and_parameters(HIDDEN, dtype)
    inputs, targets = sines(B, STEPS, dtype)
    batch, one = Batch(inputs, targets), (inputs[:1], targets[:1])
    mine, name = by_default(network, parameters, batch)
    slow = PerSample(network, parameters)
    slow(*one)
    alone = by_hand(network, parameters)
    alone.loss_and_gradient(Batch(*one))
    agreed(network, parameters.gradient, {"P3": slow}, dtype)
    peers = {
        "P1 nn.LSTMCell": Autograd(CellLoop, network, parameters),
        "P2 nn.LSTM": Autograd(Fused, network, parameters),
        "P4 batched NumPy": Batched(network, parameters),
    }
    for peer in peers.values():
        peer(inputs, targets)
    mine.loss_and_gradient(batch)
    agreed(network, parameters.gradient, peers, dtype)
    runs = {name: lambda peer=peer: peer(inputs, targets) for name, peer in peers.items()}
    if threads == 1:
        engines = {
            name: mine,
            "numpy engine, 1 process": alone,
            "numpy engine, 1 process, NumPy's products": by_hand(network, parameters, NumpyProducts()),
            "numpy engine, 1 process, not compiled": by_hand(network, parameters, compiled=False),
            "numpy engine, 1 process, NumPy's products, not compiled": by_hand(
                network, parameters, NumpyProducts(), compiled=False
            ),
            "torch engine, 1 process": TorchEngine(network, parameters),
        }
        runs = {name: lambda engine=engine: engine.loss_and_gradient(batch) for name, engine in engines.items()} | runs
        runs["products alone, torch's"] = products_alone(network, TorchProducts(), dtype, B, STEPS)
        runs["products alone, NumPy's"] = products_alone(network, NumpyProducts(), dtype, B, STEPS)
    times = in_turns(runs, 5)
    if threads == 1:
        # a batch takes minutes: one sequence, times their number
        times["P3 per sample (from 1)"] = [B * t for t in in_turns({"": lambda: slow(*one)}, 1)[""]]
    return times


def engines(_threads):
    """Both engines on networks of several sizes, in one process: what `model.engine: auto` goes by."""
    from lstmcast.data.batches import Batch
    from lstmcast.network.products import NumpyProducts
    from lstmcast.network.torch_engine import TorchEngine

    for cell, dtype, H in product(("lstm", "gru"), ("float64", "float32"), (51, 128, 256, 512)):
        network, parameters = network_and_parameters((H, H), dtype, cell)
        batch = Batch(*sines(16, 60, dtype))
        made = {
            "numpy engine": by_hand(network, parameters),
            "numpy engine, not compiled": by_hand(network, parameters, compiled=False),
            "numpy engine, NumPy's products": by_hand(network, parameters, NumpyProducts()),
            "torch engine": TorchEngine(network, parameters),
        }
        runs = {name: partial(engine.loss_and_gradient, batch) for name, engine in made.items()}
        yield f"training step, {cell}, {dtype}, 2 x {H}, batch 16, 60 steps", "s", in_turns(runs, 5)


def windows(_threads):
    """An epoch of the windowed sine: hidden 1, 10 steps, 1,875 batches of 16, optimizer included."""
    import torch
    from peers import Autograd, CellLoop, PerSample

    from lstmcast.config.build import make_dataset, make_trainers
    from lstmcast.config.load import load

    config = load("windowed-sine-tiny", ["training.batch_size=16", "training.loss=every_step", "data.timesteps=10"])
    trainer = make_trainers(config, make_dataset(config))[0]
    trainer.engine.compile()
    network, parameters = network_and_parameters((1,), "float64")
    inputs, targets = sines(16, 10, "float64")
    cells, slow = Autograd(CellLoop, network, parameters), PerSample(network, parameters)
    adam = torch.optim.Adam(cells.module.parameters(), 1e-3)
    flat = torch.nn.Parameter(torch.from_numpy(parameters.values.copy()))
    flat_adam, batches = torch.optim.Adam([flat], 1e-3), 100

    def ours():
        for _ in range(batches):
            trainer.next(lambda: False)

    def loop():
        for _ in range(batches):
            cells(inputs, targets)
            adam.step()

    def per_sample():
        for _ in range(batches // 10):
            slow(inputs, targets)
            flat.grad = torch.from_numpy(slow.gradient())
            flat_adam.step()

    runs = {"lstmcast": ours, "P1 nn.LSTMCell": loop, "P3 per sample": per_sample}
    times = in_turns(runs, 5)
    scale = {"P3 per sample": 10}
    times = {name: [t * 1875 / batches * scale.get(name, 1) for t in taken] for name, taken in times.items()}
    yield "epoch of 1,875 small windows (from 100 batches)", "s", times


def rollout(_threads):
    """Forecasts of 1,000 steps, and training through 250 own predictions."""
    import numpy as np
    import torch
    from peers import Autograd, CellLoop

    from lstmcast.data.batches import Batch
    from lstmcast.forecasting.rollout import Forecaster
    from lstmcast.network.processes import Processes

    network, parameters = network_and_parameters(HIDDEN, "float64")
    made, cells = by_hand(network, parameters), Autograd(CellLoop, network, parameters)
    plain, shared = by_hand(network, parameters, compiled=False), Processes(made)
    for B in (1, 3, 100):
        inputs, _ = sines(B, 20, "float64")

        def ours(engine, processes=None, inputs=inputs):
            return Forecaster(engine, 1, 20, None, processes=processes).rollout(inputs, 1000)

        def loop(inputs=inputs):
            with torch.no_grad():
                return cells.module(torch.from_numpy(inputs), future=999)[:, 19:].numpy()

        runs = {
            "lstmcast": partial(ours, plain),
            "lstmcast, in training after five seconds": partial(ours, made, shared),
        }
        for run in runs.values():
            np.testing.assert_allclose(run(), loop(), rtol=1e-8, atol=1e-10)
        yield f"rollout of 1,000 steps, batch {B}", "s", in_turns(runs | {"P1 nn.LSTMCell": loop}, 9)
    shared.close()
    inputs, targets = sines(16, 270, "float64")
    batch = Batch(inputs, targets, feedback=np.broadcast_to(np.arange(270) >= 20, (16, 270)))
    mine, name = by_default(network, parameters, batch, rollout=True)
    runs = {
        name: lambda: mine.loss_and_gradient(batch),
        "numpy engine, 1 process": lambda: made.loss_and_gradient(batch),
        "P1 nn.LSTMCell": lambda: cells(inputs, targets, warmup=20),
    }
    times = in_turns(runs, 9)
    mine.loss_and_gradient(batch)
    agreed(network, parameters.gradient, {"P1": cells}, "float64")
    yield "training through a rollout of 250 steps, batch 16", "s", times


def command(*arguments):
    return [sys.executable, "-m", "lstmcast", *map(str, arguments)]


def accuracy(_threads):
    """From the start of the process to a rollout error of 0.03 over 1,000 steps, beside 300 passes of the example."""
    from peers import Autograd, CellLoop

    # the forum user's network, Adam, batches of 16: the second stage cut short, for 0.03 is enough
    recipe = ("--config", "adam-minibatches", "then.0.training.steps=100")
    seconds, errors = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(10, 13):
            start = time.perf_counter()
            said = subprocess.run(
                command("train", *recipe, "--seed", seed, "--output-dir", folder, "--json"),
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            seconds.append(time.perf_counter() - start)
            errors.append(json.loads(said.stdout)["rollout"]["rmse"]["1000"])
    name = f"lstmcast train {' '.join(recipe)}, errors {', '.join(f'{error:.2g}' for error in errors)}"
    network, parameters = network_and_parameters(HIDDEN, "float64")
    cells = Autograd(CellLoop, network, parameters)
    inputs, targets = sines(97, STEPS, "float64")
    taken = in_turns({"pass": lambda: cells(inputs, targets)}, 10)["pass"]
    yield "time to accuracy", "s", {name: seconds, "P1, 300 passes (from 10)": [300 * t for t in taken]}


SCRIPT = """
import sys, numpy as np, torch
from torch import nn
torch.set_num_threads(1)
state = torch.load(sys.argv[1])
cells = [nn.LSTMCell(n, 51, dtype=torch.float64) for n in (1, 51)]
linear = nn.Linear(51, 1, dtype=torch.float64)
for module, values in zip([*cells, linear], state["modules"]):
    module.load_state_dict(values)
h = [None, None]
rows = state["history"]
with torch.no_grad():
    y = None
    for t in range(rows.shape[1] + 1000):
        x = rows[:, t] if t < rows.shape[1] else y
        for k, cell in enumerate(cells):
            h[k] = cell(x, h[k])
            x = h[k][0]
        y = linear(x)
        if t >= rows.shape[1] - 1:
            print("\\n".join(f"{n},{t},{v}" for n, v in enumerate(y[:, 0].tolist())))
"""


def spent(arguments):
    """Return the processor's seconds of a process and all that it started."""
    # modules are compiled once, at the first of several runs, as for every user
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, capture_output=True, check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def trained(folder):
    """Return the path of a run with the example's network, trained for one step."""
    said = subprocess.run(
        command(
            "train", "--config", "pytorch-example-lbfgs", "--output-dir", folder, "--name", "run", "--quiet",
            "training.steps=1", "optimizer.max_iterations=1",
        ),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return said.stdout.strip()


def command_line(_threads):
    """The processor's seconds of whole commands, beside a script in torch that forecasts as far."""
    import torch
    from peers import Autograd, CellLoop

    with tempfile.TemporaryDirectory() as folder:
        run = trained(folder)
        network, parameters = network_and_parameters(HIDDEN, "float64")
        module = Autograd(CellLoop, network, parameters).module
        inputs, _ = sines(3, 1000, "float64")
        modules = [part.state_dict() for part in (*module.cells, module.linear)]
        weights, script = Path(folder, "weights.pt"), Path(folder, "forecast.py")
        torch.save({"modules": modules, "history": torch.from_numpy(inputs)}, weights)
        script.write_text(SCRIPT)
        runs = {
            "lstmcast --help": command("--help"),
            "lstmcast predict --future 1000": command("predict", run, "--future", 1000),
            "a script in torch": [sys.executable, str(script), str(weights)],
        }
        times = {name: [] for name in runs}
        for turn in range(4):
            for name, arguments in runs.items():
                seconds = spent(arguments)
                if turn:
                    times[name].append(seconds)
    yield "command line, processor's seconds", "s", times


def growth(_threads):
    """Exponents of the time in steps, batch and horizon: 1 is linear."""
    import numpy as np

    from lstmcast.data.batches import Batch

    network, parameters = network_and_parameters(HIDDEN, "float64")
    made = by_hand(network, parameters)

    def step(B, T):
        batch = Batch(*sines(B, T, "float64"))
        return lambda: made.loss_and_gradient(batch)

    def forecast(horizon):
        inputs, _ = sines(3, 20, "float64")
        return lambda: sum(1 for _ in islice(made.stream(inputs), horizon))

    cases = {
        "steps T, batch 16": {T: step(16, T) for T in (250, 500, 1000, 2000)},
        "batch B, 250 steps": {B: step(B, 250) for B in (32, 64, 128, 256)},
        "horizon, batch 3": {horizon: forecast(horizon) for horizon in (500, 1000, 2000, 4000)},
    }
    for name, runs in cases.items():
        times = {size: min(taken) for size, taken in in_turns(runs, 3).items()}
        exponent = np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0]
        yield f"growth with {name}", "exponent", {"lstmcast": [exponent]}


# of this program alone: getrusage begins with the memory of the process that it was forked from
PEAK = """
import runpy, sys
from pathlib import Path
if sys.argv[1] == "train":
    from lstmcast.training import trainer
    trainer.PAYS = 0
try:
    runpy.run_module("lstmcast", run_name="__main__")
finally:
    print(Path("/proc/self/status").read_text(), file=sys.stderr)
"""


def peak(*arguments):
    """Return the largest memory of lstmcast with these arguments, in MiB."""
    said = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True, check=True)
    return int(said.stderr.rpartition("VmHWM:")[2].split()[0]) / 1024


def memory(_threads):
    """The memory of whole processes: one step of training on 100,000 steps, and forecasts of a million."""
    with tempfile.TemporaryDirectory() as folder:
        run = trained(folder)
        ahead = {"a thousand steps": "1000", "a million steps": "1000000"}
        taken = {
            name: [peak("predict", run, "--future", future, "-o", str(Path(folder, f"{future}.csv")))]
            for name, future in ahead.items()
        }
        yield "memory of lstmcast predict", "MiB", taken
        long = [
            "train", "--config", "pytorch-example-lbfgs", "--output-dir", folder, "--quiet", "training.steps=1",
            "optimizer.max_iterations=1", "data.length=100001", "data.sequences=2", "data.test_sequences=1",
        ]  # fmt: skip
        ways = {
            "every 317th step remembered": ["model.recompute=true"],
            "windows of 1,000 steps": ["data.timesteps=1000", "training.batch_size=32"],
        }
        taken = {name: [peak(*long, *more)] for name, more in ways.items()}
        yield "memory of a training step on 100,000 steps", "MiB", taken


MEASURES = {
    "training": training, "engines": engines, "windows": windows, "rollout": rollout, "accuracy": accuracy,
    "command": command_line, "growth": growth, "memory": memory,
}  # fmt: skip


def work(threads, parts):
    """Measure in this process, a line of JSON for each comparison."""
    import torch

    torch.set_num_threads(threads)
    for part in parts:
        for what, unit, times in MEASURES[part](threads):
            print(json.dumps({"what": what, "unit": unit, "threads": threads, "times": times}), flush=True)


def main(parts):
    """Measure in one process a number of threads, print the table, write the file."""
    from statistics import median

    from rich.console import Console
    from rich.table import Table

    if os.getloadavg()[0] > 0.5:
        print(f"the machine is not idle (load {os.getloadavg()[0]:.1f}): expect noise", file=sys.stderr)
    rows = []
    for threads in (1, min(2, os.cpu_count() or 1)):
        wanted = [part for part in parts if threads == 1 or part in THREADED]
        if not wanted or (threads == 1 and rows):
            continue
        variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(variables, str(threads))
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), "--work", str(threads), *wanted],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in process.stdout:
            rows.append(json.loads(line))
            print(f"measured: {rows[-1]['what']}, {threads} thread(s)", file=sys.stderr)
        if process.wait():
            raise SystemExit(process.returncode)
    table = Table(title="lstmcast and its peers")
    for column in ("what", "who"):
        table.add_column(column)
    for column in ("threads", "median", "fastest", "slowest", "unit", "/ lstmcast"):
        table.add_column(column, justify="right")
    for what in dict.fromkeys(row["what"] for row in rows):
        same = [(row, name, taken) for row in rows if row["what"] == what for name, taken in row["times"].items()]
        ours = [median(taken) for row, name, taken in same if name.startswith("lstmcast") and row["unit"] == "s"]
        for row, name, taken in same:
            numbers = (f"{number:.4g}" for number in (median(taken), min(taken), max(taken)))
            ratio = f"{median(taken) / min(ours):.2f}" if ours else ""
            table.add_row(what, name, str(row["threads"]), *numbers, row["unit"], ratio)
        table.add_section()
    Console(width=150).print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps({"schema_version": 1, "cores": os.cpu_count(), "rows": rows}, indent=1) + "\n")
    print(OUTPUT)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        sys.path.insert(0, str(HERE))
        work(int(sys.argv[2]), sys.argv[3:])
    elif unknown := set(sys.argv[1:]) - set(PARTS):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    else:
        main(sys.argv[1:] or PARTS)
