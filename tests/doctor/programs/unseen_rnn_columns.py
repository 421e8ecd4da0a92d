"""A vanilla RNN over symbols: one sample, column vectors, one-hot by hand, dicts over time."""
# ruff: noqa
import numpy as np


def forward(net, symbols, h_start):
    inp, hid, prob = {}, {-1: h_start}, {}
    for t in range(len(symbols)):
        inp[t] = np.zeros((net["U"].shape[1], 1))
        inp[t][symbols[t]] = 1.0
        hid[t] = np.tanh(np.dot(net["U"], inp[t]) + np.dot(net["W"], hid[t - 1]) + net["b"])
        o = np.dot(net["V"], hid[t]) + net["c"]
        prob[t] = np.exp(o) / np.sum(np.exp(o))
    return inp, hid, prob


def backward(net, inp, hid, prob, wanted):
    gU, gW, gV = np.zeros_like(net["U"]), np.zeros_like(net["W"]), np.zeros_like(net["V"])
    gb, gc = np.zeros_like(net["b"]), np.zeros_like(net["c"])
    later = np.zeros_like(hid[0])
    for t in reversed(range(len(wanted))):
        go = prob[t].copy()  # is: dy
        go[wanted[t]] -= 1  # is: dy
        gV += np.dot(go, hid[t].T)  # is: dWy
        gc += go  # is: dby
        gh = np.dot(net["V"].T, go) + later  # is: dh
        ga = (1 - hid[t] * hid[t]) * gh  # is: dah
        gb += ga  # is: db_h
        gU += np.dot(ga, inp[t].T)  # is: dWx_h
        gW += np.dot(ga, hid[t - 1].T)  # is: dWh_h
        later = np.dot(net["W"].T, ga)  # is: dh_next
    return {"U": gU, "W": gW, "V": gV, "b": gb, "c": gc}  # is: returned


LSTMCAST = {
    "cell": "rnn", "output": "softmax", "loss": "every", "x": "T", "y": "T",
    "shapes": {"U": "H, D", "W": "H, H", "V": "D, H", "b": "H, 1", "c": "D, 1"},
    "state": ["H1"],
}


def loss(params, x, y, h):
    prob = forward(params, x, h)[-1]
    return -np.sum([np.log(prob[t][y[t], 0]) for t in range(len(y))])


def grads(params, x, y, h):
    return backward(params, *forward(params, x, h), y)
