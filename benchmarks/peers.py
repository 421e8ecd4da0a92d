"""What lstmcast is timed against: the four programs that people write, each as plainly as they are written.

All compute the loss (mean square over all steps) and its gradient for a stack of LSTM layers and a linear output,
with the same parameters, and give the gradient in lstmcast's order, so that it can be compared before it is timed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from lstmcast.network.parameters import named_views


class CellLoop(nn.Module):
    """P1: ``nn.LSTMCell`` in a Python loop, as PyTorch's example time_sequence_prediction does it."""

    def __init__(self, inputs, hidden, dtype):
        super().__init__()
        sizes = (inputs, *hidden)
        pairs = zip(sizes, hidden, strict=False)
        self.cells = nn.ModuleList(nn.LSTMCell(size, width, dtype=dtype) for size, width in pairs)
        self.linear = nn.Linear(hidden[-1], inputs, dtype=dtype)

    def forward(self, inputs, future=0, warmup=None):
        """Read ``inputs`` (B, T, 1), from step ``warmup`` on its own outputs, then ``future`` more of them."""
        states = [
            tuple(torch.zeros(len(inputs), c.hidden_size, dtype=inputs.dtype) for _ in range(2)) for c in self.cells
        ]
        outputs = []
        T = inputs.shape[1]
        for t in range(T + future):
            x = outputs[-1] if t >= T or (warmup is not None and t >= warmup) else inputs[:, t]
            for index, cell in enumerate(self.cells):
                states[index] = cell(x, states[index])
                x = states[index][0]
            outputs.append(self.linear(x))
        return torch.stack(outputs, dim=1)


class Fused(nn.Module):
    """P2: the fused ``nn.LSTM``."""

    def __init__(self, inputs, hidden, dtype):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden[0], len(hidden), batch_first=True, dtype=dtype)
        self.linear = nn.Linear(hidden[-1], inputs, dtype=dtype)

    def forward(self, inputs):
        return self.linear(self.lstm(inputs)[0])


class Autograd:
    """P1 or P2 with lstmcast's parameters."""

    def __init__(self, kind, network, parameters):
        self.module = kind(network.input_size, network.hidden_sizes, torch.from_numpy(parameters.values).dtype)
        # both kinds keep their parameters in lstmcast's order: layer by layer, then the linear one
        for ours, theirs in zip(parameters.views.values(), self.module.parameters(), strict=True):
            theirs.data.copy_(torch.from_numpy(ours))

    def __call__(self, inputs, targets, **options):
        self.module.zero_grad()
        loss = nn.functional.mse_loss(self.module(torch.from_numpy(inputs), **options), torch.from_numpy(targets))
        loss.backward()
        return float(loss.detach())

    def gradient(self):
        return np.concatenate([parameter.grad.numpy().ravel() for parameter in self.module.parameters()])


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


class PerSample:
    """P3: one sample after another, one gate after another, as forum posts write it."""

    def __init__(self, network, parameters):
        self.network, views = network, parameters.views
        self.layers = []
        for layer, H in enumerate(network.hidden_sizes):
            w = np.hstack([views[f"cells.{layer}.weight_ih"], views[f"cells.{layer}.weight_hh"]])
            b = views[f"cells.{layer}.bias_ih"] + views[f"cells.{layer}.bias_hh"]
            gates = {name: (w[k * H : (k + 1) * H].copy(), b[k * H : (k + 1) * H]) for k, name in enumerate("ifgo")}
            self.layers.append(gates)
        self.Wy, self.by = views["head.0.weight"], views["head.0.bias"]

    def __call__(self, inputs, targets):
        self.grads = [{g: (np.zeros_like(w), np.zeros_like(b)) for g, (w, b) in p.items()} for p in self.layers]
        self.dWy, self.dby = np.zeros_like(self.Wy), np.zeros_like(self.by)
        return sum(self.sample(x, y, targets.size) for x, y in zip(inputs, targets, strict=True))

    def sample(self, xs, ys, count):
        tapes, signal = [], list(xs)
        for gates in self.layers:
            H = len(gates["i"][1])
            h, c, tape = np.zeros(H, xs.dtype), np.zeros(H, xs.dtype), []
            for x in signal:
                z = np.concatenate([x, h])
                i, f, o = (sigmoid(gates[g][0] @ z + gates[g][1]) for g in "ifo")
                g = np.tanh(gates["g"][0] @ z + gates["g"][1])
                c_prev, c = c, f * c + i * g
                h = o * np.tanh(c)
                tape.append((z, i, f, g, o, c_prev, c, h))
            tapes.append(tape)
            signal = [step[-1] for step in tape]
        differences = [self.Wy @ h + self.by - y for h, y in zip(signal, ys, strict=True)]
        dhs = []
        for h, difference in zip(signal, differences, strict=True):
            dy = 2 * difference / count
            self.dWy += np.outer(dy, h)
            self.dby += dy
            dhs.append(self.Wy.T @ dy)
        for gates, grads, tape in zip(self.layers[::-1], self.grads[::-1], tapes[::-1], strict=True):
            H = len(gates["i"][1])
            dh_next, dc, dxs = np.zeros(H, xs.dtype), np.zeros(H, xs.dtype), []
            for (z, i, f, g, o, c_prev, c, _), dh in zip(tape[::-1], dhs[::-1], strict=True):
                dh = dh + dh_next
                tc = np.tanh(c)
                dc = dc + dh * o * (1 - tc**2)
                da = {
                    "i": dc * g * i * (1 - i),
                    "f": dc * c_prev * f * (1 - f),
                    "g": dc * i * (1 - g**2),
                    "o": dh * tc * o * (1 - o),
                }
                dc = dc * f
                dz = np.zeros_like(z)
                for name, d in da.items():
                    grads[name][0][...] += np.outer(d, z)
                    grads[name][1][...] += d
                    dz += gates[name][0].T @ d
                dxs.append(dz[:-H])
                dh_next = dz[-H:]
            dhs = dxs[::-1]
        return sum(float(d @ d) for d in differences) / count

    def gradient(self):
        parts = []
        for grads in self.grads:
            w, b = (np.concatenate([grads[g][k] for g in "ifgo"]) for k in range(2))
            H = len(grads["i"][1])
            parts += [w[:, :-H].ravel(), w[:, -H:].ravel(), b, b]
        return np.concatenate([*parts, self.dWy.ravel(), self.dby])


