"""What the settings say is what torch's optimizers get."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lstmcast.training.optimizers import LBFGS, SGD, Adam, AdamW, LevenbergMarquardt, RMSprop

# no value is a default, neither here nor in torch
SETTINGS = {
    "adam": (
        Adam(kind="adam", learning_rate=0.2, weight_decay=0.3, betas=[0.4, 0.5], eps=0.6),
        {"lr": 0.2, "weight_decay": 0.3, "betas": (0.4, 0.5), "eps": 0.6},
    ),
    "adamw": (
        AdamW(kind="adamw", learning_rate=0.2, weight_decay=0.3, betas=[0.4, 0.5], eps=0.6),
        {"lr": 0.2, "weight_decay": 0.3, "betas": (0.4, 0.5), "eps": 0.6},
    ),
    "sgd": (
        SGD(kind="sgd", learning_rate=0.2, weight_decay=0.3, momentum=0.4, nesterov=True),
        {"lr": 0.2, "weight_decay": 0.3, "momentum": 0.4, "nesterov": True},
    ),
    "rmsprop": (
        RMSprop(kind="rmsprop", learning_rate=0.2, weight_decay=0.3, momentum=0.4, alpha=0.5, eps=0.6),
        {"lr": 0.2, "weight_decay": 0.3, "momentum": 0.4, "alpha": 0.5, "eps": 0.6},
    ),
    "lbfgs": (
        LBFGS(
            kind="lbfgs",
            learning_rate=0.2,
            line_search="none",
            max_iterations=3,
            history_size=4,
            tolerance_grad=1e-5,
            tolerance_change=1e-6,
        ),
        {
            "lr": 0.2,
            "line_search_fn": None,
            "max_iter": 3,
            "history_size": 4,
            "tolerance_grad": 1e-5,
            "tolerance_change": 1e-6,
        },
    ),
}
OWN = {"levenberg_marquardt"}


def group(settings):
    (made,) = settings.build(torch.nn.Parameter(torch.zeros(3))).param_groups
    return made


def test_every_optimizer_is_under_test(kinds):
    assert SETTINGS.keys() | OWN == kinds[0]


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_reaches_the_optimizer(kind):
    settings, expected = SETTINGS[kind]
    assert len(expected) == len(type(settings).model_fields) - 1
    assert {name: group(settings)[name] for name in expected} == expected


@pytest.mark.parametrize("kind", SETTINGS)
def test_defaults_are_torchs_own(kind):
    settings = type(SETTINGS[kind][0])(kind=kind)
    (torchs,) = type(settings.build(torch.nn.Parameter(torch.zeros(1))))(
        [torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate
    ).param_groups
    ours = group(settings)
    chosen = {"params", "line_search_fn"} if kind == "lbfgs" else {"params"}
    assert {key: ours[key] for key in ours.keys() - chosen} == {key: torchs[key] for key in torchs.keys() - chosen}


def test_the_default_line_search_is_strong_wolfe():
    assert group(LBFGS(kind="lbfgs"))["line_search_fn"] == "strong_wolfe"


@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_lbfgs_finds_the_minimum_of_a_quadratic(scale):
    """However small the loss is, with tolerances of 0: torch's own would end each step where it began."""
    matrix = scale * torch.from_numpy(np.diag([1.0, 10, 100]))
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = LBFGS(kind="lbfgs", tolerance_grad=0, tolerance_change=0).build(parameter)

    def loss():
        optimizer.zero_grad()
        value = parameter @ matrix @ parameter
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(loss)
    assert parameter.abs().max() < 1e-6


class Quadratic:
    """|A θ - b|², for a method that asks for its curvature."""

    def __init__(self, parameter):
        random = np.random.default_rng(0)
        self.parameter, self.evaluations = parameter, 0
        self.A, self.b = torch.from_numpy(random.standard_normal((5, 3))), torch.from_numpy(random.standard_normal(5))

    def __call__(self):
        self.evaluations += 1
        residual = self.A @ self.parameter.detach() - self.b
        self.parameter.grad = 2 * self.A.T @ residual
        return float(residual @ residual)

    trial = __call__

    def curvature(self):
        return (2 * self.A.T @ self.A).numpy()

    def bending(self, direction):
        return np.zeros_like(direction)


class Rosenbrock:
    """The residuals 10 (y - x²) and 1 - x: a valley along a parabola."""

    def __init__(self, parameter):
        self.parameter = parameter

    def __call__(self):
        x, y = self.parameter.detach()
        residual = torch.stack([10 * (y - x**2), 1 - x])
        self.parameter.grad = 2 * self.J().T @ residual
        return float(residual @ residual)

    trial = __call__

    def J(self):
        return torch.tensor([[-20 * float(self.parameter.detach()[0]), 10], [-1, 0]], dtype=torch.float64)

    def curvature(self):
        return (2 * self.J().T @ self.J()).numpy()

    def bending(self, direction):
        return (2 * self.J().T @ torch.tensor([-20 * direction[0] ** 2, 0], dtype=torch.float64)).numpy()


