"""Checking a user's program: layouts, what is executed, and errors."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lstmcast.doctor.check_program import check_code
from lstmcast.doctor.program import adapter, worker
from lstmcast.doctor.program.behaviour import rolled
from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.gradients.report import Finding, ParameterResult, Report

PROGRAMS = Path(__file__).parent / "programs"
TEMPLATES = Path(worker.__file__).parent.parent / "templates"
SMALL = """
import numpy as np
LSTMCAST = {"cell": "rnn", "output": "squared", "x": "BTD", "y": "BTO",
            "shapes": {"U": "D, H", "W": "H, H", "V": "H, O"}}


def loss(params, x, y):
    h, total = np.zeros((len(x), len(params["W"]))), 0.0
    for t in range(x.shape[1]):
        h = np.tanh(x[:, t] @ params["U"] + h @ params["W"])
        total += ((h @ params["V"] - y[:, t]) ** 2).sum()
    return total
"""
ZEROS = "\n\ndef grads(params, x, y):\n    return {name: np.zeros_like(value) for name, value in params.items()}\n"


AUTOGRAD = """
import torch
LSTMCAST = {"output": "softmax", "loss": "last", "x": "TBD", "y": "B", "state": ["BH", "BH"],
            "shapes": {"w_ih": "4*H, D", "w_hh": "4*H, H", "b_ih": "4*H", "b_hh": "4*H", "w": "O, H", "c": "O"}}


def loss_and_grads(params, x, y, h, c):
    p = {name: value.clone().requires_grad_() for name, value in params.items()}
    for xt in x:
        i, f, g, o = (xt @ p["w_ih"].T + p["b_ih"] + h @ p["w_hh"].T + p["b_hh"]).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    loss = torch.nn.functional.cross_entropy(h @ p["w"].T + p["c"], y)
    loss.backward()
    return loss, {name: value.grad for name, value in p.items()}
