from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lstmcast.doctor import check_program as code
from lstmcast.doctor.program import adapter as adapters
from lstmcast.doctor.program import worker
from lstmcast.doctor.program.examination import examination
from lstmcast.doctor.program.process import Answers
from lstmcast.gradients.report import Report

PROGRAMS = Path(__file__).parent / "programs"
RIGHT = re.compile(r"^(\s*)(.*?)  # right: (.*)$", re.MULTILINE)


def _program(name: str) -> str:
    return (PROGRAMS / f"{name}.py").read_text()


def _repaired(source: str, *kept: str) -> str:
    """Put a program's wrong lines right, but for those that contain one of the texts."""

    def line(match: re.Match[str]) -> str:
        wrong = any(text in match.group(2) for text in kept)
        return match.group(1) + (match.group(2) if wrong else match.group(3))

    return RIGHT.sub(line, source)


def _examined(source: str) -> Report:
    """Judge a program as `check_code` does, in this process: faster by its start."""
    adapter = adapters.read(source, "program.py")
    asked = examination(adapter)
    subject, skipped = worker.load("program.py", source, adapter.gradients)

    def problem(index: int) -> list[object]:
        posed = asked.posed[index]
        return [{k: v.copy() for k, v in posed.parameters.items()}, *(a.copy() for a in posed.arguments)]

    given = worker.answer(subject, asked.calls, problem)
    answers = Answers(
        [one.get("loss") for one in given],
        [one.get("grads") for one in given],
        [one.get("error") for one in given],
        {},
        skipped,
    )
    answers = replace(answers, probe=worker.probe(subject, problem))
    report = code.judge(Path("program.py"), adapter, asked, answers)
    assert report is not None, "the layout was not found"
    return report


@pytest.fixture
def write(tmp_path: Path):
    def written(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


@pytest.fixture(scope="session")
def program():
    return _program


@pytest.fixture(scope="session")
def repaired():
    return _repaired


@pytest.fixture(scope="session")
def examined():
    return _examined
