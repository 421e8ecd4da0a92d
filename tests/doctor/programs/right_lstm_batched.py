"""A batched LSTM as a textbook has it: a matrix for each gate, lists over time."""
# ruff: noqa
import numpy as np


def sigmoid(a):
    return 1.0 / (1.0 + np.exp(-a))


def forward(p, xs, h0, c0):
    T = xs.shape[0]
    cache = {k: [None] * T for k in ("i", "f", "o", "g", "tc", "h_prev", "c_prev", "h", "y")}
    h, c = h0, c0
    for t in range(T):
        x = xs[t]
        cache["h_prev"][t], cache["c_prev"][t] = h, c
        i = sigmoid(x @ p["Wxi"] + h @ p["Whi"] + p["bi"])
        f = sigmoid(x @ p["Wxf"] + h @ p["Whf"] + p["bf"])
        o = sigmoid(x @ p["Wxo"] + h @ p["Who"] + p["bo"])
        g = np.tanh(x @ p["Wxg"] + h @ p["Whg"] + p["bg"])
        c = f * c + i * g
        tc = np.tanh(c)
        h = o * tc
        y = h @ p["Wy"] + p["by"]
        for k, v in (("i", i), ("f", f), ("o", o), ("g", g), ("tc", tc), ("h", h), ("y", y)):
            cache[k][t] = v
    return cache


def backward(p, xs, ts, cache):
    T, B = xs.shape[0], xs.shape[1]
    grads = {k: np.zeros_like(v) for k, v in p.items()}
    dh_next = np.zeros_like(cache["h"][0])
    dc_next = np.zeros_like(cache["h"][0])
    for t in reversed(range(T)):
        i, f, o, g, tc = cache["i"][t], cache["f"][t], cache["o"][t], cache["g"][t], cache["tc"][t]  # is: do, dc, di, dg, df, dai, daf, dag, dao, dc_next
        h, h_prev, c_prev = cache["h"][t], cache["h_prev"][t], cache["c_prev"][t]  # is: dWy, df, dWh_i, dWh_f, dWh_g, dWh_o
        x = xs[t]
        dy = (cache["y"][t] - ts[t]) / B  # is: dy
        grads["Wy"] += h.T @ dy  # is: dWy
        grads["by"] += dy.sum(axis=0)  # is: dby
        dh = dy @ p["Wy"].T + dh_next  # is: dh
        do = dh * tc  # is: do
        dc = dc_next + dh * o * (1 - tc ** 2)  # is: dc
        di = dc * g  # is: di
        df = dc * c_prev  # is: df
        dg = dc * i  # is: dg
        dai = di * i * (1 - i)  # is: dai
        daf = df * f * (1 - f)  # is: daf
        dao = do * o * (1 - o)  # is: dao
        dag = dg * (1 - g ** 2)  # is: dag
        grads["Wxi"] += x.T @ dai  # is: dWx_i
        grads["Wxf"] += x.T @ daf  # is: dWx_f
        grads["Wxo"] += x.T @ dao  # is: dWx_o
        grads["Wxg"] += x.T @ dag  # is: dWx_g
        grads["Whi"] += h_prev.T @ dai  # is: dWh_i
        grads["Whf"] += h_prev.T @ daf  # is: dWh_f
        grads["Who"] += h_prev.T @ dao  # is: dWh_o
        grads["Whg"] += h_prev.T @ dag  # is: dWh_g
        grads["bi"] += dai.sum(axis=0)  # is: db_i
        grads["bf"] += daf.sum(axis=0)  # is: db_f
        grads["bo"] += dao.sum(axis=0)  # is: db_o
        grads["bg"] += dag.sum(axis=0)  # is: db_g
        dh_next = dai @ p["Whi"].T + daf @ p["Whf"].T + dao @ p["Who"].T + dag @ p["Whg"].T  # is: dh_next
        dc_next = dc * f  # is: dc_next
    return grads  # is: returned


LSTMCAST = {
    "cell": "lstm", "output": "squared", "loss": "every", "x": "TBD", "y": "TBO",
    "shapes": {
        "Wxi": "D, H", "Wxf": "D, H", "Wxo": "D, H", "Wxg": "D, H",
        "Whi": "H, H", "Whf": "H, H", "Who": "H, H", "Whg": "H, H",
        "bi": "H", "bf": "H", "bo": "H", "bg": "H", "Wy": "H, O", "by": "O",
    },
    "state": ["BH", "BH"],
}


def loss(params, x, y, h0, c0):
    cache = forward(params, x, h0, c0)
    return 0.5 * sum(((cache["y"][t] - y[t]) ** 2).sum() for t in range(len(x))) / x.shape[1]


def grads(params, x, y, h0, c0):
    return backward(params, x, y, forward(params, x, h0, c0))