"""


def test_torch_with_two_biases_in_one_function(examined) -> None:
    report = examined(AUTOGRAD)
    assert report.passed
    assert report.worst_relative_error < 1e-13
    assert any("b_hh = bh_i, bh_f, bh_g, bh_o" in note for note in report.notes)


@pytest.mark.parametrize("path", sorted(PROGRAMS.glob("right_*.py")), ids=lambda path: path.stem)
def test_right_programs_pass(path: Path, examined) -> None:
    report = examined(path.read_text())
    assert report.passed
    assert report.worst_relative_error < 1e-13


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.txt")), ids=lambda path: path.stem)
def test_templates_pass_and_their_adapter_is_short(path: Path, examined) -> None:
    text = path.read_text()
    assert examined(text).passed
    own = text.split("# ---- the adapter")[1].partition("# ---- only for")[0].rstrip().splitlines()
    assert len(own) <= 31


def test_an_inferred_layout_is_said(examined, program) -> None:
    notes = " ; ".join(examined(program("right_gru")).notes)
    assert "candidate with r (h' Wh_n)" in notes
    assert "U = Wh_r, Wh_z, Wh_n (in, out)" in notes
    assert "c = bh_r, bh_z, bh_n" in notes
    assert "loss = 0.5 Σ (p - y)² / (B T)" in notes


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        ("np.mean(", "loss = Σ (p - y)² / (B T O), so dy = k * (p - y) with k = 2 / (B T O)"),
        ("np.sum(", "loss = Σ (p - y)², so dy = k * (p - y) with k = 2"),
        ("0.5 / len(y) * np.sum(", "loss = 0.5 Σ (p - y)² / B, so dy = k * (p - y) with k = 1 / B"),
        ("1.5 * np.sum(", "loss = 0.5 k Σ (p - y)², so dy = k * (p - y) with k = 3"),
        (
            "3 / len(y) * np.sum(",
            "loss = 0.5 k Σ (p - y)², so dy = k * (p - y) with k = 2 where B = 3, T = 1, D = 3, H = 3, O = 3",
        ),
    ],
)
def test_the_factor_of_the_losss_gradient_is_said(mean: str, said: str, examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text()
    assert text.count("return np.mean(") == 1
    assert said in examined(text.replace("return np.mean(", f"return {mean}")).notes


def test_the_factor_of_a_cross_entropys_gradient_is_said(examined, program) -> None:
    assert "loss = -Σ y ln p / B, so dy = k * (p - y) with k = 1 / B" in examined(program("right_rnn_batched")).notes


def test_gates_in_another_order_are_found(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text()
    swapped = text.replace("i, f, g, o = np.split", "o, g, f, i = np.split")
    block = ast.unparse(ast.parse("dc * g * i * (1 - i),").body[0].value.elts[0])
    lines = [
        "dc * g * i * (1 - i)",
        "dc * c_prev * f * (1 - f)",
        "dc * i * (1 - g**2)",
        "dh * np.tanh(c) * o * (1 - o)",
    ]
    assert block == lines[0]
    for old, new in zip(lines, reversed(lines), strict=True):
        swapped = swapped.replace(f"            {old},", f"            {new} ,")
    report = examined(swapped)
    assert report.passed
    assert any("Wx_o, Wx_g, Wx_f, Wx_i" in note for note in report.notes)


def test_sizes_that_are_constants_of_the_program(examined) -> None:
    text = (TEMPLATES / "rnn.txt").read_text().replace("hs, ps = {-1: h}, {}", "hs, ps = {-1: h.reshape(4, 6)}, {}")
    said = text.replace('"cell": "rnn",', '"cell": "rnn", "sizes": {"B": 4, "H": 6, "T": 3},')
    assert examined(said).passed
    (finding,) = examined(said.replace("da @ W.T", "da @ W")).diagnosis
    assert finding.found == "dh_next = dah @ Wh_h"
    with pytest.raises(InvalidError, match="cannot reshape"):
        examined(text)
    with pytest.raises(InvalidError, match="sizes: "):
        examined(said.replace('"B": 4', '"N": 4'))


def test_a_wrong_constant_factor_is_named(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text().replace("dy = 2 * (out", "dy = 1 * (out")
    (finding,) = examined(text).diagnosis
    assert "halved" in finding.evidence


def test_a_factor_that_is_in_no_catalogue_is_inferred(examined) -> None:
    text = (
        (TEMPLATES / "lstm.txt").read_text().replace("dc * c_prev * f * (1 - f)", "dc * c_prev * f * (1 - f) * (1 - o)")
    )
    (finding,) = examined(text).diagnosis
    assert "1 - o[t]" in finding.found
    assert "reproduces all your gradients" in finding.evidence


@pytest.mark.parametrize(
    ("cell", "old", "new", "found"),
    [
        ("gru", "dr = drh", "dr = 0.3711 * drh", "dr = 0.3711 * (ds * h[t-1])"),
        ("lstm", "dc_next = dc", "dc_next = 0.123 * dc", "dc_next = 0.123 * (dc * f[t])"),
    ],
)
def test_any_constant_factor_is_fitted(cell: str, old: str, new: str, found: str, examined) -> None:
    (finding,) = examined((TEMPLATES / f"{cell}.txt").read_text().replace(old, new)).diagnosis
    assert finding.found == found
    assert "reproduces all your gradients" in finding.evidence


def test_what_has_no_name_is_located_and_nothing_is_guessed(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text().replace("dc * c_prev * f", "np.sin(7 * dc) * np.cos(c_prev) * f")
    findings = examined(text).diagnosis
    assert "input weight of gate" in findings[-1].found
    assert "no known mistake reproduces them" in findings[-1].evidence
    assert not any("reproduces all" in finding.evidence for finding in findings)


def test_a_factor_of_one_term_is_not_put_on_the_right_ones(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text().replace("dc = dh * o", "dc = 0.999 * dh * o")
    (finding,) = examined(text).diagnosis
    assert finding.found == "dc = 0.999 * dh * o[t] * (1 - tc[t]**2) + dc_next"


def test_steps_that_nobody_reversed_are_named_with_a_loss_on_the_last_step(examined) -> None:
    text = (TEMPLATES / "gru.txt").read_text().replace('"loss": "every"', '"loss": "last"').replace("BTO", "BO")
    text = text.replace("step[-1] - y[:, t]) ** 2 for t, step in enumerate(forward(params, x, h))", "last - y) ** 2")
    text = text.replace("    return np.mean([", "    last = forward(params, x, h)[-1][-1]\n    return np.mean([")
    head = """    dy = 2 * (steps[-1][-1] - y) / y.size
    d["V"], d["d"], dh_next = steps[-1][-2].T @ dy, dy.sum(axis=0), dy @ p["V"].T
