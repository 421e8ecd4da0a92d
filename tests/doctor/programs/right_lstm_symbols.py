"""An LSTM over symbols with softmax: column vectors, one concatenated input, weights (out, in)."""
# ruff: noqa
import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def run(P, inputs, h0, c0):
    V, H = P["Wv"].shape[0], h0.shape[0]
    zs, fs, ins, cands, os, cs, hs, ps = {}, {}, {}, {}, {}, {-1: c0}, {-1: h0}, {}
    for t in range(len(inputs)):
        x = np.zeros((V, 1))
        x[inputs[t]] = 1
        z = np.vstack((hs[t - 1], x))
        fs[t] = sigmoid(np.dot(P["Wf"], z) + P["bf"])
        ins[t] = sigmoid(np.dot(P["Wi"], z) + P["bi"])
        cands[t] = np.tanh(np.dot(P["Wc"], z) + P["bc"])
        cs[t] = fs[t] * cs[t - 1] + ins[t] * cands[t]
        os[t] = sigmoid(np.dot(P["Wo"], z) + P["bo"])
        hs[t] = os[t] * np.tanh(cs[t])
        v = np.dot(P["Wv"], hs[t]) + P["bv"]
        e = np.exp(v - v.max())
        ps[t] = e / e.sum()
        zs[t] = z
    return zs, fs, ins, cands, os, cs, hs, ps


def backward(P, targets, zs, fs, ins, cands, os, cs, hs, ps):
    H = hs[-1].shape[0]
    dWf, dWi, dWc, dWo, dWv = [np.zeros_like(P[k]) for k in ("Wf", "Wi", "Wc", "Wo", "Wv")]
    dbf, dbi, dbc, dbo, dbv = [np.zeros_like(P[k]) for k in ("bf", "bi", "bc", "bo", "bv")]
    dhnext = np.zeros((H, 1))
    dcnext = np.zeros((H, 1))
    for t in reversed(range(len(targets))):
        dv = np.copy(ps[t])  # is: dy
        dv[targets[t]] -= 1  # is: dy
        dWv += np.dot(dv, hs[t].T)  # is: dWy
        dbv += dv  # is: dby
        dh = np.dot(P["Wv"].T, dv)  # is: dh
        dh += dhnext  # is: dh
        do = dh * np.tanh(cs[t])  # is: do
        do = do * os[t] * (1 - os[t])  # is: dao
        dWo += np.dot(do, zs[t].T)  # is: dWx_o, dWh_o
        dbo += do  # is: db_o
        dc = np.copy(dcnext)  # is: dc
        dc += dh * os[t] * (1 - np.tanh(cs[t]) ** 2)  # is: dc
        dcand = dc * ins[t]  # is: dg
        dcand = dcand * (1 - cands[t] ** 2)  # is: dag
        dWc += np.dot(dcand, zs[t].T)  # is: dWx_g, dWh_g
        dbc += dcand  # is: db_g
        di = dc * cands[t]  # is: di
        di = ins[t] * (1 - ins[t]) * di  # is: dai
        dWi += np.dot(di, zs[t].T)  # is: dWx_i, dWh_i
        dbi += di  # is: db_i
        df = dc * cs[t - 1]  # is: df
        df = fs[t] * (1 - fs[t]) * df  # is: daf
        dWf += np.dot(df, zs[t].T)  # is: dWx_f, dWh_f
        dbf += df  # is: db_f
        dz = np.dot(P["Wf"].T, df) + np.dot(P["Wi"].T, di) + np.dot(P["Wc"].T, dcand) + np.dot(P["Wo"].T, do)  # is: dh_next
        dhnext = dz[:H, :]  # is: dh_next
        dcnext = fs[t] * dc  # is: dc_next
    return dWf, dWi, dWc, dWo, dWv, dbf, dbi, dbc, dbo, dbv  # is: returned


LSTMCAST = {
    "cell": "lstm", "output": "softmax", "loss": "every", "x": "T", "y": "T",
    "shapes": {
        "Wf": "H, H+D", "Wi": "H, H+D", "Wc": "H, H+D", "Wo": "H, H+D", "Wv": "D, H",
        "bf": "H, 1", "bi": "H, 1", "bc": "H, 1", "bo": "H, 1", "bv": "D, 1",
    },
    "state": ["H1", "H1"],
    "gradients": ["Wf", "Wi", "Wc", "Wo", "Wv", "bf", "bi", "bc", "bo", "bv"],
}


def loss(params, x, y, h0, c0):
    ps = run(params, x, h0, c0)[-1]
    return -sum(np.log(ps[t][y[t], 0]) for t in range(len(y)))


def grads(params, x, y, h0, c0):
    return backward(params, y, *run(params, x, h0, c0))
