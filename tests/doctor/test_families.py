"""Four families of faulty programs, each fault alone: the doctor names it, and the line of mathematics that belongs."""

from __future__ import annotations

from importlib.resources import files

import pytest

# program, text of the line left wrong, found formula, expected formula
FAULTS = [
    ("windowed", "(out - y) / T", "dy = B / T * k * (t == T - 1) * (p[t]", "dy = k * (t == T - 1) * (p[t]"),
    ("windowed", 'd["V"] = spread', "dWy += np.mean(h[t].T @ dy) * np.ones_like(dWy)", "dWy += h[t].T @ dy"),
    ("windowed", 'd["d"] = spread', "dby += np.mean(dy.sum(0)) * np.ones_like(dby)", "dby += dy.sum(0)"),
    ("windowed", 'd["W" + k]', "dWx_i += np.mean(x[t].T @ dai) * np.ones_like(dWx_i)", "dWx_i += x[t].T @ dai"),
    ("windowed", 'd["U" + k]', "dWh_i += np.mean(h[t-1].T @ dai) * np.ones_like(dWh_i)", "dWh_i += h[t-1].T @ dai"),
    ("windowed", 'd["b" + k]', "db_i += np.mean(dai.sum(0)) * np.ones_like(db_i)", "db_i += dai.sum(0)"),
    ("windowed", "ga = h", "dai = di * sigmoid(h[t] @ Wh_i + x[t] @ Wx_i + b_i)", "dai = di * i[t] * (1 - i[t])"),
    ("windowed", 'delta[k] * p["U"', "dh_next = dai * Wh_i + daf * Wh_f", "dh_next = dai @ Wh_i.T + daf @ Wh_f.T"),
    ("symbols", "first = source - 1", "dh = k * (p[t+1] - y[t+1]) @ Wy.T", "dh = dy @ Wy.T + dh_next"),
    ("symbols", "dc += dc * f[t]", "dc_next = dc * (1 + f[t])", "dc_next = dc * f[t]"),
    ("symbols", "np.dot(da[k]", "dWh_i += (h[t-1] * dai).sum()", "dWh_i += h[t-1].T @ dai"),
    ("symbols", "keep = 1", "buffers keep what the previous step's loss left in them", "all start as zeros"),
    ("symbols", "ct[t] = c[t]", "do = dh * c[t]", "do = dh * tc[t]"),
    ("symbols", "hp = np.vstack", "dWh_i += h[(t - 1) % T].T @ dai", "dWh_i += h[t-1].T @ dai"),
    ("symbols", "cp = np.vstack", "df = dc * c[(t - 1) % T]", "df = dc * c[t-1]"),
    (
        "names",
        "dz[0, t] -= 1",
        "(np.arange(B) == 0)[:, None] * (np.arange(O) == t)",
        "dy = k * (p[t] - y[t])",
    ),
    ("names", 'd["W1"] += 0', "dWx_h += 0", "dWx_h += x[t].T @ dah"),
    ("names", "dh_prev.T @ da", "dWh_h += dh_next.T @ dah", "dWh_h += h[t-1].T @ dah"),
    ("names", 'd["b1"] = da', "db_h = dah.sum(0)", "db_h += dah.sum(0)"),
    ("names", 'back = da @ p["W2"]', "dh_next = dah @ Wh_h", "dh_next = dah @ Wh_h.T"),
    ("names", "dh_prev = dh_prev + back", "dh_next = dah @ Wh_h.T + dh_next", "dh_next = dah @ Wh_h.T"),
]


@pytest.mark.parametrize("name", ["windowed", "symbols", "state", "names"])
def test_the_repaired_program_passes(name: str, examined, program, repaired) -> None:
    report = examined(repaired(program(name)))
    assert report.passed
    assert report.worst_relative_error < 1e-13
    assert not report.diagnosis


@pytest.mark.parametrize(("name", "line", "found", "expected"), FAULTS)
def test_each_fault_alone_is_named(
    name: str, line: str, found: str, expected: str, examined, program, repaired
) -> None:
    source = program(name)
    assert sum(line in text and "# right:" in text for text in source.splitlines()) == 1
    report = examined(repaired(source, line))
    assert not report.passed
    named = [finding for finding in report.diagnosis if finding.slot != "an exception"]
    assert len(named) == 1
    assert found in named[0].found
    assert expected in named[0].expected
    assert "reproduces all your gradients" in named[0].evidence