def parameter():
    return torch.nn.Parameter(torch.ones(3, dtype=torch.float64))


def test_levenberg_marquardt_solves_a_linear_problem_in_one_step():
    theta = parameter()
    problem = Quadratic(theta)
    LevenbergMarquardt(kind="levenberg_marquardt", damping=1e-12).build(theta).step(problem)
    expected = torch.linalg.lstsq(problem.A, problem.b[:, None]).solution[:, 0]
    torch.testing.assert_close(theta.detach(), expected)


def test_levenberg_marquardt_takes_the_share_of_the_step_that_is_asked_for():
    whole, half = parameter(), parameter()
    LevenbergMarquardt(kind="levenberg_marquardt").build(whole).step(Quadratic(whole))
    LevenbergMarquardt(kind="levenberg_marquardt", learning_rate=0.5).build(half).step(Quadratic(half))
    torch.testing.assert_close(half - 1, (whole - 1) / 2)


def test_levenberg_marquardt_stays_where_no_damping_helps_and_raises_it():
    theta = parameter()
    problem = Quadratic(theta)
    optimizer = LevenbergMarquardt(kind="levenberg_marquardt", attempts=3).build(theta)
    problem.trial = lambda: float("nan")
    optimizer.step(problem)
    torch.testing.assert_close(theta.detach(), torch.ones(3, dtype=torch.float64))
    assert optimizer.state[theta]["damping"] == pytest.approx(1e-3 * 4**3)


def test_levenberg_marquardt_damps_more_until_the_loss_falls():
    theta = parameter()
    problem = Quadratic(theta)
    true = problem.curvature()
    # a curvature that promises too much: the step overshoots until it is damped
    problem.curvature = lambda: true / 100
    optimizer = LevenbergMarquardt(kind="levenberg_marquardt", attempts=20).build(theta)
    before = problem()
    optimizer.step(problem)
    assert problem() < before
    assert optimizer.state[theta]["damping"] > 1


def test_levenberg_marquardt_follows_a_bent_valley():
    theta = torch.nn.Parameter(torch.tensor([0.6, 0.36], dtype=torch.float64))
    LevenbergMarquardt(kind="levenberg_marquardt", damping=1e-12).build(theta).step(Rosenbrock(theta))
    torch.testing.assert_close(theta.detach(), torch.ones(2, dtype=torch.float64))


def test_levenberg_marquardt_steps_straight_where_the_valley_bends_too_much():
    theta = torch.nn.Parameter(torch.tensor([-1.2, 6.4], dtype=torch.float64))
    LevenbergMarquardt(kind="levenberg_marquardt", damping=1e-12).build(theta).step(Rosenbrock(theta))
    # the parabola would end in the minimum (1, 1), but its |a| is 0.84 |v|
    torch.testing.assert_close(theta.detach(), torch.tensor([1, -3.84], dtype=torch.float64))


@pytest.mark.parametrize("rate", [1.0, 0.1])
@pytest.mark.parametrize(("told", "factor"), [(1.0, 1 / 3), (0.8, 1 - 0.5**3), (0.6, 1 + (1 / 3) ** 3)])
def test_levenberg_marquardt_eases_the_damping_by_the_share_of_the_gain_that_came_true(rate, told, factor):
    theta = parameter()
    problem = Quadratic(theta)
    true = problem.curvature()
    # told a share k of the curvature, a whole step promises 1 / 2k of what the best one gains, and gains 1/k - 1 / 2k²
    problem.curvature = lambda: told * true
    optimizer = LevenbergMarquardt(kind="levenberg_marquardt", damping=1e-9, learning_rate=rate).build(theta)
    optimizer.step(problem)
    if rate < 1:
        ratio = (rate / told - (rate / told) ** 2 / 2) / ((rate - rate**2 / 2) / told)
        factor = max(1 / 3, 1 - (2 * ratio - 1) ** 3)
    assert optimizer.state[theta]["damping"] == pytest.approx(1e-9 * factor, rel=1e-6)


def test_levenberg_marquardt_arrives_in_small_steps_too():
    theta = parameter()
    problem = Quadratic(theta)
    optimizer = LevenbergMarquardt(kind="levenberg_marquardt", learning_rate=0.1).build(theta)
    for _ in range(200):
        optimizer.step(problem)
    expected = torch.linalg.lstsq(problem.A, problem.b[:, None]).solution[:, 0]
    torch.testing.assert_close(theta.detach(), expected, rtol=0, atol=1e-6)
