"""A stack of two RNNs that keeps its states in a buffer of single precision, though it returns float64."""
import numpy as np

KEPT = np.float32


def run(p, k, xs):
    hs = np.zeros((len(xs) + 1, p["U" + k].shape[0]), KEPT)
    for t, x in enumerate(xs):
        hs[t + 1] = np.tanh(x @ p["W" + k] + hs[t] @ p["U" + k] + p["b" + k])
    return hs


def back(p, k, xs, hs, dhs, grads):
    carry, dxs = 0.0, np.zeros(np.shape(xs))
    for t in reversed(range(len(xs))):
        da = (dhs[t] + carry) * (1 - hs[t + 1] ** 2)
        grads["W" + k] += np.outer(xs[t], da)
        grads["U" + k] += np.outer(hs[t], da)
        grads["b" + k] += da
        dxs[t] = p["W" + k] @ da
        carry = p["U" + k] @ da
    return dxs


def loss_and_grads(p, xs, ys):
    grads = {name: np.zeros(value.shape) for name, value in p.items()}
    first = run(p, "1", xs)
    second = run(p, "2", first[1:])
    error = second[1:] @ p["V"] - ys
    grads["V"] += second[1:].T @ error
    dhs = back(p, "2", first[1:], second, error @ p["V"].T, grads)
    back(p, "1", xs, first, dhs, grads)
    return 0.5 * np.sum(error.astype(np.float64) ** 2), grads


LSTMCAST = {"cell": "rnn", "output": "squared", "loss": "every", "x": "TD", "y": "TO",
            "shapes": {"W1": "D, H", "U1": "H, H", "b1": "H", "W2": "H, H", "U2": "H, H", "b2": "H", "V": "H, O"}}
