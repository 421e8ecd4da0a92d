"""The check of any function accepts right gradients and rejects wrong ones, however the function calculates."""

import math

import numpy as np
import pytest

from lstmcast.errors import UsageError
from lstmcast.gradients.function import assert_gradients, check_gradients

RANDOM = np.random.default_rng(0)
PARAMETERS = {"W": RANDOM.standard_normal((3, 4)), "b": RANDOM.standard_normal(4), "s": np.array(0.7)}
X = RANDOM.standard_normal((5, 3))


def loss(p):
    return p["s"] * (np.tanh(X @ p["W"] + p["b"]) ** 2).sum()


def gradients(p):
    y = np.tanh(X @ p["W"] + p["b"])
    da = p["s"] * 2 * y * (1 - y**2)
    return {"W": X.T @ da, "b": da.sum(axis=0), "s": (y**2).sum()}


def in_float32(p):
    single = {name: np.real(array).astype(np.float32) for name, array in p.items()}
    y = np.tanh(X.astype(np.float32) @ single["W"] + single["b"])
    return float(single["s"] * (y**2).sum(dtype=np.float32))


def with_mathematics(p):
    """Take no complex numbers: `math` refuses them."""
    total = 0.0
    for x in X:
        for k in range(4):
            total += math.tanh(float(x @ p["W"][:, k] + p["b"][k])) ** 2
    return float(p["s"]) * total


@pytest.mark.parametrize(
    ("function", "oracle"), [(loss, "complex"), (with_mathematics, "central"), (in_float32, "central")]
)
def test_right_gradients_pass(function, oracle):
    report = check_gradients(function, gradients, PARAMETERS)
    assert report.passed, str(report)
    assert report.oracle == oracle
    assert_gradients(function, gradients, PARAMETERS)


@pytest.mark.parametrize("function", [loss, with_mathematics, in_float32])
@pytest.mark.parametrize(("name", "place"), [("W", (1, 2)), ("b", (3,)), ("s", ())])
def test_one_wrong_element_is_found_with_both_numbers(function, name, place):
    wrong = gradients(PARAMETERS)
    right = wrong[name][place]
    wrong[name] = np.array(wrong[name])
    wrong[name][place] += 0.1
    report = check_gradients(function, wrong, PARAMETERS)
    assert not report.passed
    assert {key for key, result in report.parameters.items() if not result.passed} == {name}
    result = report.parameters[name]
    assert result.worst_element == place
    assert result.analytic == pytest.approx(right + 0.1)
    assert result.numeric == pytest.approx(right, abs=1e-3)
    assert "WRONG" in str(report)
    with pytest.raises(AssertionError, match="WRONG"):
        assert_gradients(function, wrong, PARAMETERS)


def test_the_direction_sees_an_element_that_is_not_looked_at():
    big = {"w": RANDOM.standard_normal(500)}
    for place in range(0, 500, 50):
        wrong = 2 * big["w"]
        wrong[place] += 1.0
        assert not check_gradients(lambda p: (p["w"] ** 2).sum(), {"w": wrong}, big, entries=10).passed
    assert check_gradients(lambda p: (p["w"] ** 2).sum(), {"w": 2 * big["w"]}, big, entries=10).passed


def test_elements_at_a_kink_do_not_count():
    at = {"w": np.array([0.0, 1.0, -1.0])}
    relu = {"w": np.array([1.0, 1.0, 0.0])}
    report = check_gradients(lambda p: np.maximum(np.real(p["w"]), 0).sum(), relu, at)
    assert report.passed
    assert "kink" in report.parameters["w"].note
    relu["w"][2] = 1.0
    assert not check_gradients(lambda p: np.maximum(np.real(p["w"]), 0).sum(), relu, at).passed


def test_a_loss_that_drops_the_imaginary_part_is_differenced():
    report = check_gradients(lambda p: complex(np.sum(np.abs(p["w"]) ** 2)), {"w": [2.0, 4.0]}, {"w": [1.0, 2.0]})
    assert report.passed
    assert report.oracle == "central"


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        (lambda p: p["w"], {"w": np.ones(3)}, "must return one number"),
        (lambda _: math.nan, {"w": np.ones(3)}, "finite"),
        (lambda _: RANDOM.random(), {"w": np.ones(3)}, "same parameters"),
        (lambda p: p["w"].sum(), {"v": np.ones(3)}, "none of 'w'"),
        (lambda p: p["w"].sum(), {"w": np.ones(4)}, "shape"),
    ],
)
def test_what_cannot_be_checked_is_refused(function, given, message):
    with pytest.raises(UsageError, match=message):
        check_gradients(function, given, {"w": np.zeros(3)})


def test_the_parameters_are_left_as_they_were():
    at = {"w": np.ones(3)}

    def changes_them(p):
        p["w"] *= 2
        return (p["w"] ** 2).sum()

    assert check_gradients(changes_them, {"w": 8 * at["w"]}, at).passed
    assert at["w"].tolist() == [1, 1, 1]


def test_a_nan_gradient_fails():
    assert not check_gradients(lambda p: p["w"].sum(), {"w": [1.0, math.nan]}, {"w": np.zeros(2)}).passed


W = np.random.default_rng(3).standard_normal(5)
ONES = np.ones(50_000)


@pytest.mark.parametrize(
    ("function", "right", "at"),
    [
        (lambda p: 1e-12 * (p["w"] ** 2).sum(), 2e-12 * W, W),
        (lambda p: 1e12 * (p["w"] ** 2).sum(), 2e12 * W, W),
        (lambda p: (np.real(p["w"]) ** 2).sum(), 2e6 * W, 1e6 * W),
        (lambda p: np.log(np.abs(np.real(p["w"]))).sum(), 100 / W, 0.01 * W),
        (lambda p: float(np.round((np.real(p["w"]) ** 2).sum(), 6)), 2 * W, W),
        (lambda p: (p["w"] ** 2).sum(), 2 * ONES, ONES),
    ],
    ids=["tiny loss", "huge loss", "large", "small and real alone", "rounded", "many elements"],
)
def test_of_any_size_right_gradients_pass_and_wrong_ones_fail(function, right, at):
    assert check_gradients(function, {"w": right}, {"w": at}).passed
    assert not check_gradients(function, {"w": 1.01 * right}, {"w": at}).passed
    one = right.copy()
    one[3] *= 1.1
    assert not check_gradients(function, {"w": one}, {"w": at}).passed


def test_where_nothing_can_be_compared_nothing_passes():
    report = check_gradients(lambda p: np.abs(np.real(p["w"])).sum(), {"w": 7 * np.ones(3)}, {"w": np.zeros(3)})
    assert not report.passed
    assert "nothing could be compared" in report.parameters["w"].note


def test_an_empty_array_is_right():
    empty = np.zeros((0, 3))
    assert check_gradients(lambda p: (p["w"] ** 2).sum(), {"w": 2 * W, "e": empty}, {"w": W, "e": empty}).passed
    with pytest.raises(UsageError, match="none"):
        check_gradients(lambda _: 1.0, {"e": empty}, {"e": empty})


@pytest.mark.parametrize("given", [None, [np.ones(5)], lambda _: None])
def test_gradients_without_names_are_refused(given):
    with pytest.raises(UsageError, match="by name"):
        check_gradients(lambda p: p["w"].sum(), given, {"w": W})


@pytest.mark.parametrize("arguments", [({"w": W}, {"w": W}, {"w": W}), (lambda p: p["w"].sum(), {"w": W}, [W])])
def test_arguments_in_another_order_are_refused(arguments):
    with pytest.raises(UsageError, match="in this order"):
        check_gradients(*arguments)
