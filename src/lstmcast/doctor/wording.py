"""Say in words and formulas what was inferred and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from lstmcast.doctor.mistakes.faults import Faults, reach_of_label
from lstmcast.doctor.problem import Model, Sizes
from lstmcast.doctor.program.layout import Layout
from lstmcast.doctor.reference import Fault
from lstmcast.doctor.search.diagnose import Case, Diagnosis, Doctor
from lstmcast.gradients.report import Finding

KINDS = {
    "Wx": "input weight",
    "Wh": "recurrent weight",
    "b": "bias",
    "bh": "recurrent bias",
    "Wy": "output weight",
    "by": "output bias",
}
SLOTS = {
    "dy": "gradient of the loss",
    "dh": "gradient of the state",
    "dc": "gradient of the cell state",
    "dh_next": "path back to the previous state",
    "dc_next": "carry to the previous cell state",
    "ds": "gradient of r * h'",
    "dv": "gradient of the candidate's recurrent product",
    "steps": "order of the steps",
    "start": "initial values",
    "activations": "derivatives of the gates",
    "gates": "order of the gates",
    "bindings": "a quantity used in several formulas",
    "sums": "sums over steps and samples",
}


def role_in_words(role: str) -> str:
    """Return ``gate i, input weight`` for ``Wx_i``."""
    kind, _, gate = role.partition("_")
    return f"gate {gate}, {KINDS[kind]}" if gate else KINDS[kind]


def _grouped(roles: Sequence[str]) -> str:
    """Return roles in words, those of a kind together."""
    kinds: dict[str, list[str]] = {}
    for kind, _, gate in (role.partition("_") for role in roles):
        kinds.setdefault(kind, []).append(gate)
    return "; ".join(
        KINDS[kind] + (f" of gate{'s' if len(gates) > 1 else ''} {', '.join(gates)}" if gates[0] else "")
        for kind, gates in kinds.items()
    )


def inferred(layout: Layout, cases: Sequence[Case]) -> list[str]:
    """Return what was inferred from shapes and losses."""
    model = layout.model
    lines = [f"{model.cell.upper()}, {'softmax' if model.output == 'softmax' else 'squared error'},"]
    lines[0] += f" loss on {'every step' if model.every else 'the last step'}"
    if model.cell == "gru":
        form = "(1 - z) n + z h'" if model.z_keeps else "z n + (1 - z) h'"
        reset = "r (h' Wh_n)" if model.reset_after else "(r h') Wh_n"
        lines[0] += f", h = {form}, candidate with {reset}"
    for array in dict.fromkeys(piece.array for piece in layout.pieces.values()):
        piece = next(p for p in layout.pieces.values() if p.array == array)
        order = ", ".join(layout.roles_of(array))
        side = " (out, in)" if piece.transposed else " (in, out)" if piece.parts != ("1",) else ""
        lines.append(f"{array} = {order}{side}")
    known = scale([(case.problem.sizes, case.k) for case in cases], model)
    loss, k = (known.loss, known.k) if known else _measured(cases)
    lines.append(f"loss = {loss}, so dy = k * (p - y) with k = {k}")
    return lines


@dataclass(frozen=True)
class Scale:
    """How a loss is averaged.

    Attributes:
        loss: the loss, as a formula.
        k: the factor of its gradient k (p - y), as a formula.
        factor: the same, by the sizes.
    """

    loss: str
    k: str
    factor: Callable[[Sizes], float]


def scale(found: Sequence[tuple[Sizes, float]], model: Model, single: bool = False) -> Scale | None:
    """Return how the loss is averaged; None if no formula fits.

    Args:
        found: the loss over the reference's, for some sizes.
        model: the cell and its output.
        single: the loss is in float32.
    """
    squared = model.output == "squared"
    what = "Σ (p - y)²" if squared else "-Σ y ln p"
    for factor, used in product((1.0, 0.5, 2.0), product((0, 1), repeat=3)):
        top = (2 if squared else 1) * factor

        def k(s: Sizes, top: float = top, used: tuple[int, ...] = used) -> float:
            return top / float(s.B ** used[0] * s.T ** used[1] * s.O ** used[2])

        if all(np.isclose(value, k(sizes), rtol=1e-4 if single else 1e-6) for sizes, value in found):
            divisors = [name for name, there in zip("BTO", used, strict=True) if there]
            below = " / " + (f"({' '.join(divisors)})" if len(divisors) > 1 else divisors[0]) if divisors else ""
            return Scale(f"{'' if factor == 1 else f'{factor:g} '}{what}{below}", f"{top:g}{below}", k)
    return None


def _measured(cases: Sequence[Case]) -> tuple[str, str]:
    """Return loss and factor where no formula is known for the factor."""
    first = cases[0]
    loss = "0.5 k Σ (p - y)²" if first.model.output == "squared" else "-k Σ y ln p"
    constant = all(np.isclose(case.k, first.k, rtol=1e-6) for case in cases)
    return loss, f"{first.k:.6g}" + ("" if constant else f" where {first.problem.sizes}")


def imprecise(error: float) -> Finding:
    """Return what is to be said of a gradient that is nearly right."""
    off = f"right to {error:.0e} only"
    return Finding(
        "precision", off, "right to 1e-13 or better, in float64", "the formulas are right; rounding is large"
    )


def explained(layout: Layout, doctor: Doctor, diagnosis: Diagnosis) -> list[Finding]:
    """Return a finding for each mistake, or the place of what has no name."""
    if not diagnosis.explanations:
        return [located(doctor, diagnosis)]
    best, *others = diagnosis.explanations
    proof = f"reproduces all your gradients to {_residual(doctor, best):.0e} on {len(doctor.cases)} problems"
    if len(best) > 1:
        proof += f", together with the other{'s' if len(best) > 2 else ''}"
    proof += _when(doctor)
    return [_finding(layout, doctor, fault, proof + _instead(fault, best, others, layout.model)) for fault in best]


def _instead(fault: Fault, best: Faults, others: Sequence[Faults], model: Model) -> str:
    """Say which other mistakes would do as well, in the place of one."""
    new = [_formula(other, model) for faults in others for other in faults if other not in best]
    alike = [text for text in new if text.partition(" ")[0] in (*fault.changes, "") or len(best) == 1]
    same = dict.fromkeys(alike)
    return f"; equally well: {'; or '.join(list(same)[:3])}" if same else ""


def _formula(fault: Fault, model: Model) -> str:
    return _shown(next(iter(fault.changes.values())), model) if fault.changes else fault.words


def _shown(formula: str, model: Model) -> str:
    """Return a formula as people write it: without terms that are 0, or factors that are 1."""
    if model.every:
        formula = re.sub(r"counted\[.*?\] \* ", "", formula)
    formula = re.sub(r"counted\[(.*?)\]", r"(\1 == T - 1)", formula)
    return re.sub(r"(?<== )0 \* \w+( \+ |$)", lambda match: "" if match[1] else "0", formula)


def _finding(layout: Layout, doctor: Doctor, fault: Fault, proof: str) -> Finding:
    labels = list(fault.changes)
    slot = SLOTS.get(fault.slot) or _slot(fault.slot)
    if fault.schedule or not labels:
        return Finding(slot, fault.words, "all start as zeros; then t = T-1 … 0, once, all losses together", proof)
    first = labels[0]
    more = f"  (likewise {', '.join(labels[1:])})" if len(labels) > 1 else ""
    words = f"{fault.words}; " if fault.words else ""
    arrays = [
        f"{label[1:]} is in your {layout.pieces[label[1:]].array}" for label in labels[:1] if label[1:] in layout.pieces
    ]
    where = f"; {arrays[0]}" if arrays else ""
    evidence = f"{words}{proof}{where}{_overwritten(fault.changes, doctor.right)}"
    found, expected = _shown(fault.changes[first], layout.model), _shown(doctor.right[first], layout.model)
    return Finding(slot, found + more, expected + more, evidence)


def _overwritten(changes: Mapping[str, str], right: Mapping[str, str]) -> str:
    """Ask for arrays that are changed after they were kept, where what was calculated in the last step is in all."""
    last = re.compile(r"\b(?![xy]\b)([a-z]+)\[T ?- ?1\]")
    names = dict.fromkeys(
        "tc = tanh(c)" if name == "tc" else name
        for label, text in changes.items()
        for name in last.findall(text)
        if not last.search(right[label])
    )
    if not names:
        return ""
    return (
        f"; what is kept of {', '.join(names)} for every step is that of the last:"
        " is the array changed in place (`*=`, `+=`, `[:] =`) after it was kept? keep a copy"
    )


def _slot(label: str) -> str:
    role = label.removeprefix("d")
    if role.partition("_")[0] in KINDS:
        return f"gradient of {role_in_words(role)}"
    if role.startswith("a") and len(role) == 2:
        return f"derivative of gate {role[1]}"
    return f"gradient of gate {role}"


def _residual(doctor: Doctor, faults: Faults) -> float:
    """Return the largest relative distance between the program's gradients and a mistake's."""
    worst = 0.0
    for case in doctor.cases:
        found = case.answer(faults)
        assert found is not None
        for role, own in case.gradients.items():
            distance = float(np.linalg.norm(found[role] - own))
            worst = max(worst, distance / (float(np.linalg.norm(own)) + 1e-3 * case.scale))
    return worst


def _when(doctor: Doctor) -> str:
    """Say on which problems the gradient is right nevertheless."""
    right = [case for case in doctor.cases if not case.wrong(())]
    text = ""
    if right and all(case.problem.sizes.T == 1 for case in right):
        text = "; with one step all your gradients are right"
    if doctor.raised:
        text += f"; on {len(doctor.raised)} other problem(s) it gives no gradient to compare"
    return text


def located(doctor: Doctor, diagnosis: Diagnosis) -> Finding:
    """Say where the mistake is, if it has no name: for which parameters, from how many steps on, in which formula."""
    first = min(case.problem.sizes.T for case in doctor.cases if case.wrong(()))
    stage = doctor.stage(first)
    wrong = frozenset().union(*(case.wrong(()) for case in stage))
    roles = [role for role in doctor.model.roles if role in wrong]
    # what is zero by right says nothing
    seen = {role for case in stage for role in case.gradients if case.reference[role].any()}
    right = [role for role in doctor.model.roles if role in seen - wrong]
    evidence = "wrong already with one step" if first == 1 else f"right with fewer steps, wrong from {first} steps on"
    evidence += f"; right for: {_grouped(right) or 'none'}; no known mistake reproduces them"
    lines = [doctor.right[label] for label in diagnosis.suspects]
    if lines:
        evidence += "; with other values in one of these formulas, whichever, they would be reproduced"
    else:
        evidence += "; no single formula can be all that is wrong"
        lines = _concerned(doctor, roles, first)
    if diagnosis.partial:
        some = ", ".join(_formula(fault, doctor.model) for fault in diagnosis.partial)
        evidence += f"; a part of it (not necessarily the right part) is reproduced by {some}"
    return Finding(
        "local formula" if first == 1 else "path back through time",
        f"the gradient is wrong for: {_grouped(roles)}",
        "\n".join(_shown(line, doctor.model) for line in lines),
        evidence,
    )


def _concerned(doctor: Doctor, wrong: Sequence[str], steps: int) -> list[str]:
    """Return the right formulas that only the wrong gradients depend on."""
    reached = {label: reach_of_label(doctor.model, label, steps == 1) for label in doctor.right}
    lines = [doctor.right[label] for label, roles in reached.items() if roles and roles <= set(wrong)]
    return lines or list(doctor.right.values())