"""
    start = text.index("    dh_next = 0\n")
    loop, dn = text.index("    for t in reversed("), text.index("        dn = dh * (1 - z)")
    right = text[:start] + head + text[loop:dn].split("        dy =")[0] + "        dh = dh_next\n" + text[dn:]
    assert examined(right).passed
    (finding,) = examined(right.replace("reversed(range(len(steps)))", "range(len(steps))")).diagnosis
    assert finding.found.startswith("the loop runs forwards in time")


def test_a_gradient_may_be_called_dw_and_one_that_is_none_is_missing(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text()
    assert examined(text.replace("return d\n", "return {'d' + k: v for k, v in d.items()}\n")).passed
    (finding,) = examined(text.replace("return d\n", "return d | {'V': None, 'X': 0}\n")).diagnosis
    assert finding.found == "there is no gradient for V, but for X"


@pytest.mark.parametrize(
    ("right", "wrong", "note"),
    [
        ('"cell": "lstm"', '"cell": "gru"', "with 'cell': 'lstm'"),
        ('"output": "squared"', '"output": "softmax"', "with 'output': 'squared'"),
        ('"loss": "every"', '"loss": "last"', "with 'loss': 'every'"),
    ],
)
def test_an_adapter_that_says_the_wrong_thing_is_noticed(right: str, wrong: str, note: str, write) -> None:
    report = check_code(write((TEMPLATES / "lstm.txt").read_text().replace(right, wrong)))
    assert any(note in line for line in report.notes)


def test_0_1_percent_is_noticed(examined) -> None:
    text = (TEMPLATES / "gru.txt").read_text().replace("dr = drh * h_prev", "dr = 1.001 * drh * h_prev")
    report = examined(text)
    assert not report.passed
    assert "gate r" in " ".join(finding.slot + finding.found for finding in report.diagnosis)


def test_only_definitions_are_executed() -> None:
    source = "import math\nX = 3\nY = [X, -1]\nZ = open('f')\nprint(X)\n"
    source += "\nfor i in range(3):\n    X += i\n\ndef f():\n    return X\n"
    tree, skipped = worker.definitions(source, "f.py")
    assert [type(node).__name__ for node in tree.body] == ["Import", "Assign", "Assign", "FunctionDef"]
    assert skipped == [4, 5, 7]


def test_skipped_lines_are_reported(examined) -> None:
    report = examined((TEMPLATES / "rnn.txt").read_text() + "\nprint('training')\nraise SystemExit\n")
    assert report.passed
    assert any("skipped at the top level" in note for note in report.notes)


def test_an_unknown_forward_pass_is_compared_with_its_slopes(write) -> None:
    text = (TEMPLATES / "gru.txt").read_text().replace("n = np.tanh(", "n = np.arctan(")
    report = check_code(write(text))
    assert not report.passed
    assert "complex step" in report.oracle
    assert report.parameters["V"].passed
    assert not report.parameters["Wn"].passed
    right = text.replace("(1 - n**2)", "np.cos(n) ** 2")
    assert check_code(write(right)).worst_relative_error < 1e-12
    real = right.replace(
        "def loss(params, x, y, h):", "def loss(params, x, y, h):\n    params = {k: v.real for k, v in params.items()}"
    )
    central = check_code(write(real))
    assert central.passed
    assert "differences" in central.oracle


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", r"mine\.py:1: "),
        ("x = 1\n", "there is no LSTMCAST"),
        ("x = 1\0\n", r"mine\.py: .* null bytes"),
        ("LSTMCAST = {'cells': 'lstm'}\n", r"mine\.py:1: LSTMCAST: unknown key 'cells'"),
        ("LSTMCAST = {'output': 'relu'}\n", "must be 'squared' or 'softmax'"),
        (SMALL.replace("H, H", "H ** 2"), "no sum or product of D, H, O"),
        (SMALL.replace('"BTO"', '"TO"'), "y: 'TO'; it must have B"),
        (SMALL.replace('"BTO"', '"BO"'), "y: 'BO'; without an axis T .* the loss is on the last step only"),
        (SMALL.replace('"y": "BTO"', '"state": ["H"]'), "state: 'H'; it must have B"),
        (SMALL.replace('"y": "BTO"', '"state": ["B"]'), "give the axes of h"),
        (SMALL.replace('"BTD"', '"BXD"'), "give the order of its axes"),
        (SMALL, "there is no function grads"),
        (SMALL + ZEROS.replace("return", "return 1 / 0 #"), r"mine\.py:16: in grads ZeroDivisionError"),
        (
            SMALL.replace("total = 0.0", "total = 0.0").replace('params["V"]', 'params["Q"]') + ZEROS,
            r"mine\.py:11: in loss KeyError",
        ),
        ("import nothing_like_it\n" + SMALL + ZEROS, r"mine\.py:1: ModuleNotFoundError"),
        (SMALL.replace("return total", "return np.ones(3)") + ZEROS, "the loss is no number"),
        (SMALL.replace("return total", "return total * np.nan") + ZEROS, "nan or infinite"),
        (SMALL + ZEROS.replace("return", "return [] #"), "0 gradients for 3 names"),
        ("import os\n" + SMALL + ZEROS.replace("return", "os._exit(3) #"), "ended with code 3"),
    ],
)
def test_errors_name_the_users_line(text: str, message: str, write) -> None:
    with pytest.raises(InvalidError, match=message):
        check_code(write(text))


def test_all_that_is_wrong_with_an_adapter_is_said_at_once_each_at_its_line() -> None:
    source = """LSTMCAST = {
        'cell': 'lsmt',
        'out': 'squared',
        'x': 'BXD',
        'shapes': {'W': 'D ** H'},
        'sizes': {'H': 0}}
    """
    with pytest.raises(InvalidError) as raised:
        adapter.read(source, "mine.py")
    lines = raised.value.message.splitlines()
    assert [line.partition(": LSTMCAST: ")[0] for line in lines] == [
        "mine.py:2",
        "mine.py:1",
        "mine.py:4",
        "mine.py:5",
        "mine.py:6",
        "mine.py:3",
    ]
    for line, part in zip(
        lines,
        [
            "cell: 'lsmt'; it must be lstm",
            "output: missing",
            "x: 'BXD'",
            "'D ** H' is no sum",
            "sizes: H: 0",
            "key 'out'",
        ],
        strict=True,
    ):
        assert part in line
    with pytest.raises(InvalidError) as raised:
        adapter.parse({"output": "squared", "x": "BTD", "y": "T", "shapes": {"W": "H, O"}, "gradients": ["V"]})
    assert len(raised.value.message.splitlines()) == 3


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ("{'U': params['U'], 'W': params['W']}", "no gradient for V"),
        ("{**params, 'V': params['V'].T}", "what is returned for V is the parameter V"),
        ("{**params, 'V': 2 * params['V'].T}", r"the gradient of V has shape \(7, 4\)"),
        ("{**params, 'V': params['V'] * np.inf}", "the gradient of V has entries that are nan or infinite"),
    ],
)
def test_gradients_that_are_no_gradients(result: str, message: str, examined) -> None:
    report = examined(SMALL + f"\n\ndef grads(params, x, y):\n    return {result}\n")
    assert not report.passed
    assert any(finding for finding in report.diagnosis if _matches(message, finding))


def _matches(message: str, finding: Finding) -> bool:
    import re

    return re.search(message, finding.found) is not None


def test_gradients_that_are_zero_or_the_weights_fail(examined) -> None:
    assert not examined(SMALL + ZEROS).passed
    weights = examined(SMALL + "\n\ndef grads(params, x, y):\n    return params\n")
    assert not weights.passed


def test_a_program_that_does_not_end_is_ended(write) -> None:
    endless = SMALL + "\n\ndef grads(params, x, y):\n    while True:\n        pass\n"
    start = time.monotonic()
    with pytest.raises(InvalidError, match="not done after 1 seconds"):
        check_code(write(endless), time_limit=1)
    assert time.monotonic() - start < 5


def test_a_missing_file() -> None:
    with pytest.raises(NotFoundError):
        check_code(Path("nowhere.py"))


def test_what_the_program_prints_does_no_harm_and_its_folder_is_on_the_path(write) -> None:
    write(
        (TEMPLATES / "lstm.txt").read_text().replace("    steps = []", "    print('noise')\n    steps = []"), "own.py"
    )
    text = (TEMPLATES / "lstm.txt").read_text()
    adapter_part = "from own import *\n" + text[text.index("LSTMCAST") :]
    assert check_code(write("import numpy as np\n" + adapter_part)).passed


def test_overwritten_arguments_are_noticed(examined) -> None:
    text = (
        (TEMPLATES / "rnn.txt")
        .read_text()
        .replace("    hs, ps = forward(x, h, **params)", "    h *= 1.5\n    hs, ps = forward(x, h, **params)")
    )
    report = examined(text)
    assert any("overwrite their arguments: h" in finding.found for finding in report.diagnosis)
    in_torch = (PROGRAMS / "unseen_lstm_torch.py").read_text()
    assert examined(in_torch).passed
    line = "    return 0.5 * ((forward(params, x, h, c)[-1] - y) ** 2).sum()\n"
    assert line in in_torch
    begun = in_torch.replace(line, f"{line.replace('return', 'value =')}    x.mul_(1.5)\n    return value\n")
    assert any("overwrite their arguments: x" in finding.found for finding in examined(begun).diagnosis)


SINGLE = """

