"""A batched vanilla RNN with softmax on one-hot inputs, averaged over the batch."""
# ruff: noqa
import numpy as np


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def forward(p, X, h):
    hs, probs = [h], []
    for t in range(X.shape[1]):
        h = np.tanh(X[:, t] @ p["W1"] + h @ p["W2"] + p["b1"])
        hs.append(h)
        probs.append(softmax(h @ p["W3"] + p["b2"]))
    return hs, probs


def backward(p, X, Y, hs, probs):
    B, T = X.shape[0], X.shape[1]
    dW1, dW2, dW3 = np.zeros_like(p["W1"]), np.zeros_like(p["W2"]), np.zeros_like(p["W3"])  # is: dWx_h, dWh_h, dWy
    db1, db2 = np.zeros_like(p["b1"]), np.zeros_like(p["b2"])  # is: db_h, dby
    dh_prev = np.zeros_like(hs[0])
    for t in reversed(range(T)):
        dlogits = probs[t].copy()  # is: dy
        dlogits[np.arange(B), Y[:, t]] -= 1  # is: dy
        dlogits /= B  # is: dy
        dW3 += hs[t + 1].T @ dlogits  # is: dWy
        db2 += dlogits.sum(axis=0)  # is: dby
        dh = dlogits @ p["W3"].T + dh_prev  # is: dh
        dz = (1 - hs[t + 1] * hs[t + 1]) * dh  # is: dah
        dW1 += X[:, t].T @ dz  # is: dWx_h
        dW2 += hs[t].T @ dz  # is: dWh_h
        db1 += dz.sum(axis=0)  # is: db_h
        dh_prev = dz @ p["W2"].T  # is: dh_next
    return {"W1": dW1, "W2": dW2, "W3": dW3, "b1": db1, "b2": db2}  # is: returned


LSTMCAST = {
    "cell": "rnn", "output": "softmax", "loss": "every", "x": "BTD", "one_hot": True, "y": "BT",
    "shapes": {"W1": "D, H", "W2": "H, H", "W3": "H, O", "b1": "H", "b2": "O"},
    "state": ["BH"],
}


def loss(params, x, y, h0):
    _, probs = forward(params, x, h0)
    B = len(x)
    return -sum(np.log(probs[t][np.arange(B), y[:, t]]).sum() for t in range(len(probs))) / B


def grads(params, x, y, h0):
    return backward(params, x, y, *forward(params, x, h0))
