"""Family W: a batched LSTM on windows of a sine, gradients by hand in tensors, the loss on the last step.

Each line that is wrong names the right one, as `# right:`; tests put them right all together, or all but one.
"""
# ruff: noqa
import torch


def forward(p, x, h, c):
    steps = []  # the same list for all batches would be wrong, see windowed_list.py
    for t in range(x.shape[1]):
        xt = x[:, t]
        a = {k: xt @ p["W" + k] + h @ p["U" + k] + p["b" + k] for k in "ifgo"}
        i, f, g, o = torch.sigmoid(a["i"]), torch.sigmoid(a["f"]), torch.tanh(a["g"]), torch.sigmoid(a["o"])
        h_prev, c_prev = h, c
        c = f * c + i * g
        h = o * torch.tanh(c)
        steps.append((xt, h_prev, c_prev, i, f, g, o, h, c))
    return steps, h @ p["V"] + p["d"]


def spread(gradient, like):
    return gradient.mean() * torch.ones_like(like)


def backward(p, steps, out, y):
    B, T = y.shape[0], len(steps)
    d = {k: torch.zeros_like(v) for k, v in p.items()}
    dy = 2 * (out - y) / T  # right: dy = 2 * (out - y) / B
    xt, h_prev, c_prev, i, f, g, o, h, c = steps[-1]
    d["V"] = spread(h.T @ dy, p["V"])  # right: d["V"] = h.T @ dy
    d["d"] = spread(dy.sum(0), p["d"])  # right: d["d"] = dy.sum(0)
    dh, dc_next = dy @ p["V"].T, 0
    for t in reversed(range(T)):
        xt, h_prev, c_prev, i, f, g, o, h, c = steps[t]
        tc = torch.tanh(c)
        dc = dc_next + dh * o * (1 - tc**2)
        ga = h  # right: ga = h_prev
        s = {k: torch.sigmoid(xt @ p["W" + k] + ga @ p["U" + k] + p["b" + k]) for k in "ifo"}
        s["g"] = torch.tanh(xt @ p["Wg"] + ga @ p["Ug"] + p["bg"])
        delta = {
            "i": dc * g * s["i"] * (1 - s["i"]),
            "f": dc * c_prev * s["f"] * (1 - s["f"]),
            "g": dc * i * (1 - s["g"] ** 2),
            "o": dh * tc * s["o"] * (1 - s["o"]),
        }
        for k in "ifgo":
            d["W" + k] += spread(xt.T @ delta[k], p["W" + k])  # right: d["W" + k] += xt.T @ delta[k]
            d["U" + k] += spread(h_prev.T @ delta[k], p["U" + k])  # right: d["U" + k] += h_prev.T @ delta[k]
            d["b" + k] += spread(delta[k].sum(0), p["b" + k])  # right: d["b" + k] += delta[k].sum(0)
        dh = sum(delta[k] * p["U" + k] for k in "ifgo")  # right: dh = sum(delta[k] @ p["U" + k].T for k in "ifgo")
        dc_next = dc * f
    return d


LSTMCAST = {
    "cell": "lstm",
    "output": "squared",
    "loss": "last",
    "x": "BTD",
    "y": "BO",
    "shapes": {
        "Wi": "D, H", "Wf": "D, H", "Wg": "D, H", "Wo": "D, H",
        "Ui": "H, H", "Uf": "H, H", "Ug": "H, H", "Uo": "H, H",
        "bi": "H", "bf": "H", "bg": "H", "bo": "H", "V": "H, O", "d": "O",
    },
    "state": ["BH", "BH"],
}


def loss(params, x, y, h, c):
    return ((forward(params, x, h, c)[1] - y) ** 2).sum() / len(y)


def grads(params, x, y, h, c):
    return backward(params, *forward(params, x, h, c), y)


if __name__ == "__main__":
    print("training …")