def test_six_faults_at_once_are_all_named(examined, program) -> None:
    report = examined(program("names"))
    found = " ; ".join(finding.found for finding in report.diagnosis)
    for formula in ("(np.arange(O) == t)", "dWx_h += 0", "db_h = dah", "dh_next.T @ dah", "dah @ Wh_h + dh_next"):
        assert formula in found
    assert all("reproduces all" in f.evidence for f in report.diagnosis if f.slot != "an exception")


def test_all_faults_of_the_windowed_lstm_at_once_are_named(examined, program) -> None:
    report = examined(program("windowed"))
    found = " ; ".join(finding.found for finding in report.diagnosis)
    for formula in (
        "dy = B / T * k",
        "np.mean(x[t].T @ dai) * np.ones_like(dWx_i)",
        "np.mean(dai.sum(0)) * np.ones_like(db_i)",
        "np.mean(dy.sum(0)) * np.ones_like(dby)",
        "dai = di * sigmoid(h[t] @ Wh_i",
        "dh_next = dai * Wh_i",
    ):
        assert formula in found
    assert all("reproduces all" in f.evidence for f in report.diagnosis if f.slot != "an exception")


def test_six_of_seven_faults_of_the_lstm_over_symbols_are_named(examined, program, repaired) -> None:
    kept = ("first = source", "ct[t] = c[t]", "hp = np", "cp = np", "dc += dc", "np.dot(da")
    report = examined(repaired(program("symbols"), *kept))
    found = " ; ".join(finding.found for finding in report.diagnosis)
    for formula in (
        "dh = k * (p[t+1] - y[t+1]) @ Wy.T",
        "1 - c[t]**2",
        "do = dh * c[t]",
        "c[(t - 1) % T]",
        "(h[(t - 1) % T] * dai).sum()",
        "1 + f[t]",
    ):
        assert formula in found
    assert all("reproduces all" in finding.evidence for finding in report.diagnosis)


def test_a_state_kept_between_evaluations_is_the_checks_fault_not_the_gradients(examined, program) -> None:
    report = examined(program("state"))
    assert not report.passed
    assert report.worst_relative_error < 1e-13
    assert [finding.slot for finding in report.diagnosis] == ["the check"]
    assert "different losses" in report.diagnosis[0].found


def test_a_list_that_is_not_cleared_between_batches(examined, program, repaired) -> None:
    source = repaired(program("windowed")).replace("    steps = []", "    steps = Kept.steps")
    report = examined(source + "\n\nclass Kept:\n    steps = []\n")
    assert not report.passed
    assert [finding.slot for finding in report.diagnosis] == ["buffers"]


KEPT = "    steps, h, c, gates = [], h.copy(), c.copy(), np.zeros((4, *h.shape))\n"


@pytest.mark.parametrize(
    ("line", "in_place", "of"),
    [
        ("c_prev, c = c, f * c + i * g", "c_prev = c; c *= f; c += i * g", ["tc = tanh(c)", "c"]),
        ("h = o * np.tanh(c)", "h[:] = o * np.tanh(c)", ["h"]),
        ("c_prev, c =", "gates[:] = i, f, g, o; i, f, g, o = gates; c_prev, c =", ["o, g, i, f"]),
        ("c_prev, c = c, f * c + i * g", "c = f * c + i * g; c_prev = c", []),
    ],
)
def test_arrays_that_are_changed_in_place_after_they_were_kept(
    line: str, in_place: str, of: list[str], examined
) -> None:
    text = files("lstmcast.doctor.templates").joinpath("lstm.txt").read_text()
    right = text.replace("    steps = []\n", KEPT, 1)
    assert examined(right).passed
    assert right.count(line) == 1
    report = examined(right.replace(line, in_place))
    assert not report.passed
    asked = [finding.evidence.partition("what is kept of ")[2] for finding in report.diagnosis]
    if of:
        assert [text.partition(" for every step")[0] for text in asked] == of
        assert all("is the array changed in place" in text for text in asked)
    else:
        assert asked == [""]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("axis = 1", "axis = 0", "softmax is normalised over the samples"),
        ("labels = y", "labels = np.roll(y, 1, axis=2)", "class k + 1 for k"),
        ("labels = y", "labels = np.roll(y, -1, axis=2)", "class k - 1 for k"),
        ("np.log(probs[t])", "np.log(1 - probs[t])", "logarithm of the residual"),
    ],
)
def test_mistakes_of_the_forward_pass_are_named(old: str, new: str, found: str, write, program, repaired) -> None:
    from lstmcast.doctor.check_program import check_code

    report = check_code(write(repaired(program("names")).replace(old, new)))
    assert not report.passed
    assert found in report.diagnosis[0].found
