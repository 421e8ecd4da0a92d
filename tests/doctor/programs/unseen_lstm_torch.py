"""An LSTM by hand in torch: one sample, column vectors, W and U for each gate, the loss on the last step."""
# ruff: noqa
import torch


def forward(p, x, h, c):
    hs, cs, gates = [h], [c], []
    for t in range(x.shape[0]):
        v = x[t]
        i = torch.sigmoid(p["W_i"] @ v + p["U_i"] @ h + p["b_i"])
        f = torch.sigmoid(p["W_f"] @ v + p["U_f"] @ h + p["b_f"])
        g = torch.tanh(p["W_g"] @ v + p["U_g"] @ h + p["b_g"])
        o = torch.sigmoid(p["W_o"] @ v + p["U_o"] @ h + p["b_o"])
        c = f * c + i * g
        h = o * torch.tanh(c)
        hs.append(h)
        cs.append(c)
        gates.append((i, f, g, o))
    return hs, cs, gates, p["V"] @ h + p["a"]


def dsigmoid(s):
    return s - s ** 2


def dtanh(s):
    return 1.0 - s ** 2


def backward(p, x, y, hs, cs, gates, out):
    grads = {name: torch.zeros_like(value) for name, value in p.items()}
    error = out - y  # is: dy
    grads["V"] = error @ hs[-1].t()  # is: dWy
    grads["a"] = error.clone()  # is: dby
    dh = p["V"].t() @ error  # is: dh
    dc = torch.zeros_like(dh)
    for t in range(x.shape[0] - 1, -1, -1):
        i, f, g, o = gates[t]  # is: do, dc, di, dg, df, dai, daf, dag, dao, dc_next
        tanh_c = torch.tanh(cs[t + 1])  # is: do, dc
        delta_o = dh * tanh_c * dsigmoid(o)  # is: do, dao
        dc = dc + dh * o * dtanh(tanh_c)  # is: dc
        delta_f = dc * cs[t] * dsigmoid(f)  # is: df, daf
        delta_i = dc * g * dsigmoid(i)  # is: di, dai
        delta_g = dc * i * dtanh(g)  # is: dg, dag
        for name, delta in (("i", delta_i), ("f", delta_f), ("g", delta_g), ("o", delta_o)):  # is: dWx_i, dWx_f, dWx_g, dWx_o, dWh_i, dWh_f, dWh_g, dWh_o, db_i, db_f, db_g, db_o
            grads["W_" + name] += delta @ x[t].t()  # is: dWx_i, dWx_f, dWx_g, dWx_o
            grads["U_" + name] += delta @ hs[t].t()  # is: dWh_i, dWh_f, dWh_g, dWh_o
            grads["b_" + name] += delta  # is: db_i, db_f, db_g, db_o
        dh = p["U_i"].t() @ delta_i + p["U_f"].t() @ delta_f + p["U_g"].t() @ delta_g + p["U_o"].t() @ delta_o  # is: dh_next
        dc = dc * f  # is: dc_next
    return grads  # is: returned


LSTMCAST = {
    "cell": "lstm", "output": "squared", "loss": "last", "x": "TD1", "y": "O1",
    "shapes": {
        "W_i": "H, D", "W_f": "H, D", "W_g": "H, D", "W_o": "H, D",
        "U_i": "H, H", "U_f": "H, H", "U_g": "H, H", "U_o": "H, H",
        "b_i": "H, 1", "b_f": "H, 1", "b_g": "H, 1", "b_o": "H, 1", "V": "O, H", "a": "O, 1",
    },
    "state": ["H1", "H1"],
}


def loss(params, x, y, h, c):
    return 0.5 * ((forward(params, x, h, c)[-1] - y) ** 2).sum()


def grads(params, x, y, h, c):
    return backward(params, x, y, *forward(params, x, h, c))
