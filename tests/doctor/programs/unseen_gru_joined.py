"""A GRU: batch first, [x, h] joined, update and reset gate in one matrix, the state multiplied by r first."""
# ruff: noqa
import numpy as np


def sigm(v):
    return 1 / (1 + np.exp(-v))


def forward(W_gates, b_gates, W_new, b_new, W_y, xs, state):
    N = state.shape[1]
    store, scores = [], []
    for k in range(xs.shape[1]):
        x = xs[:, k, :]
        xh = np.concatenate([x, state], axis=1)
        u, r = np.split(sigm(xh.dot(W_gates) + b_gates), 2, axis=1)
        xrh = np.concatenate([x, r * state], axis=1)
        new = np.tanh(xrh.dot(W_new) + b_new)
        after = u * new + (1 - u) * state
        store.append([xh, xrh, u, r, new, state, after])
        state = after
        scores.append(state.dot(W_y))
    scores = np.stack(scores, axis=1)
    scores = np.exp(scores - scores.max(axis=2, keepdims=True))
    return store, scores / scores.sum(axis=2, keepdims=True)


def backward(W_gates, b_gates, W_new, b_new, W_y, store, probs, labels):
    n, steps, _ = probs.shape
    dW_gates = np.zeros(W_gates.shape)
    db_gates = np.zeros(b_gates.shape)
    dW_new = np.zeros(W_new.shape)
    db_new = np.zeros(b_new.shape)
    dW_y = np.zeros(W_y.shape)
    N = W_y.shape[0]
    dscores = (probs - labels) / (n * steps)  # is: dy
    dstate = 0.0
    for k in range(steps)[::-1]:
        xh, xrh, u, r, new, before, after = store[k]  # is: dWy, dn, dz, dan, dr, dar, daz, dWx_r, dWx_z, dWx_n, dWh_r, dWh_z, dWh_n, dh_next
        dW_y += after.T.dot(dscores[:, k])  # is: dWy
        dafter = dscores[:, k].dot(W_y.T) + dstate  # is: dh
        dnew = dafter * u * (1 - new * new)  # is: dn, dan
        du = dafter * (new - before) * (u - u * u)  # is: dz, daz
        dW_new += xrh.T.dot(dnew)  # is: dWx_n, dWh_n
        db_new += dnew.sum(axis=0)  # is: db_n
        drh = dnew.dot(W_new.T)[:, -N:]  # is: ds
        dr = drh * before * (r - r * r)  # is: dr, dar
        dgates = np.concatenate([du, dr], axis=1)  # is: dWx_r, dWx_z, dWh_r, dWh_z, db_r, db_z, dh_next
        dW_gates += xh.T.dot(dgates)  # is: dWx_r, dWx_z, dWh_r, dWh_z
        db_gates += dgates.sum(axis=0)  # is: db_r, db_z
        dstate = dgates.dot(W_gates.T)[:, -N:] + drh * r + dafter * (1 - u)  # is: dh_next
    return dW_gates, db_gates, dW_new, db_new, dW_y  # is: returned


LSTMCAST = {
    "cell": "gru", "output": "softmax", "loss": "every", "x": "BTD", "y": "BTO",
    "shapes": {"W_gates": "D+H, 2*H", "b_gates": "2*H", "W_new": "D+H, H", "b_new": "H", "W_y": "H, O"},
    "state": ["BH"],
    "gradients": ["W_gates", "b_gates", "W_new", "b_new", "W_y"],
}


def loss(params, x, y, h):
    return -np.mean(np.sum(y * np.log(forward(**params, xs=x, state=h)[1]), axis=2))


def grads(params, x, y, h):
    return backward(**params, **dict(zip(("store", "probs"), forward(**params, xs=x, state=h))), labels=y)
