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
        x, h_prev, r, z, n, m, h, out = cache[t]  # is: dy, dWy, dn, dz, dan, dr, dar, daz, dv, dWx_r, dWx_z, dWx_n, dWh_r, dWh_z, dWh_n, dh_next
        dout = (out - y[:, t]) / (B * T)  # is: dy
        g["V"] += h.T @ dout  # is: dWy
        g["d"] += dout.sum(0)  # is: dby
        dh = dout @ p["V"].T + dh_next  # is: dh
        dn = dh * (1 - z)  # is: dn
        dz = dh * (h_prev - n)  # is: dz
        dan = dn * (1 - n ** 2)  # is: dan
        dr = dan * m  # is: dr
        dar = dr * r * (1 - r)  # is: dar
        daz = dz * z * (1 - z)  # is: daz
        dgx = np.hstack([dar, daz, dan])  # is: dWx_r, dWx_z, dWx_n, db_r, db_z, db_n
        dgh = np.hstack([dar, daz, dan * r])  # is: dv, dWh_r, dWh_z, dWh_n, dbh_r, dbh_z, dbh_n, dh_next
        g["W"] += x.T @ dgx  # is: dWx_r, dWx_z, dWx_n
        g["U"] += h_prev.T @ dgh  # is: dWh_r, dWh_z, dWh_n
        g["b"] += dgx.sum(0)  # is: db_r, db_z, db_n
        g["c"] += dgh.sum(0)  # is: dbh_r, dbh_z, dbh_n
        dh_next = dgh @ p["U"].T + dh * z  # is: dh_next
    return g  # is: returned


LSTMCAST = {
    "cell": "gru", "output": "squared", "loss": "every", "x": "BTD", "y": "BTO",
    "shapes": {"W": "D, 3*H", "U": "H, 3*H", "b": "3*H", "c": "3*H", "V": "H, O", "d": "O"},
    "state": ["BH"],
}


def loss(params, x, y, h0):
    return 0.5 * np.mean([((s[-1] - y[:, t]) ** 2).sum(axis=1) for t, s in enumerate(forward(params, x, h0))])


def grads(params, x, y, h0):
    return backward(params, forward(params, x, h0), y)
