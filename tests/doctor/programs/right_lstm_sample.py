"""An LSTM for one sample at a time, a class for the cell at each step, weights (out, in) on [x, h]."""
# ruff: noqa
import numpy as np


def sigmoid(x):
    return 1.0 / (1 + np.exp(-x))


class Weights:
    def __init__(self, params):
        for name, value in params.items():
            setattr(self, name, value)
            setattr(self, name + "_diff", np.zeros_like(value))


class Node:
    def forward(self, w, x, h_prev, s_prev):
        self.x, self.h_prev, self.s_prev = x, h_prev, s_prev
        self.xc = np.hstack((x, h_prev))
        self.g = np.tanh(np.dot(w.wg, self.xc) + w.bg)
        self.i = sigmoid(np.dot(w.wi, self.xc) + w.bi)
        self.f = sigmoid(np.dot(w.wf, self.xc) + w.bf)
        self.o = sigmoid(np.dot(w.wo, self.xc) + w.bo)
        self.s = self.g * self.i + s_prev * self.f
        self.h = np.tanh(self.s) * self.o
        self.y = np.dot(w.wy, self.h) + w.by
        return self.h, self.s


def backward(w, nodes, targets):
    H = nodes[0].h.shape[0]
    D = nodes[0].x.shape[0]
    diff_h = np.zeros(H)
    diff_s = np.zeros(H)
    for t in range(len(nodes) - 1, -1, -1):
        node = nodes[t]  # is: dy, dWy, dc, do, di, dg, df, dai, daf, dag, dao, dc_next
        dy = 2 * (node.y - targets[t])  # is: dy
        w.wy_diff += np.outer(dy, node.h)  # is: dWy
        w.by_diff += dy  # is: dby
        dh = np.dot(w.wy.T, dy) + diff_h  # is: dh
        ds = node.o * dh * (1 - np.tanh(node.s) ** 2) + diff_s  # is: dc
        do = np.tanh(node.s) * dh  # is: do
        di = node.g * ds  # is: di
        dg = node.i * ds  # is: dg
        df = node.s_prev * ds  # is: df
        di_input = (1.0 - node.i) * node.i * di  # is: dai
        df_input = (1.0 - node.f) * node.f * df  # is: daf
        do_input = (1.0 - node.o) * node.o * do  # is: dao
        dg_input = (1.0 - node.g ** 2) * dg  # is: dag
        w.wi_diff += np.outer(di_input, node.xc)  # is: dWx_i, dWh_i
        w.wf_diff += np.outer(df_input, node.xc)  # is: dWx_f, dWh_f
        w.wo_diff += np.outer(do_input, node.xc)  # is: dWx_o, dWh_o
        w.wg_diff += np.outer(dg_input, node.xc)  # is: dWx_g, dWh_g
        w.bi_diff += di_input  # is: db_i
        w.bf_diff += df_input  # is: db_f
        w.bo_diff += do_input  # is: db_o
        w.bg_diff += dg_input  # is: db_g
        dxc = np.zeros_like(node.xc)  # is: dh_next
        dxc += np.dot(w.wi.T, di_input)  # is: dh_next
        dxc += np.dot(w.wf.T, df_input)  # is: dh_next
        dxc += np.dot(w.wo.T, do_input)  # is: dh_next
        dxc += np.dot(w.wg.T, dg_input)  # is: dh_next
        diff_s = ds * node.f  # is: dc_next
        diff_h = dxc[D:]  # is: dh_next


LSTMCAST = {
    "cell": "lstm", "output": "squared", "loss": "every", "x": "TD", "y": "TO",
    "shapes": {
        "wg": "H, D+H", "wi": "H, D+H", "wf": "H, D+H", "wo": "H, D+H",
        "bg": "H", "bi": "H", "bf": "H", "bo": "H", "wy": "O, H", "by": "O",
    },
    "state": ["H", "H"],
}


def run(params, x, h, s):
    w, nodes = Weights(params), []
    for row in x:
        nodes.append(Node())
        h, s = nodes[-1].forward(w, row, h, s)
    return w, nodes


def loss(params, x, y, h, s):
    return sum(((node.y - target) ** 2).sum() for node, target in zip(run(params, x, h, s)[1], y))


def grads(params, x, y, h, s):
    w, nodes = run(params, x, h, s)
    backward(w, nodes, y)
    return {name: getattr(w, name + "_diff") for name in params}
