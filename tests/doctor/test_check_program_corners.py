"""What users' files do besides mathematics: scripts, buffers, children, other adapters."""

import time
from pathlib import Path

import numpy as np
import pytest

import lstmcast.doctor
from lstmcast.doctor.check_program import check_code
from lstmcast.doctor.program.behaviour import rolled
from lstmcast.errors import InvalidError

TEMPLATE = (Path(lstmcast.doctor.__file__).parent / "templates" / "lstm.txt").read_text(encoding="utf-8")


@pytest.fixture
def check(tmp_path):
    def run(*changes, before="", after="", limit=60.0):
        text = TEMPLATE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.py"
        path.write_text(before + text + after, encoding="utf-8")
        return check_code(path, limit)

    return run


# (change, what is found, and where)
NAMED = [
    (("dc * i * (1 - g**2)", "dc * i * (1 - g)**2"), "dag = dg * (1 - g[t])**2", "derivative of gate g"),
    (("[:, -h.shape[1]:]", "[:, :h.shape[1]]"), "[:, :H]", "path back to the previous state"),
]


@pytest.mark.parametrize(("change", "found", "slot"), NAMED)
def test_common_slips_are_named(check, change, found, slot):
    (finding,) = check(change).diagnosis
    assert found in finding.found
    assert finding.slot == slot


def test_gates_joined_in_another_order_are_named(check):
    # the first two blocks of da exchanged, in the backward pass alone
    swapped = ("da = np.hstack([\n", "da = np.hstack([0 * dc])\n        da = swap([\n")
    helper = "\n\ndef swap(parts):\n    return np.hstack([parts[1], parts[0], *parts[2:]])\n"
    (finding,) = check(swapped, after=helper).diagnosis
    assert finding.slot == "order of the gates"


def test_constants_made_of_what_was_skipped_are_skipped_too(check):
    report = check(before="data = open('input.txt').read()\nsize = len(data)\nwhole = size * 2\nhalf = 0.5\n")
    assert report.passed
    assert any("1, 2, 3" in note for note in report.notes)


def test_dataclasses_and_a_byte_order_mark(check):
    before = "\ufefffrom __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    assert check(before=before + "@dataclass\nclass Cell:\n    size: int = 3\n\n").passed


def test_gradients_in_a_buffer_that_is_kept_are_noticed(check):
    keep = (
        "for name, value in params.items()}\n    dh_next",
        "for name, value in params.items()}\n    d = kept(d)\n    dh_next",
    )
    helper = "\n\nKEPT = {}\n\n\ndef kept(d):\n    for name, value in d.items():\n"
    helper += (
        "        KEPT.setdefault((name, value.shape), value)\n    return {n: KEPT[n, v.shape] for n, v in d.items()}\n"
    )
    report = check(keep, after=helper)
    assert not report.passed


def test_a_child_process_neither_delays_nor_survives(check):
    begun = time.monotonic()
    start = "\n\nimport subprocess\n\n\ndef wait():\n    subprocess.Popen(['sleep', '97'])\n"
    change = ("def loss(params, x, y, h, c):\n", "def loss(params, x, y, h, c):\n    wait()\n")
    report = check(change, after=start)
    assert report.passed
    assert time.monotonic() - begun < 50
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x0097\x00" not in running


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"b": "4*H"', '"b": 4'), "shapes: b"),
        (('"cell": "lstm"', '"cell": ["lstm"]'), "cell"),
        (('"x": "BTD"', '"x": "BTDD"'), "x: 'BTDD'"),
        (('"y": "BTO"', '"y": "BT"'), "axis O"),
        (('["BH", "BH"]', '["BH", "BH", "BH"]'), "state"),
    ],
)
def test_an_adapter_that_makes_no_sense(check, change, message):
    with pytest.raises(InvalidError, match=message):
        check(change)


def test_a_constant_loss_is_no_crash(check):
    report = check(("return np.mean([", "return 0 * np.mean(["))
    assert not report.passed


def test_whole_periods_may_wrap_around():
    t = np.arange(100)
    wave = np.sin(2 * np.pi * t / 20)
    assert rolled(wave, np.roll(wave, -1)) == []
    noise = np.random.default_rng(0).standard_normal(100)
    assert len(rolled(noise, np.roll(noise, -1))) == 1
