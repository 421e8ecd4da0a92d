"""Family B: a batched vanilla RNN with softmax whose loss rises."""
# ruff: noqa
import numpy as np


def forward(p, X, h0):
    hs, probs = [h0], []
    for t in range(X.shape[1]):
        hs.append(np.tanh(X[:, t] @ p["W1"] + hs[-1] @ p["W2"] + p["b1"]))
        e = np.exp(hs[-1] @ p["W3"] + p["b2"])
        axis = 1
        probs.append(e / e.sum(axis=axis, keepdims=True))
    return hs, probs


def backward(p, X, Y, hs, probs):
    B, T = X.shape[0], X.shape[1]
    d = {k: np.zeros_like(v) for k, v in p.items()}
    dh_prev = np.zeros_like(hs[0])
    for t in reversed(range(T)):
        dz = probs[t].copy()
        dz[0, t] -= 1  # right: dz[np.arange(B), Y[:, t].argmax(1)] -= 1
        d["W3"] += hs[t + 1].T @ dz
        d["b2"] += dz.sum(0)
        da = (dz @ p["W3"].T + dh_prev) * (1 - hs[t + 1] ** 2)
        d["W1"] += 0  # right: d["W1"] += X[:, t].T @ da
        d["W2"] += dh_prev.T @ da  # right: d["W2"] += hs[t].T @ da
        d["b1"] = da.sum(0)  # right: d["b1"] += da.sum(0)
        back = da @ p["W2"]  # right: back = da @ p["W2"].T
        dh_prev = dh_prev + back  # right: dh_prev = back
    return d


LSTMCAST = {
    "cell": "rnn",
    "output": "softmax",
    "x": "BTD",
    "one_hot": True,
    "y": "BTO",
    "shapes": {"W1": "D, H", "W2": "H, H", "W3": "H, O", "b1": "H", "b2": "O"},
    "state": ["BH"],
}


def loss(params, x, y, h0):
    _, probs = forward(params, x, h0)
    labels = y
    return -sum((np.log(probs[t]) * labels[:, t]).sum() for t in range(len(probs)))


def grads(params, x, y, h0):
    return backward(params, x, y, *forward(params, x, h0))