class Batched:
    """P4: all samples at once, the four gates in one matrix, samples in rows, as tutorials write it."""

    def __init__(self, network, parameters):
        self.network, self.views = network, parameters.views
        self.weights = []
        for layer in range(len(network.hidden_sizes)):
            w = np.hstack([self.views[f"cells.{layer}.weight_ih"], self.views[f"cells.{layer}.weight_hh"]])
            b = self.views[f"cells.{layer}.bias_ih"] + self.views[f"cells.{layer}.bias_hh"]
            self.weights.append((np.ascontiguousarray(w.T), b))

    def __call__(self, inputs, targets):
        signal, tapes = list(inputs.swapaxes(0, 1)), []
        for W, b in self.weights:
            H = len(b) // 4
            h = c = np.zeros((len(inputs), H), inputs.dtype)
            tape = []
            for x in signal:
                z = np.concatenate([x, h], axis=1)
                a = z @ W + b
                i, f, g, o = (
                    sigmoid(a[:, :H]),
                    sigmoid(a[:, H : 2 * H]),
                    np.tanh(a[:, 2 * H : 3 * H]),
                    sigmoid(a[:, 3 * H :]),
                )
                c_prev, c = c, f * c + i * g
                tc = np.tanh(c)
                h = o * tc
                tape.append((z, i, f, g, o, c_prev, tc))
            tapes.append(tape)
            # the next layer reads the states, which lie in the next step's z, and the last one
            signal = [*(step[0][:, -H:] for step in tape[1:]), h]
        V, d = self.views["head.0.weight"], self.views["head.0.bias"]
        differences = [h @ V.T + d - y for h, y in zip(signal, targets.swapaxes(0, 1), strict=True)]
        dys = [2 / targets.size * difference for difference in differences]
        self.dV = sum(dy.T @ h for dy, h in zip(dys, signal, strict=True))
        self.dd = sum(dy.sum(axis=0) for dy in dys)
        dhs, self.grads = [dy @ V for dy in dys], []
        for (W, b), tape in zip(self.weights[::-1], tapes[::-1], strict=True):
            H = len(b) // 4
            dW, db, dh_next, dc = np.zeros_like(W), np.zeros_like(b), 0, 0
            for t in range(len(tape) - 1, -1, -1):
                z, i, f, g, o, c_prev, tc = tape[t]
                dh = dhs[t] + dh_next
                dc = dc + dh * o * (1 - tc**2)
                di, df, dg, do = (
                    dc * g * i * (1 - i),
                    dc * c_prev * f * (1 - f),
                    dc * i * (1 - g**2),
                    dh * tc * o * (1 - o),
                )
                da = np.concatenate([di, df, dg, do], axis=1)
                dW += z.T @ da
                db += da.sum(axis=0)
                dz = da @ W.T
                dhs[t], dh_next = dz[:, :-H], dz[:, -H:]
                dc = dc * f
            self.grads.insert(0, (dW.T, db))
        return sum(float((difference**2).sum()) for difference in differences) / targets.size

    def gradient(self):
        parts = []
        for dW, db in self.grads:
            H = len(db) // 4
            parts += [dW[:, :-H].ravel(), dW[:, -H:].ravel(), db, db]
        return np.concatenate([*parts, self.dV.ravel(), self.dd])


def mismatch(network, ours, theirs):
    """Return the largest relative error, norm-wise, of any parameter's gradient."""
    ours, theirs = (named_views(flat, network.shapes) for flat in (ours, theirs))
    whole = max(np.linalg.norm(view) for view in theirs.values())
    return max(
        np.linalg.norm(ours[name] - theirs[name]) / (np.linalg.norm(theirs[name]) + 1e-3 * whole) for name in ours
    )
