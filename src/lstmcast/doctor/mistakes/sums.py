"""Mistakes in the parameters' gradients: the sums over steps and samples of products with the deltas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from lstmcast.doctor.formulas import Program
from lstmcast.doctor.problem import Model
from lstmcast.doctor.reference import Fault

SCALES = {
    "2": "doubled",
    "0.5": "halved",
    "-1": "with the wrong sign",
    "B": "multiplied by the batch size",
    "1 / B": "divided by the batch size once too often",
    "T": "multiplied by the number of steps",
    "1 / T": "divided by the number of steps once too often",
    "O": "multiplied by the number of outputs",
    "1 / O": "divided by the number of outputs once too often",
    "1 / (B * T)": "divided by batch size and steps once too often",
    "B / T": "divided by the number of steps where the batch size belongs",
    "T / B": "divided by the batch size where the number of steps belongs",
}


def groups(model: Model) -> dict[str, list[str]]:
    """Return the sets of parameters that programs keep in one array or treat alike, by name."""
    by_kind = {kind: [role for role in model.roles if role.startswith(f"{kind}_")] for kind in ("Wx", "Wh", "b", "bh")}
    named = {role: [role] for role in model.roles} | by_kind
    for gate in model.gates:
        named[f"Wx_{gate}, Wh_{gate}"] = [role for role in (f"Wx_{gate}", f"Wh_{gate}") if role in model.roles]
        named[f"gate {gate}"] = [role for role in model.roles if role.endswith(f"_{gate}")]
    weights = by_kind["Wx"] + by_kind["Wh"]
    biases = by_kind["b"] + by_kind["bh"]
    last = [role for role in model.roles if role in ("Wy", "by")]
    named |= {
        "Wx, Wh": weights,
        "Wh, b": by_kind["Wh"] + biases,
        "b, bh": biases,
        "Wx, Wh, b": weights + biases,
        "b, by": [*biases, *last[1:]],
        "Wx, Wh, Wy": [*weights, *last[:1]],
        "Wy, by": last,
        "all": list(model.roles),
    }
    unique: dict[tuple[str, ...], str] = {}
    for name, roles in named.items():
        if roles:
            unique.setdefault(tuple(roles), name)
    return {name: list(roles) for roles, name in unique.items()}


def summed(model: Model, right: Program) -> Iterator[Fault]:
    """The sums over steps and samples: one array, one gate's arrays, or many arrays alike."""
    for name, roles in groups(model).items():
        slot = f"d{roles[0]}" if len(roles) == 1 else "sums"
        for words, change in _sum_mistakes(roles).items():
            texts = {f"d{role}": change(right[f"d{role}"], role) for role in roles}
            yield Fault(slot, f"gradient of {name}: {words}", texts)


def split_product(text: str) -> tuple[str, str, str]:
    """Split ``dW += left.T @ delta`` or ``db += delta.sum(0)``; a bias has no left."""
    label, _, right = text.partition(" += ")
    if "@" not in right:
        return label, "", right.removesuffix(".sum(0)")
    left, _, delta = right.partition(".T @ ")
    return label, left, delta


def _sum_mistakes(roles: Sequence[str]) -> dict[str, Callable[[str, str], str]]:
    def scaled(factor: str) -> Callable[[str, str], str]:
        return lambda text, _: text.replace("+= ", f"+= {factor} * (") + ")"

    def lefts(change: Callable[[str], str]) -> Callable[[str, str], str]:
        def applied(text: str, _: str) -> str:
            label, left, delta = split_product(text)
            return f"{label} += {change(left)}.T @ {delta}" if left else text

        return applied

    def both(weights: str, biases: str) -> Callable[[str, str], str]:
        def applied(text: str, _: str) -> str:
            label, left, delta = split_product(text)
            return (weights if left else biases).format(d=label, left=left, delta=delta)

        return applied

    cases: dict[str, Callable[[str, str], str]] = {
        "overwritten at each step: `=` stands for `+=`": lambda text, _: text.replace("+=", "="),
        "the last step only": scaled("(t == T - 1)"),
        "the first step left out": scaled("(t > 0)"),
        "the last step left out": scaled("(t < T - 1)"),
        "never set": scaled("0"),
        "averaged to one number and spread over the array": lambda text, _: (
            text.replace("+= ", "+= np.mean(") + f") * np.ones_like({text.split()[0]})"
        ),
        "summed to one number and added to every entry": lambda text, _: text.replace("+= ", "+= np.sum(") + ")",
        "sample 0 only": both("{d} += {left}[:1].T @ {delta}[:1]", "{d} += {delta}[0]"),
        "the last sample only": both("{d} += {left}[-1:].T @ {delta}[-1:]", "{d} += {delta}[-1]"),
        "subtracted": lambda text, _: text.replace("+=", "-="),
    }
    cases |= {words: scaled(factor) for factor, words in SCALES.items() if factor != "-1"}
    if any(role.startswith("W") for role in roles):
        cases |= {
            "with the next step's factor": lefts(lambda left: left.replace("[t]", "[t+1]").replace("[t-1]", "[t]")),
            "with the factor of one step before": lefts(
                lambda left: left.replace("[t-1]", "[t-2]").replace("h[t]", "h[t-1]").replace("x[t]", "x[t-1]")
            ),
            "with the factor of one step before, index -1 wrapping to the last step": lefts(
                lambda left: (
                    left.replace("h[t]", "h[t-1]").replace("x[t]", "x[(t - 1) % T]")
                    if "t-1" not in left
                    else left.replace("h[t-1]", "h[(t - 1) % T]")
                )
            ),
            "with the factors in reverse order": lefts(
                lambda left: left.replace("[t-1]", "[T-2-t]").replace("[t]", "[T-1-t]")
            ),
            "transposed": both("{d} += ({left}.T @ {delta}).T", "{d} += {delta}.sum(0)"),
            "one scalar (np.dot of two vectors) added to every entry": both(
                "{d} += ({left} * {delta}).sum()", "{d} += {delta}.sum(0)"
            ),
            "without its left factor: the bias's gradient in every row": both(
                "{d} += {delta}.sum(0)", "{d} += {delta}.sum(0)"
            ),
        }
    return cases
