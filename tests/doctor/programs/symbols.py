"""Family S: an LSTM with softmax and index inputs whose backward pass starts anew from every step's loss."""
# ruff: noqa
import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def forward(P, xs, h0, c0):
    T, H = len(xs), len(h0)
    h, c = np.zeros((T + 1, H)), np.zeros((T + 1, H))  # row -1 is the state before the first step
    h[-1], c[-1] = h0, c0
    ct, i, f, g, o, p = {}, {}, {}, {}, {}, {}
    for t in range(T):
        i[t] = sigmoid(P["Wi"][:, xs[t]] + P["Ui"] @ h[t - 1] + P["bi"])
        f[t] = sigmoid(P["Wf"][:, xs[t]] + P["Uf"] @ h[t - 1] + P["bf"])
        g[t] = np.tanh(P["Wg"][:, xs[t]] + P["Ug"] @ h[t - 1] + P["bg"])
        o[t] = sigmoid(P["Wo"][:, xs[t]] + P["Uo"] @ h[t - 1] + P["bo"])
        c[t] = f[t] * c[t - 1] + i[t] * g[t]
        ct[t] = c[t]  # right: ct[t] = np.tanh(c[t])
        h[t] = o[t] * np.tanh(c[t])
        e = np.exp(P["V"] @ h[t])
        p[t] = e / e.sum()
    return h, c, ct, i, f, g, o, p


def backward(P, xs, ys, h, c, ct, i, f, g, o, p):
    d = {k: np.zeros_like(v) for k, v in P.items()}
    T = len(xs)
    hp = np.vstack([h[-1:], h[:-2]])
    hp = np.vstack([h[-2:-1], h[:-2]])  # right: hp = hp
    cp = np.vstack([c[-1:], c[:-2]])
    cp = np.vstack([c[-2:-1], c[:-2]])  # right: cp = cp
    dh, dc = np.zeros(h.shape[1]), np.zeros(h.shape[1])
    for source in range(T):
        dy = p[source].copy()
        dy[ys[source]] -= 1
        d["V"] += np.outer(dy, h[source])
        keep = 1  # right: keep = 0
        dh = P["V"].T @ dy + keep * dh
        dc = keep * dc
        first = source - 1  # right: first = source
        for t in range(first, -1, -1):
            dc = dc + dh * o[t] * (1 - ct[t] ** 2)
            da = {
                "i": dc * g[t] * i[t] * (1 - i[t]),
                "f": dc * cp[t] * f[t] * (1 - f[t]),
                "g": dc * i[t] * (1 - g[t] ** 2),
                "o": dh * ct[t] * o[t] * (1 - o[t]),
            }
            for k in "ifgo":
                d["W" + k][:, xs[t]] += da[k]
                d["U" + k] += np.dot(da[k], hp[t])  # right: d["U" + k] += np.outer(da[k], hp[t])
                d["b" + k] += da[k]
            dh = sum(P["U" + k].T @ da[k] for k in "ifgo")
            dc += dc * f[t]  # right: dc = dc * f[t]
    return d


LSTMCAST = {
    "cell": "lstm",
    "output": "softmax",
    "x": "T",
    "y": "T",
    "shapes": {
        "Wi": "H, D", "Wf": "H, D", "Wg": "H, D", "Wo": "H, D",
        "Ui": "H, H", "Uf": "H, H", "Ug": "H, H", "Uo": "H, H",
        "bi": "H", "bf": "H", "bg": "H", "bo": "H", "V": "D, H",
    },
    "state": ["H", "H"],
}


def loss(params, x, y, h0, c0):
    p = forward(params, x, h0, c0)[-1]
    return -sum(np.log(p[t][y[t]]) for t in range(len(x)))


def grads(params, x, y, h0, c0):
    return backward(params, x, y, *forward(params, x, h0, c0))