def single(*given):
    return [{k: v.astype("f4") for k, v in a.items()} if isinstance(a, dict) else a.astype("f4") for a in given]
"""


@pytest.mark.parametrize("kept", ["np.float32", "np.float64"])
def test_a_rough_loss_raises_no_alarm_and_hides_no_mistake(kept: str, write) -> None:
    right = (PROGRAMS / "two_layers.py").read_text().replace("KEPT = np.float32", f"KEPT = {kept}")
    report = check_code(write(right))
    assert report.passed, report
    assert report.worst_relative_error < (5e-3 if kept == "np.float32" else 1e-8)
    assert any("rough" in note for note in report.notes) == (kept == "np.float32")
    for found, replaced in (
        ("carry = p", "carry = 0 * p"),
        ("1 - hs[t + 1] ** 2", "1 - hs[t] ** 2"),
        ("np.outer(hs[t], da)", "np.outer(hs[t + 1], da)"),
        ('grads["b" + k] += da', 'grads["b" + k] = da'),
        ("dxs[t] = p", "dxs[t] = 1.1 * p"),
        ("(dhs[t] + carry)", "(dhs[t] + 0.9 * carry)"),
    ):
        assert right.count(found) == 1
        assert not check_code(write(right.replace(found, replaced))).passed, replaced


def test_programs_in_float32_are_judged_by_its_digits(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text() + SINGLE
    for name in ("loss", "grads"):
        head = f"def {name}(params, x, y, h, c):\n"
        text = text.replace(head, f"{head}    params, x, y, h, c = single(params, x, y, h, c)\n")
    right = examined(text)
    assert right.passed
    assert any("float32" in note for note in right.notes)
    (finding,) = examined(text.replace("dc * c_prev", "dc * c")).diagnosis
    assert finding.found == "df = dc * c[t]"


def test_one_gradient_in_float32_does_not_excuse_the_others(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text()
    one = text.replace("    return d\n", "    d['d'] = d['d'].astype('f4')\n    return d\n")
    assert examined(one).passed
    report = examined(one.replace("    return d\n", "    d['V'] *= 1 + 1e-5\n    return d\n"))
    assert [name for name, result in report.parameters.items() if not result.passed] == ["V"]


@pytest.mark.parametrize(
    ("returned", "slot", "found"),
    [
        ("{k: np.clip(v, -0.01, 0.01) for k, v in d.items()}", "clipping", "clip(dW, -0.01, 0.01)"),
        ("{k: v * min(1, 0.1 / norm(d)) for k, v in d.items()}", "clipping", "dW * 0.1 / norm"),
        ("{k: v + 0.01 * params[k] for k, v in d.items()}", "weight penalty", "dW + 0.01 * W"),
        ("params", "what is returned", "is the parameter W"),
        ("{**d, 'b': d['d'], 'd': d['b']}", "what is returned", "is the gradient of d"),
    ],
)
def test_gradients_changed_as_a_whole_are_recognised(returned: str, slot: str, found: str, examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text().replace("    return d\n", f"    return {returned}\n")
    text += "\n\ndef norm(d):\n    return np.sqrt(sum((v**2).sum() for v in d.values()))\n"
    (finding,) = examined(text).diagnosis
    assert finding.slot == slot
    assert found in finding.found


def test_a_missing_gradient_does_not_hide_the_others(examined) -> None:
    text = (TEMPLATES / "gru.txt").read_text().replace("    return d\n", "    del d['V']\n    return d\n")
    report = examined(text)
    assert [name for name, result in report.parameters.items() if not result.passed] == ["V"]
    assert np.isnan(report.worst_relative_error)
    assert report.parameters["Wz"].relative_error < 1e-13
    missing, wrong = examined(text.replace("dr = drh * h_prev", "dr = drh * h")).diagnosis
    assert "no gradient for V" in missing.found
    assert wrong.found == "dr = ds * h[t]"


def test_an_exception_says_which_sizes_run(examined) -> None:
    text = (TEMPLATES / "rnn.txt").read_text().replace("da = (dy @ V.T", "da = (dy @ V")
    exception, named = examined(text).diagnosis
    assert "program.py:23: in backward ValueError" in exception.found
    assert "B = 5, T = 1" in exception.evidence
    assert "only where D = H" in exception.evidence
    assert named.found == "dh = dy @ Wy + dh_next"


def test_a_loss_with_a_weight_penalty_and_a_gradient_without(write) -> None:
    text = (TEMPLATES / "rnn.txt").read_text()
    head, body = "    return -sum(np.log(", "    return 0.05 * (params['W'] ** 2).sum() - sum(np.log("
    report = check_code(write(text.replace(head, body)))
    (finding,) = report.diagnosis
    assert finding.slot == "weight penalty"
    assert finding.expected == "dW + 0.1 * W"
    right = text.replace(head, body).replace(
        "    return backward(x, y, hs, ps, **params)",
        "    d = backward(x, y, hs, ps, **params)\n    return d[0], d[1] + 0.1 * params['W'], *d[2:]",
    )
    assert check_code(write(right)).passed


def test_a_gradient_of_poor_precision_is_no_mistake(examined) -> None:
    text = (TEMPLATES / "lstm.txt").read_text()
    text = text.replace("    return d\n", "    return {k: v * (1 + 3e-7) for k, v in d.items()}\n")
    (finding,) = examined(text).diagnosis
    assert finding.slot == "precision"


def test_rolled_targets() -> None:
    inputs = np.sin(np.arange(40) / 3)
    (before,) = rolled(inputs, np.roll(inputs, 1))
    assert "previous value" in before.found
    (edge,) = rolled(inputs, np.roll(inputs, -1))
    assert "wraps around" in edge.found
    assert rolled(inputs[:-1], inputs[1:]) == []
    (batch,) = rolled(np.stack([inputs, inputs + 0.1]), np.roll(np.stack([inputs, inputs + 0.1]), 1, axis=1))
    assert "axis 1" in batch.evidence
    (flat,) = rolled(np.stack([inputs, inputs + 0.1]), np.roll(np.stack([inputs, inputs + 0.1]), -1))
    assert "without an axis" in flat.found


def test_the_users_data_are_looked_at(write, program, repaired) -> None:
    report = check_code(write(repaired(program("state"), "np.roll")))
    assert [finding.slot for finding in report.diagnosis] == ["the data"]
    assert not report.passed


@pytest.mark.parametrize("data", ['data = "hello world"', "data = [0, 1]", "data = np.zeros(3)", "loss = grads = 0.0"])
def test_what_is_no_function_is_no_part_of_the_interface(data: str, write) -> None:
    text = "def loss_and_grads(*args):\n    return loss_of(*args), grads_of(*args)"
    text = (TEMPLATES / "lstm.txt").read_text().replace("def loss(", "def loss_of(").replace(
        "def grads(", "def grads_of("
    ) + text
    report = check_code(write(text.replace("import numpy as np\n", f"import numpy as np\n{data}\n")))
    assert report.passed
    assert not any("data()" in note for note in report.notes)


def test_axes() -> None:
    said = adapter.parse({"output": "softmax", "x": "TB", "y": "TB", "shapes": {"U": "D, H", "V": "H, D"}})
    assert said.symbols
    assert said.ties
    assert said.shape("U", said.sizes(adapter.Sizes(2, 3, 4, 5, 6))) == (4, 5)


def test_json_has_no_nan() -> None:
    report = Report(False, "o", float("nan"), {"W": ParameterResult(float("inf"), False)})
    document = report.as_json()
    assert document["worst_relative_error"] is None
    assert document["parameters"]["W"]["relative_error"] is None
    json.dumps(document, allow_nan=False)


def lstmcast(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lstmcast", "gradcheck", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=60)


def test_the_command_line(tmp_path: Path) -> None:
    template = lstmcast(tmp_path, "--template", "lstm")
    assert template.returncode == 0
    (tmp_path / "mine.py").write_text(template.stdout)
    (tmp_path / "wrong.py").write_text(template.stdout.replace("dc * c_prev", "dc * c"))
    right = lstmcast(tmp_path, "--code", "mine.py")
    assert (right.returncode, right.stderr) == (0, "")
    assert "passed: worst relative error" in right.stdout
    wrong = lstmcast(tmp_path, "--code", "wrong.py")
    assert wrong.returncode == 7
    assert "found:     df = dc * c[t]\n   expected:  df = dc * c[t-1]" in wrong.stdout
    document = json.loads(lstmcast(tmp_path, "--code", "wrong.py", "--json").stdout)
    assert {"schema_version", "passed", "oracle", "worst_relative_error", "parameters", "diagnosis"} <= set(document)
    assert document["diagnosis"][0]["expected"] == "df = dc * c[t-1]"
    assert lstmcast(tmp_path, "--code", "wrong.py", "--json", "--no-diagnose").returncode == 7
    assert float(lstmcast(tmp_path, "--code", "mine.py", "--quiet").stdout) < 1e-12


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give one of --code FILE"),
        (["--code", "x.py", "--template", "gru"], 2, "give one of --code FILE"),
        (["--code", "x.py", "a=1"], 2, "go with --config"),
        (["--code", "x.py"], 4, "x.py: no such file"),
        (["--code", "empty.py"], 5, "there is no LSTMCAST"),
        (["--code", "pipe"], 5, "pipe: not a regular file"),
        (["--code", "bytes"], 5, "bytes: not UTF-8 text"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "bytes").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "pipe")
    done = lstmcast(tmp_path, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
