"""Files from strangers, names nobody should choose, and places where nothing can be written."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime

import pytest

from lstmcast import files, runs
from lstmcast.config.load import load
from lstmcast.errors import InvalidError
from lstmcast.experiment import train_run
from lstmcast.experiment.trained import load_trained

DEEP = 40_000
YAMLS = {
    "merge bomb": "a: &a {x: 1}\n" + "".join(f"b{k}: &b{k} {{<<: [*a, *a]}}\n" for k in range(20)),
    "laughs": "a: &a [lol]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "anchor": "seed: &x 1\n",
    "brackets": "[" * DEEP,
    "braces": "{" * DEEP,
    "dashes": "- " * (DEEP // 2),
    "questions": "? " * (DEEP // 2),
    "quotes": '"' + "\\" * DEEP,
    "digits": "seed: " + "9" * DEEP,
    "exponent": "seed: 1e99999",
    "date": "seed: 2001-99-99",
    "octal": "seed: 0o7777777777777777777777777777777",
    "sexagesimal": "seed: 190:20:30",
    "python": "seed: !!python/object/apply:os.system ['touch HACKED']",
    "python new": "seed: !!python/object/new:subprocess.Popen [[touch, HACKED]]",
    "python name": "optimizer: !!python/name:os.system",
    "python module": "optimizer: {kind: !!python/module:os }",
    "binary": "seed: !!binary aGFja2Vk",
    "local tag": "seed: !x {}",
    "class path": "optimizer: {kind: torch.optim.Adam}",
    "target": "optimizer: {_target_: os.system, kind: adam}",
    "import": "data: {kind: __import__('os').system('touch HACKED')}",
    "template": "seed: ${os.system('touch HACKED')}",
    "merge key": "<<: {seed: 1}\n",
    "two documents": "seed: 1\n---\nseed: 2\n",
    "directive": "%TAG ! tag:yaml.org,2002:python/\n---\nseed: !name:os.system\n",
    "half a surrogate": 'seed: "\\ud800"',
    "null character": 'seed: "\\0"',
    "not UTF-8": b"seed: \xff\xfe",
    "UTF-16": "seed: 1".encode("utf-16"),
    "large": "#" * 2**21,
    "list": "[1]",
    "empty": "",
    "huge data": "data: {kind: sine_bank, sequences: 1000000, length: 100000000}\noptimizer: {kind: adam}\n"
    "training: {steps: 1}\n",
    "huge network": "data: {kind: sine_bank}\nmodel: {hidden_sizes: [65536, 65536]}\noptimizer: {kind: adam}\n"
    "training: {steps: 1}\n",
}
CSVS = {
    "empty": "",
    "one field": "a\n" + "1" * 300_000,
    "quotes": '"' * 200_000,
    "open quote": 'a,b\n"1,2\n',
    "columns": ",".join(f"c{k}" for k in range(50_000)) + "\n1\n",
    "header twice": "a,a\n1,2\n",
    "formula": "a\n=cmd|'/c calc'!A1\n",
    "underscores": "a\n1_000\n",
    "full width": "a\n１２\n",
    "arabic": "a\n٣\n",
    "infinity": "a\ninf\n",
    "overflow": "a\n1e999\n",
    "digits": "a\n" + "9" * 100_000 + "\n",
    "hexadecimal": "a\n0x10\n",
    "gap": "a\n1\n\n2\n",
    "NaN": "a\nNaN\n",
    "short row": "a,b\n1\n",
    "long row": "a\n1,2\n",
    "null character": "a\n1\0\n",
    "not UTF-8": b"a\n\xff\n",
    "UTF-16": "a\n1\n".encode("utf-16"),
    "HTML": "<html><script>alert(1)</script></html>",
    "zip": b"PK\x03\x04" + bytes(1000),
    "pickle": b"\x80\x04\x95cos\nsystem\n.",
    "too few rows": "a\n1\n2\n",
}
SERIES = (
    "data: {kind: series, path: data.csv, columns: [a], timesteps: 5}\noptimizer: {kind: adam}\ntraining: {steps: 1}\n"
)


PROCESSES = {"os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove", "os.rename"}


@pytest.fixture
def watched():
    """Return a context in which an audit hook notes what data must never cause."""
    forbidden = []

    class Watch:
        active = False

        def __enter__(self):
            Watch.active = True
            return forbidden

        def __exit__(self, *_):
            Watch.active = False

    def hook(event, arguments):
        if not Watch.active:
            return
        name = event.split(".")[0]
        if event in ("exec", "compile"):
            # what Python itself runs of installed modules
            wrong = not getattr(arguments[0], "co_filename", "").endswith(".py")
        elif event == "open":
            wrong = isinstance(arguments[1], str) and bool(set(arguments[1]) & set("wax+"))
        else:
            wrong = name in ("subprocess", "socket", "ctypes", "pty") or event in PROCESSES
        if wrong:
            forbidden.append((event, str(arguments)[:200]))

    sys.addaudithook(hook)
    return Watch()


@pytest.fixture
def refused(watched, config, folder, count):
    """Return a check: one clear error, within a second and 64 MiB, nothing executed, nothing written."""
    # what is imported or compiled once is so now
    train_run.Training(load(str(config)))
    (folder / "first.yaml").write_text("seed: .inf\n")
    with pytest.raises(InvalidError):
        load(str(folder / "first.yaml"))

    def check(path):
        before = sorted(folder.rglob("*"))
        peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        with watched as forbidden, pytest.raises((InvalidError, MemoryError)) as caught:
            train_run.Training(load(str(path)))
        assert forbidden == []
        assert time.process_time() - started < 1
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024 < 64
        assert len(str(caught.value)) < 6000
        assert sorted(folder.rglob("*")) == before
        count("hostile configs and tables refused")

    return check


@pytest.mark.parametrize("case", YAMLS)
def test_hostile_configs(refused, folder, case):
    text = YAMLS[case]
    config = folder / "hostile.yaml"
    config.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(config)


@pytest.mark.parametrize("case", CSVS)
def test_hostile_tables(refused, folder, case):
    content = CSVS[case]
    (folder / "data.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "series.yaml").write_text(SERIES)
    refused(folder / "series.yaml")


def test_the_hook_sees_what_it_forbids(watched, folder):
    with watched as forbidden:
        (folder / "file").write_text("x")
        eval("1 + 1")
        subprocess.run(["true"], check=True)
    assert {event for event, _ in forbidden} >= {"open", "compile", "subprocess.Popen"}


@pytest.mark.parametrize("future", ["0", "-1", "1e6", str(10**30), "nan", "", "١"])
def test_futures(cli_main, trainings, folder, future, count):
    run = trainings.start(folder)
    code, err = cli_main("predict", run.path, f"--future={future}")
    assert (code, "internal error" in err) == (2, False), err
    count("odd arguments refused")


@pytest.mark.parametrize(
    "name", ["../x", "/abs", "a\0b", "a\nb", "n" * 300, "\x1b[31m", "..", "", "-x", "CON\t", "a/b", "‮"]
)
def test_names(cli_main, config, folder, name, count):
    for arguments in (("train", "--config", config, "--name", name), ("predict", name)):
        code, err = cli_main(*arguments, "--output-dir", folder / "outputs")
        assert code in (2, 4), err
        assert "\x1b[31m" not in err
        assert "internal error" not in err
    assert not (folder / "outputs").exists()
    assert not (folder / "x").exists()
    count("odd arguments refused", 2)


def test_a_full_disk(trainings, unbroken, config, folder, server, count):
    """A real limit of the system: no file may grow beyond a few KB."""
    run, output = runs.Run(folder / "run"), folder / "output"
    arguments = ("train", "--config", config, "--output-dir", folder, "--name", "run", "--quiet")
    for limit in (0, 300, 2_000, 4_000):
        code = server.run(*arguments, output=output, every_step=True, limit=limit)
        assert code == 9, output.read_text()
        assert "cannot be written: File too large" in output.read_text()
        assert trainings.temporaries(folder) == []
        if run.manifest.exists():
            trainings.resume(run)
            assert trainings.result(run) == unbroken
        shutil.rmtree(run.path, ignore_errors=True)
        count("full disks survived")


def test_a_closed_pipe(config, folder):
    arguments = [sys.executable, "-m", "lstmcast", "train", "--config", config, "--output-dir", folder, "--json"]
    process = subprocess.Popen([*map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0, err
    (run,) = [path for path in folder.iterdir() if path.is_dir()]
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def test_one_run_is_trained_by_one_process(trainings, cli_main, folder, count):
    run = trainings.start(folder)
    run.write_manifest(status="stopped")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with run.locked():
        code, err = cli_main("train", "--resume", run.path)
        assert (code, "another process is training in it" in err) == (2, True)
        assert len(load_trained(run).columns) == 1  # readers need no lock
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    count("second writers refused")


def test_runs_of_the_same_second_and_clocks_that_jump(trainings, unbroken, folder, monkeypatch, count):
    times = iter([datetime(2030, 1, 1).astimezone(), datetime(1999, 1, 1).astimezone()] * 100)

    class Clock(datetime):
        @classmethod
        def now(cls, zone=None):
            return next(times).astimezone(zone)

    walls = iter(range(10**9, 0, -(10**6)))
    monkeypatch.setattr(runs, "datetime", Clock)
    monkeypatch.setattr(time, "time", lambda: next(walls))
    made = {runs.create(folder / "same", None, "run").path for _ in range(6)}
    assert len(made) == 6
    run = trainings.start(folder)
    assert trainings.result(run) == unbroken
    assert train_run.Training.resume(run).trainer.finished
    count("clocks turned back", 6)


def test_a_folder_that_may_not_be_written(cli_main, config, folder, count):
    for place in ("/proc/lstmcast", "/dev/null/x", str(folder / "file" / "x")):
        (folder / "file").write_text("")
        code, err = cli_main("train", "--config", config, "--output-dir", place)
        assert (code, place in err) == (9, True), err
        count("places that cannot be written")


def test_what_a_kill_left_behind_goes_at_the_next_start(trainings, folder):
    run = trainings.start(folder)
    run.write_manifest(status="stopped")
    dead = [run.path / ".loss.png.01234567.tmp", run.last.parent / ".other.safetensors.89abcdef.tmp"]
    mine = run.path / ".mine.tmp"
    for path in (*dead, mine):
        path.write_text("half")
    trainings.resume(run)
    assert [path.exists() for path in (*dead, mine)] == [False, False, True]
    # a living writer's file stays
    with files.replacing(folder / "other") as file:
        file.write(b"x")
        files.remove_dead_temporaries(folder)
        assert len(trainings.temporaries(folder)) == 2
    assert (folder / "other").read_bytes() == b"x"
