"""An LSTM as a class: one joined matrix a gate in a dict, what each step needs in a list of dicts."""
# ruff: noqa
import numpy as np


class LSTM:
    gates = ("forget", "input", "output", "candidate")

    def __init__(self, params):
        self.w = {gate: params["w_" + gate] for gate in self.gates}
        self.b = {gate: params["b_" + gate] for gate in self.gates}
        self.w_out, self.b_out = params["w_out"], params["b_out"]
        self.hidden = self.w_out.shape[0]

    def forward(self, sequence, hidden, cell):
        self.memory = []
        predictions = []
        for x in sequence:
            joined = np.concatenate((hidden, x), axis=1)
            a = {gate: joined @ self.w[gate] + self.b[gate] for gate in self.gates}
            act = {gate: 1 / (1 + np.exp(-a[gate])) for gate in self.gates[:3]}
            act["candidate"] = np.tanh(a["candidate"])
            old = cell
            cell = act["forget"] * old + act["input"] * act["candidate"]
            squashed = np.tanh(cell)
            hidden = act["output"] * squashed
            self.memory.append({"joined": joined, "act": act, "old": old, "squashed": squashed, "hidden": hidden})
            predictions.append(hidden @ self.w_out + self.b_out)
        return np.array(predictions)

    def backward(self, errors):
        grad_w = {gate: np.zeros(self.w[gate].shape) for gate in self.gates}
        grad_b = {gate: np.zeros(self.b[gate].shape) for gate in self.gates}
        grad_out, grad_bias = np.zeros(self.w_out.shape), np.zeros(self.b_out.shape)
        future_hidden = np.zeros_like(self.memory[0]["hidden"])
        future_cell = np.zeros_like(future_hidden)
        for error, step in zip(errors[::-1], self.memory[::-1]):
            act, squashed = step["act"], step["squashed"]  # is: do, dc, di, dg, df, dai, daf, dag, dao, dc_next
            grad_out += np.dot(step["hidden"].T, error)  # is: dWy
            grad_bias += np.sum(error, axis=0)  # is: dby
            to_hidden = np.dot(error, self.w_out.T) + future_hidden  # is: dh
            to_cell = future_cell + to_hidden * act["output"] * (1 - np.square(squashed))  # is: dc
            delta = {}
            delta["forget"] = to_cell * step["old"] * act["forget"] * (1 - act["forget"])  # is: df, daf
            delta["input"] = to_cell * act["candidate"] * act["input"] * (1 - act["input"])  # is: di, dai
            delta["output"] = to_hidden * squashed * act["output"] * (1 - act["output"])  # is: do, dao
            delta["candidate"] = to_cell * act["input"] * (1 - np.square(act["candidate"]))  # is: dg, dag
            to_joined = np.zeros_like(step["joined"])  # is: dh_next
            for gate in self.gates:
                grad_w[gate] += np.dot(step["joined"].T, delta[gate])  # is: dWx_i, dWx_f, dWx_g, dWx_o, dWh_i, dWh_f, dWh_g, dWh_o
                grad_b[gate] += np.sum(delta[gate], axis=0)  # is: db_i, db_f, db_g, db_o
                to_joined += np.dot(delta[gate], self.w[gate].T)  # is: dh_next
            future_hidden = to_joined[:, :self.hidden]  # is: dh_next
            future_cell = act["forget"] * to_cell  # is: dc_next
        grads = {"w_" + gate: grad_w[gate] for gate in self.gates}
        grads.update({"b_" + gate: grad_b[gate] for gate in self.gates})
        grads.update(w_out=grad_out, b_out=grad_bias)
        return grads  # is: returned


LSTMCAST = {
    "cell": "lstm", "output": "squared", "loss": "every", "x": "TBD", "y": "TBO",
    "shapes": {
        "w_forget": "H+D, H", "w_input": "H+D, H", "w_output": "H+D, H", "w_candidate": "H+D, H",
        "b_forget": "H", "b_input": "H", "b_output": "H", "b_candidate": "H", "w_out": "H, O", "b_out": "O",
    },
    "state": ["BH", "BH"],
}


def loss_and_grads(params, x, y, h, c):
    net = LSTM(params)
    difference = net.forward(x, h, c) - y
    return np.mean(difference ** 2), net.backward(2 * difference / difference.size)


def loss(params, x, y, h, c):
    return loss_and_grads(params, x, y, h, c)[0]


def grads(params, x, y, h, c):
    return loss_and_grads(params, x, y, h, c)[1]
