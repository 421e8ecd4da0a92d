"""A tiny training, the ways to start and judge it, and the figures that the suite adds up."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml
from faulty_disk import Disk

from lstmcast import cli, files, runs
from lstmcast.config.load import load
from lstmcast.experiment import train_run
from lstmcast.stop import StopRequest
from lstmcast.training.checkpoints import Checkpoint

# the program listens to signals as soon as it is imported
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)

HERE = Path(__file__).parent
# everything random, scheduled, averaged and selected, so that nothing may be missing from a saved state
CONFIG: dict[str, Any] = {
    "seed": 1,
    "data": {
        "kind": "sine_bank",
        "sequences": 6,
        "length": 60,
        "scale": 5,
        "test_sequences": 2,
        "validation_sequences": 1,
        "timesteps": 10,
    },
    "model": {"hidden_sizes": [4]},
    "optimizer": {"kind": "adam"},
    "schedule": {"kind": "one_cycle"},
    "training": {
        "steps": 4,
        "batch_size": 3,
        "initial_state_std": 0.1,
        "weight_average": 0.9,
        "rollout": {"steps": 4, "start": 0.5},
        "validation": {"every": 2, "metric": "rollout", "horizon": 20},
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.fault)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder in memory, where fsync costs nothing."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="lstmcast-faults-", dir=memory if os.access(memory, os.W_OK) else None))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Trainings:
    """Starts, resumes and judges trainings of one config."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def start(self, output_dir: Path, name: str = "run") -> runs.Run:
        """Train to the end."""
        run = runs.Run(output_dir / name)
        train_run.Training(load(str(self.config))).execute(output_dir, name, "run", StopRequest())
        return run

    def resume(self, run: runs.Run, warn: Callable[[str], None] = lambda _: None) -> None:
        """Go on to the end."""
        train_run.Training.resume(run).execute(run.path.parent, None, "run", StopRequest(), warn=warn)

    @staticmethod
    def result(run: runs.Run) -> dict[str, str]:
        """Return SHA-256 of all that a training leads to: parameters, the optimizer's and all other state, metrics."""
        state = Checkpoint.load(run.last, 2**24)
        for name in ("seconds", "numerics"):
            state.facts.pop(name)
        digest = hashlib.sha256(json.dumps(state.facts, sort_keys=True).encode())
        for name, array in sorted(state.arrays.items()):
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (run.best, run.metrics)}
        return files | {"state": digest.hexdigest()}

    @staticmethod
    def temporaries(path: Path) -> list[Path]:
        return [*path.rglob(".*.tmp")]


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Path]:
    """Write the config with some keys changed, given as ``section__key=value``."""

    def make(path: Path, **changes: Any) -> Path:
        config = copy.deepcopy(CONFIG)
        for key, value in changes.items():
            *sections, last = key.split("__")
            node = config
            for section in sections:
                node = node.setdefault(section, {})
            node[last] = value
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    return make


@contextmanager
def every_step() -> Iterator[pytest.MonkeyPatch]:
    """Save after every step, and leave out scores and pictures: they are files like all others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_run, "SAVE_EVERY", 0.0)
        patch.setattr(train_run.Training, "_finish", lambda _, run, *__: files.write(run.forecast, "series,step\n"))
        yield patch


@pytest.fixture
def trainings(config) -> Iterator[Trainings]:
    """Return trainings that save after every step."""
    with every_step():
        yield Trainings(config)


@pytest.fixture(scope="session")
def config(make_config, tmp_path_factory) -> Path:
    """Return the config."""
    return make_config(tmp_path_factory.mktemp("config") / "config.yaml")


@pytest.fixture(scope="session")
def unbroken(config, tmp_path_factory) -> dict[str, str]:
    """Return what the training leads to when nothing goes wrong."""
    with every_step():
        return Trainings.result(Trainings(config).start(tmp_path_factory.mktemp("unbroken")))


@pytest.fixture(scope="session")
def recorded(config, tmp_path_factory) -> tuple[Path, list[tuple[str, str, Any]]]:
    """Return a folder, and all changes in it by a training, with the states that it acknowledged."""
    root = tmp_path_factory.mktemp("recorded")
    disk = Disk(root)
    create, save = train_run.Training._create, train_run.Training._save

    def created(self: Any, *arguments: Any) -> runs.Run:
        run = create(self, *arguments)
        disk.mark("acknowledged", 0)
        return run

    def saved(self: Any, run: runs.Run, seconds: float) -> None:
        save(self, run, seconds)
        if run.manifest.exists():
            disk.mark("acknowledged", self.trainer.step)

    with every_step() as patch, disk.installed():
        patch.setattr(train_run.Training, "_create", created)
        patch.setattr(train_run.Training, "_save", saved)
        Trainings(config).start(root / "new" / "outputs")
    return root, disk.operations


class Server:
    """The fork server: one child at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "fork_server.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def start(self, *arguments: Any, output: Path, **request: Any) -> int:
        """Start the program; return its process id."""
        assert self._process.stdin
        document = {"arguments": [*map(str, arguments)], "output": str(output), **request}
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        return int(self._read())

    def wait(self) -> tuple[int, float]:
        """Wait for the program's end; return its exit code (less than 0: killed by that signal), and when it ended."""
        code, ended = self._read().split()
        return int(code), float(ended)

    def run(self, *arguments: Any, output: Path, **request: Any) -> int:
        """Run the program to its end; return its exit code."""
        self.start(*arguments, output=output, **request)
        return self.wait()[0]

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin
        self._process.communicate(timeout=60)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return the fork server."""
    server = Server()
    yield server
    server.close()


@pytest.fixture
def cli_main() -> Callable[..., tuple[int, str]]:
    """Run the command line in this process; return its exit code and standard error."""

    def call(*arguments: Any) -> tuple[int, str]:
        err = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()), redirect_stderr(err):
            patch.setattr(sys, "argv", ["lstmcast", *map(str, arguments)])
            patch.setattr(cli, "_listen", lambda: None)
            try:
                cli.main()
            except SystemExit as leaving:
                return int(leaving.code or 0), err.getvalue()
        return 0, err.getvalue()

    return call
