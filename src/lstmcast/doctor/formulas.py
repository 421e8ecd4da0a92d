"""The backward passes as text: one statement a line, so that a mistake is another statement in its place.

Notation, for step t: x input, h state, c cell state, tc = tanh(c), i f g o (r z n) gates, p prediction
(softmax of the output, or the output itself), y target, k the loss's factor, ``counted[t]`` 1 where the loss is;
dz the gradient of the loss with respect to z, dai that with respect to gate i's pre-activation. All of them
have samples in rows; index -1 is the state before the first step. Statements run for t = T-1 … 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from lstmcast.doctor.problem import Model

Program: TypeAlias = Mapping[str, str]
"""Statements by label, in the order of their execution; the label is what the statement assigns."""

SIGMOID = "da{g} = d{g} * {g}[t] * (1 - {g}[t])"
TANH = "da{g} = d{g} * (1 - {g}[t]**2)"

LSTM = (
    "do = dh * tc[t]",
    "dc = dh * o[t] * (1 - tc[t]**2) + dc_next",
    "di = dc * g[t]",
    "dg = dc * i[t]",
    "df = dc * c[t-1]",
    SIGMOID.format(g="i"),
    SIGMOID.format(g="f"),
    TANH.format(g="g"),
    SIGMOID.format(g="o"),
    "dc_next = dc * f[t]",
    "dh_next = dai @ Wh_i.T + daf @ Wh_f.T + dag @ Wh_g.T + dao @ Wh_o.T",
)
RNN = ("dah = dh * (1 - h[t]**2)", "dh_next = dah @ Wh_h.T")


def gru(reset_after: bool, z_keeps: bool) -> tuple[str, ...]:
    """Return the statements of a GRU: see `Model` for its variants."""
    new, old = ("(1 - z[t])", "z[t]") if z_keeps else ("z[t]", "(1 - z[t])")
    change = "(h[t-1] - n[t])" if z_keeps else "(n[t] - h[t-1])"
    common = (f"dn = dh * {new}", f"dz = dh * {change}", TANH.format(g="n"))
    gates = (SIGMOID.format(g="r"), SIGMOID.format(g="z"))
    if reset_after:
        return (
            *common,
            "dr = dan * v[t]",
            *gates,
            "dv = dan * r[t]",
            f"dh_next = dh * {old} + dar @ Wh_r.T + daz @ Wh_z.T + dv @ Wh_n.T",
        )
    return (
        *common,
        "ds = dan @ Wh_n.T",
        "dr = ds * h[t-1]",
        *gates,
        f"dh_next = dh * {old} + dar @ Wh_r.T + daz @ Wh_z.T + ds * r[t]",
    )


def program(model: Model) -> dict[str, str]:
    """Return the right backward pass for a model."""
    lines = ["dy = k * counted[t] * (p[t] - y[t])", "dh = dy @ Wy.T + dh_next"]
    lines += {"lstm": LSTM, "rnn": RNN, "gru": gru(model.reset_after, model.z_keeps)}[model.cell]
    for role in model.roles:
        kind, _, gate = role.partition("_")
        delta = "dv" if kind in ("Wh", "bh") and gate == "n" and model.reset_after else f"da{gate}"
        source = "(r[t] * h[t-1])" if gate == "n" and not model.reset_after else "h[t-1]"
        lines.append(
            {
                "Wx": f"dWx_{gate} += x[t].T @ {delta}",
                "Wh": f"dWh_{gate} += {source}.T @ {delta}",
                "b": f"db_{gate} += {delta}.sum(0)",
                "bh": f"dbh_{gate} += {delta}.sum(0)",
                "Wy": "dWy += h[t].T @ dy",
                "by": "dby += dy.sum(0)",
            }[kind]
        )
    # what is handed to the step before comes last
    lines.sort(key=lambda line: ("dh_next", "dc_next").index(line.split()[0]) if "_next =" in line else -1)
    return {line.split()[0]: line for line in lines}
