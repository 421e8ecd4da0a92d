"""Pipes, full disks, odd locales and missing displays."""

import os
import subprocess
from pathlib import Path

import pytest

from lstmcast.runs import Run

BARE = {"LC_ALL": "C", "LANG": None, "HOME": None, "TERM": None, "DISPLAY": None, "WAYLAND_DISPLAY": None}
DUMB = {"TERM": "dumb", "NO_COLOR": "1", "DISPLAY": "nowhere:7"}
NONSENSE = {"MPLBACKEND": "nonsense"}


def test_a_reader_that_leaves_is_no_error(launch, sines):
    with launch("predict", sines.path, "--future", 1_000_000_000) as process:
        head = subprocess.run(["head", "-1"], stdin=process.stdout, stdout=subprocess.PIPE, check=True)
        process.stdout.close()
        assert head.stdout == b"series,step,value\n"
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "command",
    ["predict RUN", "predict RUN --format json --future 9", "evaluate RUN", "config schema", "--version", "--help"],
)
def test_a_full_disk_behind_standard_output(shell, sines, command):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        outcome = shell(*command.replace("RUN", str(sines.path)).split(), stdout=full)
    outcome.refused(9, "standard output", "No space left")


def close(*numbers):
    return lambda: [os.close(number) for number in numbers]


@pytest.mark.parametrize("command", ["evaluate RUN", "predict RUN", "config list", "--version", "--help"])
def test_a_closed_standard_output_cannot_be_written(shell, sines, command):
    arguments = command.replace("RUN", str(sines.path)).split()
    shell(*arguments, preexec_fn=close(1)).refused(9, "standard output", "Bad file descriptor")


@pytest.mark.parametrize(("closed", "code"), [((2,), 0), ((1,), 9), ((0, 1, 2), 9)])
def test_a_training_without_streams_keeps_its_run(shell, sines, tmp_path, closed, code):
    arguments = ("train", "--config", sines.config, "--output-dir", tmp_path, "--name", "run", "--quiet")
    outcome = shell(*arguments, preexec_fn=close(*closed))
    assert outcome.code == code, outcome.err
    assert Run(tmp_path / "run").read_manifest()["status"] == "finished"
    # no file took the number of a stream, and got what was meant for that
    for name in ("metrics.jsonl", "config.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (sines.path / name).read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_nobody_has_to_hear_messages(shell, sines, tmp_path):
    with open("/dev/full", "w") as full:  # noqa: PTH123
        arguments = ("train", "--config", sines.config, "--output-dir", tmp_path, "--name", "run", "--json")
        assert shell(*arguments, stderr=full).done().json["status"] == "finished"


@pytest.mark.parametrize("environment", [BARE, DUMB], ids=["bare", "dumb"])
def test_any_environment_will_do(shell, cli, sines, environment):
    outcome = shell("evaluate", sines.path, env=environment).done()
    assert outcome.out == cli("evaluate", sines.path).done().out
    assert outcome.err == cli("evaluate", sines.path).done().err


@pytest.mark.parametrize("environment", [BARE, NONSENSE], ids=["bare", "nonsense backend"])
def test_pictures_in_any_environment(shell, cli, damaged, environment):
    picture = damaged / "gates.png"
    cli("plot", damaged, "--kind", "gates").done()
    expected = picture.read_bytes()
    picture.unlink()
    outcome = shell("plot", damaged, "--kind", "gates", env=environment).done()
    assert outcome.out == f"{picture}\n"
    assert outcome.err == ""
    assert picture.read_bytes() == expected


def test_training_in_a_bare_environment(shell, sines, tmp_path):
    arguments = ("train", "--config", sines.config, "--output-dir", tmp_path, "--name", "run", "--json")
    outcome = shell(*arguments, env=BARE | NONSENSE).done()
    assert outcome.json["rollout"] == sines.outcome.json["rollout"]
    assert "warning" not in outcome.err
    assert (tmp_path / "run" / "rollout.png").exists()


def test_colour_carries_no_meaning(cli, sines, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    plain, terminal = (cli("evaluate", sines.path, terminal=terminal).done().out for terminal in (False, True))
    assert "\x1b" not in plain
    assert "\x1b[" in terminal
    monkeypatch.setenv("TERM", "dumb")
    dumb = cli("evaluate", sines.path, terminal=True).done().out
    assert "\x1b" not in dumb
    assert "*" in dumb


@pytest.mark.parametrize("arguments", [("--json",), ("--quiet",)])
def test_values_for_scripts_have_no_colour_even_on_a_terminal(cli, sines, monkeypatch, arguments):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in cli("evaluate", sines.path, *arguments, terminal=True).done().out
