"""The trace beside a user's own program."""

from pathlib import Path

import pytest

import lstmcast.doctor
from lstmcast.doctor.trace_program import trace_code
from lstmcast.errors import InvalidError, NotFoundError

TEMPLATES = Path(lstmcast.doctor.__file__).parent / "templates"
FORWARD = """

def trace(params, x, y, h, c):
    steps = forward(params, x, h, c)
    names = "z i f g o c_prev c h out".split()
    return {name: np.array([step[names.index(name)] for step in steps]) for name in ("i", "f", "g", "o", "c", "h")}
"""


@pytest.fixture
def program(tmp_path):
    def write(*changes, shows=FORWARD):
        text = (TEMPLATES / "lstm.txt").read_text(encoding="utf-8").partition("# ---- only for")[0] + shows
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_right_forward_pass_equals_ours(program, steps):
    rows = trace_code(program(), steps, units=9)
    compared = [row for row in rows if row.other is not None]
    assert {row.quantity for row in compared} == {"i", "f", "g", "o", "c", "h"}
    assert {row.step for row in compared} == set(range(steps))
    assert not any(row.differs for row in rows)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("shape", ["(-1, 1, 1)", "-1"])
def test_a_single_unit_may_have_no_axis(program, steps, shape):
    shows = FORWARD.replace("for step in steps])", f"for step in steps]).reshape({shape})")
    one = ('"cell": "lstm",', '"cell": "lstm", "sizes": {"H": 1},')
    rows = trace_code(program(one, shows=shows), steps, units=1)
    assert {row.step for row in rows if row.other is not None} == set(range(steps))
    assert not any(row.differs for row in rows)


def test_the_template_can_be_traced(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text((TEMPLATES / "lstm.txt").read_text(encoding="utf-8"), encoding="utf-8")
    rows = trace_code(path, 3, units=2)
    assert {row.quantity for row in rows if row.other is not None} == {"i", "f", "g", "o", "c", "h"}
    assert not any(row.differs for row in rows)


def test_the_first_difference_is_where_the_mistake_is(program):
    # shown one step late from the second step on
    late = FORWARD.replace("for step in steps])", "for step in steps[:1] + steps[:-1]])")
    wrong = [row for row in trace_code(program(shows=late), 3, units=1) if row.differs]
    assert (wrong[0].step, wrong[0].quantity) == (1, "i")


def test_gradients_are_in_the_scale_of_the_programs_loss(program):
    shows = """

def trace(params, x, y, h, c):
    steps = forward(params, x, h, c)
    d = [2 * (step[-1] - y[:, t]) / y.size @ params["V"].T for t, step in enumerate(steps)]
    return {"dh": np.array(d)}
"""
    # at the last step dh is the head's part alone; before it the recurrent part is missing here
    rows = [row for row in trace_code(program(shows=shows), 3, units=4) if row.quantity == "dh"]
    assert all(row.differs == (row.step < 2) for row in rows)


@pytest.mark.parametrize(
    ("changes", "shows", "message"),
    [
        ((), "", "no function trace"),
        ((), "\n\ndef trace(params, x, y, h, c):\n    return {'q': h}\n", "trace returns q"),
        ((), "\n\ndef trace(params, x, y, h, c):\n    return {'h': h}\n", "has shape"),
        ((), "\n\ndef trace(params, x, y, h, c):\n    return h\n", "must be a dict"),
        ((), "\n\ndef trace(params, x, y, h, c):\n    return {}\n", "trace returns an empty dict"),
        ((), "\n\ntrace = {}\n", "no function trace"),
        ((), "\n\ndef trace(params, x, y, h, c):\n    return 1 / 0\n", "ZeroDivisionError"),
        ((("h = o * np.tanh(c)", "h = o * c"),), FORWARD, "no cell known here"),
    ],
)
def test_what_cannot_be_traced_is_said(program, changes, shows, message):
    with pytest.raises(InvalidError, match=message):
        trace_code(program(*changes, shows=shows), 3, units=1)


def test_a_missing_file(tmp_path):
    with pytest.raises(NotFoundError, match=r"nothing\.py"):
        trace_code(tmp_path / "nothing.py", 3, units=1)
