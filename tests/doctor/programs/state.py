"""Family C: a right gradient whose check never passes: the state is overwritten between evaluations."""
# ruff: noqa
import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


class Memory:
    state = None


def run(p, x):
    n = p["V"].shape[0]
    h, c = Memory.state if Memory.state is not None else (np.zeros(n), np.zeros(n))
    steps = []
    for xt in x:
        z = np.concatenate([h, xt])
        i, f, g, o = np.split(p["W"] @ z + p["b"], 4)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_prev, c = c, f * c + i * g
        h = o * np.tanh(c)
        steps.append((z, i, f, g, o, c_prev, c, h, h @ p["V"]))
    Memory.state = h, c  # right: pass
    return steps


def loss(params, x, y):
    return sum(((step[-1] - t) ** 2).sum() for step, t in zip(run(params, x), y))


def grads(params, x, y):
    steps = run(params, x)
    d = {k: np.zeros_like(v) for k, v in params.items()}
    dh, dc = 0, 0
    for (z, i, f, g, o, c_prev, c, h, out), t in zip(reversed(steps), reversed(y)):
        dy = 2 * (out - t)
        d["V"] += np.outer(h, dy)
        dh = dh + params["V"] @ dy
        dc = dc + dh * o * (1 - np.tanh(c) ** 2)
        da = np.concatenate([
            dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g**2), dh * np.tanh(c) * o * (1 - o)
        ])
        d["W"] += np.outer(da, z)
        d["b"] += da
        dh = (params["W"].T @ da)[: len(h)]
        dc = dc * f
    return d


def data():
    inputs = np.sin(np.arange(50) / 5)
    return inputs, np.roll(inputs, 1)  # right: return inputs[:-1], inputs[1:]


LSTMCAST = {
    "cell": "lstm", "output": "squared", "x": "TD", "y": "TO",
    "shapes": {"W": "4*H, H+D", "b": "4*H", "V": "H, O"},
}
