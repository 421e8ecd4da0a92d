"""Ways to run the program, and tiny runs that the tests share; a test that changes a run copies it first."""

import contextlib
import copy
import csv
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from lstmcast import cli as program


def restore_signals():
    """Undo what the program does to the signals of its process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


restore_signals()

SINES = {
    "seed": 1,
    "data": {"kind": "sine_bank", "sequences": 6, "length": 60, "scale": 5, "test_sequences": 2},
    "model": {"hidden_sizes": [4]},
    "optimizer": {"kind": "adam"},
    "training": {"steps": 3},
}
TWO = {
    "data": {"kind": "series", "path": "two.csv", "columns": ["a", "b"], "timesteps": 20},
    "model": {"hidden_sizes": [4], "cell": "gru"},
    "optimizer": {"kind": "adam", "learning_rate": 0.01},
    "training": {"steps": 5, "batch_size": 8},
}
TIMED = TWO | {
    "model": TWO["model"] | {"autoregression": 6},
    "data": TWO["data"]
    | {
        "path": "timed.csv",
        "time_column": "when",
        "missing": "interpolate",
        "covariates": {"periods": [24.0, 31.4], "subtract": True},
    },
}
BINS = {
    "data": {"kind": "quantized", "bins": 8, "source": SINES["data"]},
    "model": {"hidden_sizes": [4], "output": "categorical"},
    "optimizer": {"kind": "adam"},
    "training": {"steps": 3},
}
LETTERS = BINS | {"data": {"kind": "text", "path": "names.txt", "test_share": 0.3}}
NAMES = ["anna", "hanna", "otto", "lina", "nina", "ottilie", "tina", "anne"]


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    @property
    def rows(self):
        return list(csv.DictReader(io.StringIO(self.out)))

    def done(self):
        """Demand success."""
        assert self.code == 0, self.err
        return self

    def refused(self, code, *needles):
        """Demand one clear error that names the place, and nothing else."""
        assert self.code == code, self.err
        assert self.out == ""
        assert self.err.count("error: ") == 1, self.err
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        for needle in needles:
            assert needle in self.err
        return self


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(scope="session")
def cli():
    """Run the program in this process; ``terminal`` makes both streams look like one."""

    def call(*arguments, terminal=False):
        out, err = (Terminal() if terminal else io.StringIO() for _ in range(2))
        argv = sys.argv
        sys.argv = ["lstmcast", *map(str, arguments)]
        code = 0
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                program.main()
        except SystemExit as leaving:
            code = leaving.code or 0
        finally:
            sys.argv = argv
            restore_signals()
        return Outcome(int(code), out.getvalue(), err.getvalue())

    return call


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "lstmcast", *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"} | options,
    )


@pytest.fixture(scope="session")
def launch():
    """Start the program as a process of its own."""
    return start


@pytest.fixture(scope="session")
def shell():
    """Run the program as a process of its own; an ``env`` value of None removes the variable."""

    def run(*arguments, env=None, **options):
        changed = os.environ | (env or {})
        changed = {name: value for name, value in changed.items() if value is not None}
        process = start(*arguments, env=changed, **options)
        out, err = process.communicate(timeout=60)
        return Outcome(process.returncode, out or "", err or "")

    return run


def write_config(path, base, changes):
    """Write a config with some keys changed, given as ``section__key=value``."""
    config = copy.deepcopy(base)
    for key, value in changes.items():
        *sections, last = key.split("__")
        node = config
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def write_two(path, scale=1.0, offset=0.0):
    """Write 120 rows of two waves, in any units."""
    rows = [(math.sin(i / 5), 2 + math.cos(i / 7)) for i in range(120)]
    lines = [f"{i},{a * scale + offset!r},{b * scale + offset!r}" for i, (a, b) in enumerate(rows)]
    path.write_text("\n".join(["when,a,b", *lines]) + "\n", encoding="utf-8")
    return path


def write_timed(path):
    """Write the same as hours of a year; three of them are missing."""
    start = datetime(2010, 1, 1, 5)
    header, *rows = write_two(path).read_text().splitlines()
    rows = [f"{(start + timedelta(hours=i)).isoformat()},{row.partition(',')[2]}" for i, row in enumerate(rows)]
    path.write_text("\n".join([header, *rows[:30], *rows[33:]]) + "\n", encoding="utf-8")


@pytest.fixture
def sines_config(tmp_path):
    """Write a variant of the config of the run ``sines``."""
    return lambda **changes: write_config(tmp_path / "sines.yaml", SINES, changes)


@pytest.fixture
def two_config(tmp_path):
    """Write a variant of the config of the run ``two``, and its data in units of ``scale`` and ``offset``."""

    def write(scale=1.0, offset=0.0, **changes):
        write_two(tmp_path / "two.csv", scale, offset)
        return write_config(tmp_path / "two.yaml", TWO, changes)

    return write


@dataclass(frozen=True)
class Trained:
    """A finished run and what its training printed with --json."""

    path: Path
    output_dir: Path
    config: Path
    outcome: Outcome


@pytest.fixture(scope="session")
def train(tmp_path_factory, cli):
    """Train a config in a folder that also holds the data."""
    folder = tmp_path_factory.mktemp("lstmcast")
    write_two(folder / "two.csv")
    write_timed(folder / "timed.csv")
    (folder / "names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")

    def run(name, base):
        config, outputs = write_config(folder / f"{name}.yaml", base, {}), folder / name
        outcome = cli("train", "--config", config, "--name", name, "--output-dir", outputs, "--json").done()
        return Trained(outputs / name, outputs, config, outcome)

    return run


@pytest.fixture(scope="session")
def sines(train):
    """Return a run of three steps on six sines."""
    return train("sines", SINES)


@pytest.fixture(scope="session")
def two(train):
    """Return a run of five steps on two columns of a CSV file."""
    return train("two", TWO)


@pytest.fixture(scope="session")
def timed(train):
    """Return a run that knows two periods, on hours that have a date."""
    return train("timed", TIMED)


@pytest.fixture(scope="session")
def bins(train):
    """Return a run that forecasts the sines by classification."""
    return train("bins", BINS)


@pytest.fixture(scope="session")
def letters(train):
    """Return a run on the letters of names."""
    return train("letters", LETTERS)


@pytest.fixture
def damaged(tmp_path, sines):
    """Return a copy of the run ``sines`` that a test may change."""
    return Path(shutil.copytree(sines.path, tmp_path / "outputs" / "damaged"))
