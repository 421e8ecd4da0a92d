"""The catalogue of known mistakes: what people write where another formula belongs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import combinations

from lstmcast.doctor.formulas import Program, program
from lstmcast.doctor.mistakes import sums
from lstmcast.doctor.problem import Model
from lstmcast.doctor.reference import Fault, Schedule


@cache
def catalogue(model: Model) -> tuple[Fault, ...]:
    """Return the known mistakes that can be made in a model's backward pass."""
    right = program(model)
    return distinct(
        right,
        [
            *_loss_gradient(),
            *_head(),
            *_schedules(model),
            *_cell(model),
            *_activations(model, right),
            *_exchanged(model, right),
            *_path(model, right),
            *sums.summed(model, right),
        ],
    )


def distinct(right: Program, faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Leave out what changes nothing and what is there already."""
    seen: dict[tuple[object, ...], Fault] = {}
    for fault in faults:
        key = (tuple(sorted(fault.changes.items())), fault.schedule and fault.words, tuple(fault.start.items()))
        if any(right.get(label) != text for label, text in fault.changes.items()) or not fault.changes:
            seen.setdefault(key, fault)
    return tuple(seen.values())


def _one(label: str, text: str, words: str, slot: str = "") -> Fault:
    return Fault(slot or label, words, {label: f"{label} = {text}"})


def _loss_gradient() -> Iterator[Fault]:
    cases = {
        "k * (t == T - 1) * (p[t] - y[t])": "only the last step's loss is propagated",
        "k * (t == 0) * (p[t] - y[t])": "only the first step's loss is propagated",
        "k * (p[t] - y[t])": "every step's loss is propagated, though the loss is on the last",
        "k * counted[t] * (p[t] - y[t-1])": "the target of the step before is subtracted",
        "k * counted[t] * (p[t] - y[t+1])": "the target of the next step is subtracted",
        "k * counted[t] * (p[t] - y[(t - 1) % T])": "the targets are rolled forwards by one step (np.roll(y, 1))",
        "k * counted[t] * (p[t] - y[(t + 1) % T])": "the targets are rolled backwards by one step (np.roll(y, -1))",
        "k * counted[t] * p[t]": "the target is not subtracted",
        "k * counted[t] * (p[t] + y[t])": "the target is added",
        "k * counted[t] * (y[t] - p[t])": "the sign is wrong",
        "k * counted[t] * (p[t] * (1 - y[t]) - y[t])": "at the target's class it is set to -1, not reduced by 1",
        "k * counted[t] * (p[t] - y[t] * (np.arange(B) == 0)[:, None])": "the target is subtracted for sample 0 only",
        "k * counted[t] * (p[t] - (np.arange(B) == 0)[:, None] * (np.arange(O) == t))": (
            "1 is subtracted at sample 0 and class t instead of at each sample's own class"
        ),
        "k * counted[t] * (p[t] - (np.arange(O) == t))": "1 is subtracted at class t instead of the target's class",
        "k * counted[t] * (p[t] - np.roll(y[t], 1, 1))": "the targets are shifted along the classes",
        "k * counted[t] * (p[t] - np.roll(y[t], -1, 1))": "the targets are shifted back along the classes",
        "k * counted[t] * (p[t] - y[t]) * p[t] * (1 - p[t])": "the derivative of an output sigmoid that is not there",
        "k * counted[t] * (p[t] - y[t]) * (1 - p[t]**2)": "the derivative of an output tanh that is not there",
        "k * counted[t] * np.where(np.arange(B) == 0, 1, 0)[:, None] * (p[t] - y[t])": (
            "only sample 0's loss is propagated"
        ),
        "k * counted[t] * (p[t] - y[t]).mean() * np.ones((B, O))": "the loss gradient is averaged to one number",
        "k * counted[t] * (out[t] - y[t])": "the output before the softmax stands where its probabilities belong",
        "k * counted[t] * (np.exp(out[t]) / np.exp(out[t]).sum(0) - y[t])": (
            "the softmax is normalised over the samples instead of the classes"
        ),
    }
    for text, words in cases.items():
        yield _one("dy", text, f"loss gradient: {words}")
    for scale, words in sums.SCALES.items():
        yield _one("dy", f"{scale} * k * counted[t] * (p[t] - y[t])", f"loss gradient: {words}")


def _head() -> Iterator[Fault]:
    cases = {
        "dy @ Wy + dh_next": "the head's weight is not transposed",
        "dy * Wy.T + dh_next": "a product element by element stands where a matrix product belongs",
        "dy * Wy + dh_next": "a product element by element stands where a matrix product belongs",
        "k * counted[t+1] * (p[t+1] - y[t+1]) @ Wy.T + dh_next": (
            "each step's loss enters one step too early: the way back skips the step of the loss itself"
        ),
        "k * counted[t-1] * (p[t-1] - y[t-1]) @ Wy.T + dh_next": "each step's loss enters one step too late",
        "dh_next": "the loss does not reach the state: the head's part is left out",
        "dy + dh_next": "the head's weight is left out",
        "dy.sum(1, keepdims=True) * np.ones((B, H)) + dh_next": "the outputs are summed, without the head's weight",
        "dy.sum(1, keepdims=True) * Wy.sum(1) + dh_next": "sums over the outputs stand where a product belongs",
        "(dy @ Wy.T).mean(0) + dh_next": "the head's part is averaged over the batch",
        "(dy @ Wy.T).sum(0) + dh_next": "the head's part is summed over the batch",
        "(dy @ Wy.T).mean() + dh_next": "the head's part is averaged to one number",
        "(dy @ Wy.T).sum() + dh_next": "the head's part is summed to one number",
        "dy @ Wy.T": "what comes back from the next step is left out: dh_next is never added",
        "2 * (dy @ Wy.T) + dh_next": "the head's part is added twice",
        "dy @ Wy.T - dh_next": "what comes back from the next step is subtracted",
        "dy @ Wy.T + 2 * dh_next": "what comes back from the next step is added twice",
        "dy @ Wy.T * h[t] * (1 - h[t]) + dh_next": "the head's part carries a sigmoid's derivative",
        "dy @ Wy.T * (1 - h[t]**2) + dh_next": "the head's part carries a tanh's derivative",
    }
    for text, words in cases.items():
        yield _one("dh", text, f"gradient of the state: {words}")


def _steps(words: str, steps: Callable[[int], Schedule]) -> Fault:
    return Fault("steps", words, schedule=steps)


def _per_source(reach: int, afresh: bool = True, ascending: bool = False) -> Callable[[int], Schedule]:
    """For each step of the loss, go back from it, at most ``reach`` steps."""

    def steps(T: int) -> Schedule:
        found: list[tuple[int, int | None, bool]] = []
        for source in range(T) if ascending else reversed(range(T)):
            back = range(source, max(-1, source - reach), -1)
            found += [(t, source, afresh and t == source) for t in back]
        return found

    return steps


def _schedules(model: Model) -> Iterator[Fault]:
    right = program(model)
    for reach in range(1, 12):
        yield _steps(f"each step's loss is followed back for {reach} step(s) only", _per_source(reach))
    for ascending in (False, True):
        yield _steps(
            f"buffers keep what the {'previous' if ascending else 'next'} step's loss left in them",
            _per_source(10**6, afresh=False, ascending=ascending),
        )
    yield _steps("the loop runs forwards in time", lambda T: [(t, None, False) for t in range(T)])
    if not model.every:
        # as from a list of steps that nobody has reversed
        enters = {"dh": "dh = (t == 0) * k * (p[T-1] - y[T-1]) @ Wy.T + dh_next"}
        words = "the loop runs forwards in time, beginning with the gradient of the last step's loss"
        yield Fault("steps", words, enters, lambda T: [(t, None, False) for t in range(T)])
    yield _steps("the last step is left out", lambda T: [(t, None, False) for t in reversed(range(T - 1))])
    yield _steps("the first step is left out", lambda T: [(t, None, False) for t in range(T - 1, 0, -1)])
    yield _steps("every second step is left out", lambda T: [(t, None, False) for t in range(T - 1, -1, -2)])
    yield _steps("no step is visited", lambda _: [])
    yield _steps("only the last step is visited", lambda T: [(T - 1, None, False)])
    yield _steps("only the first step is visited", lambda _: [(0, None, False)])
    yield _steps("only the first two steps are visited", lambda _: [(1, None, False), (0, None, False)])
    for name in ("dh_next", "dc_next"):
        if any(name in text for text in right.values()):
            yield Fault("start", f"{name} starts as ones, not zeros, after the last step", start={name: 1.0})
    sums = [label for label, text in right.items() if "+=" in text]
    for label in sums:
        yield Fault("start", f"{label} starts as ones, not zeros", start={label: 1.0})
    for kind in ("dWx", "dWh", "db", "dbh"):
        chosen = [label for label in sums if label.startswith(f"{kind}_")]
        if len(chosen) > 1:
            yield Fault("start", f"{kind} starts as ones, not zeros", start=dict.fromkeys(chosen, 1.0))


def _cell(model: Model) -> Iterator[Fault]:
    if model.cell == "lstm":
        yield from _lstm()
    elif model.cell == "gru":
        yield from _gru(model)


def _lstm() -> Iterator[Fault]:
    outer = "gradient of the cell state"
    for text, words in {
        "dh * (1 - tc[t]**2) + dc_next": "the output gate is missing",
        "dh * o[t] + dc_next": "tanh's derivative is missing",
        "dh * o[t] * (1 - c[t]**2) + dc_next": "1 - c² stands where 1 - tanh²(c) belongs",
        "dh * o[t] * (1 - np.tanh(tc[t])**2) + dc_next": "tanh is applied twice: 1 - tanh²(tanh c)",
        "dh * o[t] * sigmoid(c[t]) * (1 - sigmoid(c[t])) + dc_next": "a sigmoid's derivative stands for tanh's",
        "dh * o[t] * tc[t] * (1 - tc[t]) + dc_next": "tc (1 - tc) stands for 1 - tc²",
        "dh * o[t] * (1 - tc[t]) + dc_next": "1 - tc stands for 1 - tc²",
        "dh * o[t] * (1 - tc[t]**2)**2 + dc_next": "tanh's derivative is applied twice",
        "dh * o[t] * (1 - tc[t-1]**2) + dc_next": "the cell state of the step before is used",
        "dh * o[t] * (1 - g[t]**2) + dc_next": "the candidate stands where tanh(c) belongs",
        "(dh - dh_next) * o[t] * (1 - tc[t]**2) + dc_next": "only the head's part of dh is used",
        "dh_next * o[t] * (1 - tc[t]**2) + dc_next": "only the later steps' part of dh is used",
        "dh * o[t] * (1 - o[t]) * (1 - tc[t]**2) + dc_next": "the derivative of the output gate stands for the gate",
        "dh * o[t] * (1 - tc[t]**2)": "the carry of the next step is never added",
        "dh * o[t] * (1 - tc[t]**2) + 2 * dc_next": "the carry of the next step is added twice",
        "dh * tc[t] * (1 - tc[t]**2) + dc_next": "tanh(c) stands where the output gate belongs",
    }.items():
        yield _one("dc", text, f"{outer}: {words}")
    for label, factor, wrong in (
        ("do", "tc[t]", ("c[t]", "tc[t-1]", "h[t]", "1", "g[t]", "o[t]", "c[t-1]")),
        ("df", "c[t-1]", ("c[t]", "c[(t - 1) % T]", "1", "g[t]", "h[t-1]", "i[t]", "tc[t-1]", "tc[t]", "f[t]")),
        ("di", "g[t]", ("i[t]", "1", "ag[t]", "o[t]", "f[t]", "c[t-1]", "c[t]", "tc[t]")),
        ("dg", "i[t]", ("g[t]", "1", "f[t]", "o[t]", "c[t-1]", "c[t]", "ai[t]")),
    ):
        source = "dh" if label == "do" else "dc"
        for other in wrong:
            words = "nothing stands" if other == "1" else f"{other} stands"
            yield _one(label, f"{source} * {other}", f"gradient of gate {label[1]}: {words} where {factor} belongs")
        if label != "do":
            text = f"(dc - dc_next) * {factor}"
            yield _one(label, text, f"gradient of gate {label[1]}: the carry's part of dc is left out")
    for text, words in {
        "0 * dc": "dropped",
        "dc": "not multiplied by the forget gate",
        "dc * f[t-1]": "multiplied by the previous step's forget gate",
        "dc * f[t+1]": "multiplied by the next step's forget gate",
        "dc * i[t]": "multiplied by the input gate",
        "dc * o[t]": "multiplied by the output gate",
        "dc * f[t] * (1 - f[t])": "multiplied by the forget gate's derivative",
        "dc * f[t]**2": "multiplied by the forget gate twice",
        "dc * (1 - f[t])": "multiplied by 1 - f",
        "dc * (1 + f[t])": "dc += dc * f: the carry is multiplied by 1 + f",
        "(dc - dc_next) * f[t]": "only the step's own part is handed on",
        "dc_next * f[t]": "the step's own part is not handed on",
        "dc * f[t] + dc_next": "added to what was carried before",
    }.items():
        yield _one("dc_next", text, f"carry to the previous cell state: {words}")


def _gru(model: Model) -> Iterator[Fault]:
    new, old = ("(1 - z[t])", "z[t]") if model.z_keeps else ("z[t]", "(1 - z[t])")
    yield _one("dn", "dh", f"gradient of the candidate: {new} is missing")
    yield _one("dn", f"dh * {old}", f"gradient of the candidate: {old} stands where {new} belongs")
    for text in ("n[t] - h[t]", "h[t] - n[t]", "h[t]", "-n[t]", "n[t]", "h[t-1]", "n[t] - h[t-1]", "h[t-1] - n[t]"):
        yield _one("dz", f"dh * ({text})", f"gradient of gate z: {text} stands where another difference belongs")
    path = program(model)["dh_next"]
    direct = f"dh * {old}"
    for text, words in {
        "0 * dh": "the direct term is dropped",
        f"dh * {new}": f"the direct term is multiplied by {new}",
        "dh": "the direct term is not multiplied by the gate",
    }.items():
        yield Fault("dh_next", f"path back: {words}", {"dh_next": path.replace(direct, text)})
    if model.reset_after:
        yield _one("dv", "dan", "the reset gate is missing in the candidate's recurrent path")
        yield _one("dr", "dan * h[t-1]", "gradient of gate r: the state stands where its product belongs")
        yield _one("dr", "dan", "gradient of gate r: its product with the state is missing")
        changes = {label: text.replace("dv", "dan") for label, text in program(model).items() if "dWh_n" in label}
        yield Fault("dWh_n", "the reset gate is missing in the candidate's recurrent weight", changes)
    else:
        yield Fault(
            "dh_next",
            "path back: the reset gate is missing in the candidate's path",
            {"dh_next": path.replace("ds * r[t]", "ds")},
        )
        yield _one("dr", "dan * h[t-1]", "gradient of gate r: the candidate's recurrent weight is missing")
        yield _one("dr", "ds", "gradient of gate r: the state is missing")
        yield _one("ds", "dan @ Wh_n", "the candidate's recurrent weight is not transposed")
        yield _one("dWh_n", "dWh_n + h[t-1].T @ dan", "the reset gate is missing in the candidate's recurrent weight")


def _activations(model: Model, right: Program) -> Iterator[Fault]:
    single: dict[str, dict[str, Fault]] = {}
    for gate in model.gates:
        label = f"da{gate}"
        d = "dh" if model.cell == "rnn" else f"d{gate}"
        s, a = f"{gate}[t]", f"a{gate}[t]"
        again = f"h[t] @ Wh_{gate} + x[t] @ Wx_{gate}" + "".join(
            f" + {kind}_{gate}" for kind in ("b", "bh") if f"{kind}_{gate}" in model.roles
        )
        tanh = "**2" in right[label]
        if tanh:
            derivative = f"(1 - {s}**2)"
            cases = {
                f"{d} * {s} * (1 - {s})": "a sigmoid's derivative stands for tanh's",
                f"{d} * (1 - np.tanh({s})**2)": "evaluated at the output's activation: tanh is applied twice",
                f"{d} * (1 - {a}**2)": "evaluated at the pre-activation",
                f"{d} * (1 - np.tanh({again})**2)": "evaluated at a pre-activation recomputed with h[t] for h[t-1]",
                f"{d} * (1 - {s})": "1 - s stands for 1 - s²",
                f"{d} * (1 - {s})**2": "(1 - s)² stands for 1 - s²",
                f"{d} * (1 + {s}**2)": "the sign of s² is wrong",
            }
        else:
            derivative = f"{s} * (1 - {s})"
            cases = {
                f"{d} * (1 - {s}**2)": "tanh's derivative stands for a sigmoid's",
                f"{d} * sigmoid({s}) * (1 - sigmoid({s}))": "evaluated at the output's activation: σ is applied twice",
                f"{d} * {a} * (1 - {a})": "evaluated at the pre-activation",
                f"{d} * sigmoid({again}) * (1 - sigmoid({again}))": (
                    "evaluated at a pre-activation recomputed with h[t] for h[t-1]"
                ),
                f"{d} * (1 - {s})": "1 - s stands for s (1 - s)",
                f"{d} * {s} * (1 + {s})": "s (1 + s) stands for s (1 - s)",
            }
        cases |= {
            d: "omitted",
            f"{d} * ({derivative})**2": "applied twice",
            f"{d} * {s}": "s stands for the derivative",
            f"-{d} * {derivative}": "the sign is wrong",
            derivative: "the incoming gradient is missing",
        }
        single[gate] = {}
        for text, words in cases.items():
            fault = _one(label, text, f"derivative of gate {gate}: {words}")
            single[gate][words] = fault
            yield fault
    for gates in ([g for g in model.gates if "**2" not in right[f"da{g}"]], model.gates):
        for words in single[gates[0]] if len(gates) > 1 else ():
            together = [single[gate][words] for gate in gates if words in single[gate]]
            if len(together) == len(gates):
                changes = {label: text for fault in together for label, text in fault.changes.items()}
                yield Fault("activations", f"derivatives of gates {', '.join(gates)}: {words}", changes)


def _exchanged(model: Model, right: Program) -> Iterator[Fault]:
    """Two gates' gradients in each other's place, as when they are concatenated in another order than forward."""
    for one, other in combinations("ifgo", 2) if model.cell == "lstm" else [("r", "z")] if model.cell == "gru" else []:
        names = {f"da{one}": f"da{other}", f"da{other}": f"da{one}"}
        either = re.compile("|".join(rf"\b{name}\b" for name in names))
        changes = {
            label: "".join(names.get(piece, piece) for piece in re.split(f"({either.pattern})", text))
            for label, text in right.items()
            if label not in names and either.search(text)
        }
        yield Fault("gates", f"the gradients of gates {one} and {other} stand in each other's place", changes)


def _path(model: Model, right: Program) -> Iterator[Fault]:
    text = right["dh_next"].partition(" = ")[2]
    terms = text.split(" + ")
    products = [term for term in terms if "@" in term]

    def each(change: Callable[[str], str]) -> str:
        return " + ".join(change(term) if term in products else term for term in terms)

    untransposed = each(lambda term: term.replace(".T", ""))
    for new, words in {
        "0 * dh": "dropped",
        "dh": "dh is handed on unchanged",
        untransposed: "the recurrent weights are not transposed",
        each(
            lambda term: term.replace("@", "*").replace(".T", "")
        ): "products element by element stand for matrix ones",
        each(
            lambda term: term.replace("@", "*")
        ): "products element by element, with the transpose, stand for matrix ones",
        each(lambda term: term.replace("Wh", "Wx")): "the input weights (the wrong half) stand for the recurrent ones",
        each(lambda term: term.replace(".T", "").replace("@ ", "* np.diag(") + ")"): "only the diagonal is used",
        each(lambda term: term.replace("Wh", "Wy").replace("_" + term[-3], "")): "the head's weight stands for them",
        f"-({text})": "the sign is wrong",
        f"0.5 * ({text})": "halved",
        f"2 * ({text})": "doubled",
        f"({text}) / B": "divided by the batch size",
        f"({text}) / T": "divided by the number of steps",
        f"({text}).mean(0)": "averaged over the batch",
        f"({text}).sum(0)": "summed over the batch",
        f"{text} + dh_next": "accumulated over the steps: what came back before is added again",
        f"{text} + dh": "accumulated: dh is added to it",
        f"{untransposed} + dh_next": "the recurrent weights are not transposed, and it is accumulated over the steps",
        f"{untransposed} + dh": "the recurrent weights are not transposed, and dh is added",
    }.items():
        yield _one("dh_next", new, f"path back to the previous state: {words}")
    for kind in ("b", "bh"):
        if f"{kind}_{model.gates[-1]}" in model.roles:
            biases = each(lambda term, kind=kind: term.replace("Wh", kind))  # type: ignore[misc]
            yield _one("dh_next", biases, "path back to the previous state: the biases stand for the recurrent weights")
    if len(products) == len(terms):
        # x and h concatenated: the columns of the gradient that are taken for h's
        into_x = each(lambda term: term.replace("Wh", "Wx"))
        for columns, words in {
            f"np.hstack([{into_x}, {text}])[:, :H]": "the first H columns of [dx, dh], which are not all of dh",
            f"np.hstack([{text}, {into_x}])[:, -H:]": "the last H columns of [dh, dx], which are not all of dh",
            f"np.hstack([{text}, {into_x}])[:, D:]": "the columns from D on of [dh, dx], where dh comes first",
        }.items():
            yield _one("dh_next", columns, f"path back to the previous state: {words}")
    if model.cell != "rnn":
        before = text
        for gate in model.gates:
            before = before.replace(f"da{gate} ", f"d{gate} ")
        yield _one("dh_next", before, "path back to the previous state: taken before the activations' derivatives")
        for term in products:
            gate = term.split("Wh_")[1][0]
            only = " + ".join(other for other in terms if other not in products or other == term)
            left = " + ".join(other for other in terms if other != term)
            one = text.replace(f"Wh_{gate}.T", f"Wh_{gate}")
            yield _one("dh_next", only, f"path back to the previous state: through gate {gate} only")
            yield _one("dh_next", left, f"path back to the previous state: gate {gate} is left out")
            yield _one("dh_next", one, f"path back to the previous state: gate {gate}'s weight is not transposed")
    else:
        yield _one("dh_next", "dh @ Wh_h.T", "path back to the previous state: taken before tanh's derivative")
        yield _one("dh_next", "dah @ (Wh_h @ Wy).T", "path back to the previous state: through the head's weight too")
