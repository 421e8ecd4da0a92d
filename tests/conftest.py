"""One thread for everyone, and the figures of the fault suite."""

import os
import sys
from collections import Counter

import pytest

# two workers share the machine, and the matrices are small
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")


@pytest.fixture(scope="session")
def everything():
    """Whether to try every fault (``make faults``), or a part of each kind."""
    return os.environ.get("FAULTS") == "all"


@pytest.fixture(autouse=True)
def small_numbers():
    """Undo, for the next test, what a training sets for its whole process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def count(record_property):
    """Return a function that adds to a figure of the fault suite."""
    return lambda name, number=1: record_property(name, number)


def pytest_terminal_summary(terminalreporter):
    if os.environ.get("FAULTS") != "all":
        return
    figures = Counter()
    for report in terminalreporter.getreports("passed"):
        for name, number in report.user_properties:
            figures[name] = max(figures[name], number) if "longest" in name else figures[name] + number
    terminalreporter.section("what was tried")
    for name, number in sorted(figures.items()):
        terminalreporter.write_line(f"{name:60} {number:>10,.3g}" if number % 1 else f"{name:60} {int(number):>10,}")
