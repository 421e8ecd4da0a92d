"""A batched GRU: the three gates in one matrix for x and one for h, reset after the product, two biases."""
# ruff: noqa
import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def forward(p, x, h):
    H = h.shape[1]
    cache = []
    for t in range(x.shape[1]):
        h_prev = h
        gx = x[:, t] @ p["W"] + p["b"]
        gh = h_prev @ p["U"] + p["c"]
        r = sigmoid(gx[:, :H] + gh[:, :H])
        z = sigmoid(gx[:, H:2 * H] + gh[:, H:2 * H])
        m = gh[:, 2 * H:]
        n = np.tanh(gx[:, 2 * H:] + r * m)
        h = (1 - z) * n + z * h_prev
        cache.append((x[:, t], h_prev, r, z, n, m, h, h @ p["V"] + p["d"]))
    return cache


def backward(p, cache, y):
    B, T = y.shape[0], y.shape[1]
    g = {k: np.zeros_like(v) for k, v in p.items()}
    dh_next = np.zeros_like(cache[0][1])
    for t in reversed(range(T)):
        x, h_prev, r, z, n, m, h, out = cache[t]
        dout = (out - y[:, t]) / (B * T)
        g["V"] += h.T @ dout
        g["d"] += dout.sum(0)
        dh = dout @ p["V"].T + dh_next
        dn = dh * (1 - z)
        dz = dh * (h_prev - n)
        dan = dn * (1 - n ** 2)
        dr = dan * m
        dar = dr * r * (1 - r)
        daz = dz * z * (1 - z)
        dgx = np.hstack([dar, daz, dan])
        dgh = np.hstack([dar, daz, dan * r])
        g["W"] += x.T @ dgx
        g["U"] += h_prev.T @ dgh
        g["b"] += dgx.sum(0)
        g["c"] += dgh.sum(0)
        dh_next = dgh @ p["U"].T + dh * z
    return g


LSTMCAST = {
    "cell": "gru", "output": "squared", "loss": "every", "x": "BTD", "y": "BTO",
    "shapes": {"W": "D, 3*H", "U": "H, 3*H", "b": "3*H", "c": "3*H", "V": "H, O", "d": "O"},
    "state": ["BH"],
}


def loss(params, x, y, h0):
    return 0.5 * np.mean([((s[-1] - y[:, t]) ** 2).sum(axis=1) for t, s in enumerate(forward(params, x, h0))])


def grads(params, x, y, h0):
    return backward(params, forward(params, x, h0), y)
