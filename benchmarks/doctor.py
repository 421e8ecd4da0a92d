"""How often the gradient doctor finds a mistake, and how long it takes: prints one table, writes JSON.

Run it with ``make bench-doctor``, or ``python benchmarks/doctor.py --quick``.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from lstmcast.arrays import Array
from lstmcast.gradients import adapter as adapters
from lstmcast.gradients import code, layout, worker
from lstmcast.gradients.adapter import Adapter
from lstmcast.gradients.catalogue import catalogue
from lstmcast.gradients.diagnose import Case, Doctor, compatible, same_formula
from lstmcast.gradients.formulas import program
from lstmcast.gradients.problem import CellKind, Model, OutputKind, full_roles, random_data, shape_of
from lstmcast.gradients.process import Answers
from lstmcast.gradients.reference import FAILURES, Fault, Gradients, backward, forward

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests/gradients/programs"
TEXTBOOKS = ("lstm_batched", "lstm_symbols", "lstm_sample", "rnn_batched", "gru")
CELLS: tuple[CellKind, ...] = ("lstm", "gru", "rnn")
OUTPUTS: tuple[OutputKind, ...] = ("squared", "softmax")


@dataclass
class Row:
    """One line of the table."""

    name: str
    cases: int = 0
    named: int = 0
    located: int = 0
    seconds: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def texts(self) -> tuple[str, ...]:
        share = [f"{count}/{self.cases} = {count / max(1, self.cases):.1%}" for count in (self.named, self.located)]
        return (self.name, *share, f"{np.median(self.seconds):.2f} s", f"{max(self.seconds):.1f} s")


def planted(model: Model, faults: tuple[Fault, ...]) -> list[Case]:
    """Return the battery as a program with these mistakes answers it."""
    rng = np.random.default_rng(0)
    cases = []
    for sizes in code.SIZES:
        values = {role: 0.6 * rng.normal(size=shape_of(role, sizes)) for role in model.roles}
        problem = replace(random_data(rng, sizes, model.output), parameters=values)
        tape = forward(model, problem)
        tape["k"] = 1 / sizes.B
        found: Gradients | None
        try:
            with np.errstate(all="ignore"):
                found = backward(model, program(model), tape, faults)
        except FAILURES:
            found = None
        if found and any(found[role].shape != shape_of(role, sizes) for role in found):
            found = None
        cases.append(Case(problem, 1 / sizes.B, found))
    return cases


def catalogued(model: Model, chosen: list[tuple[Fault, ...]], name: str) -> Row:
    """Plant mistakes of the catalogue; they count as named if that is the one explanation."""
    row = Row(name)
    for faults in chosen:
        cases = planted(model, faults)
        start = time.perf_counter()
        doctor = Doctor(model, cases)
        if all(not doctor.wrong(case, ()) for case in doctor.cases):
            continue
        diagnosis = doctor.diagnose()
        row.seconds.append(time.perf_counter() - start)
        row.cases += 1
        unique = len(diagnosis.explanations) == 1 and same_formula(model, diagnosis.explanations[0], faults)
        row.named += unique
        row.located += True
        if not unique:
            row.missed.append(f"{[fault.words for fault in faults]} ({len(diagnosis.explanations)} explanations)")
    return row


def pairs(model: Model, number: int) -> list[tuple[Fault, ...]]:
    rng = random.Random(7)
    known = [fault for fault in catalogue(model) if fault.known]
    found: list[tuple[Fault, ...]] = []
    while len(found) < number:
        one, other = rng.sample(known, 2)
        if one.slot != other.slot and compatible((one, other)):
            found.append((one, other))
    return found


# ---- one-token edits of textbook programs ----


def edits(function: ast.FunctionDef, rng: random.Random) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield each one-token edit of a function: what it is, and the function."""
    names = sorted(
        {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    )
    keys = sorted(
        {node.value for node in ast.walk(function) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    )
    for index, node in enumerate(list(ast.walk(function))):
        for number, new in enumerate(_replacements(node, names, keys, rng)):
            edited = copy.deepcopy(function)
            target = list(ast.walk(edited))[index]
            what = f"line {getattr(node, 'lineno', '?')}: {ast.unparse(node)} -> {ast.unparse(new)} ({number})"
            if _put(edited, target, new):
                yield what, ast.fix_missing_locations(edited)


def _replacements(node: ast.AST, names: list[str], keys: list[str], rng: random.Random) -> list[ast.AST]:
    found: list[ast.AST] = []
    match node:
        case ast.BinOp(left=left, op=operator, right=right):
            others: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
                ast.Add: (ast.Sub,),
                ast.Sub: (ast.Add,),
                ast.Mult: (ast.Add, ast.Div),
                ast.Div: (ast.Mult,),
                ast.MatMult: (ast.Mult,),
            }
            found += [ast.BinOp(left, other(), right) for other in others.get(type(operator), ())]
            found += [left, right] if isinstance(operator, ast.Mult | ast.Add | ast.Sub | ast.Div) else []
        case ast.Attribute(value=value, attr="T"):
            found.append(value)
        case ast.Attribute(value=value, attr=name) if name in SWAPS:
            found.append(ast.Attribute(value, SWAPS[name], ast.Load()))
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            found += [ast.Constant(other) for other in {0, 1, number + 1} - {number}]
        case ast.Constant(value=float(number)):
            found += [ast.Constant(other) for other in {0.0, 2.0} - {number}]
        case ast.Constant(value=str(key)):
            found += [ast.Constant(other) for other in rng.sample([k for k in keys if k != key], min(1, len(keys) - 1))]
        case ast.Name(id=name, ctx=ast.Load()) if name in names:
            others_ = [other for other in names if other != name]
            found += [ast.Name(other, ast.Load()) for other in rng.sample(others_, min(2, len(others_)))]
            if name == "t":
                found += [ast.BinOp(node, op(), ast.Constant(1)) for op in (ast.Add, ast.Sub)]
        case ast.AugAssign(target=target, op=ast.Add(), value=value):
            stored = ast.Assign([target], value, lineno=node.lineno)
            found += [stored, ast.AugAssign(target, ast.Sub(), value), ast.Pass()]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found.append(operand)
    return found


SWAPS = {"dot": "multiply", "outer": "multiply", "sum": "mean", "zeros_like": "ones_like", "zeros": "ones"}
SWAPS |= {"tanh": "exp", "h_prev": "h", "s_prev": "s", "i": "f", "f": "i", "o": "f", "g": "i", "s": "h", "h": "s"}


def _put(tree: ast.AST, old: ast.AST, new: ast.AST) -> bool:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return True
            if isinstance(value, list):
                for index, item in enumerate(value):
                    if item is old:
                        value[index] = new
                        return True
    return False


def answered(adapter: Adapter, asked: code.Examination, tree: ast.Module, file: str) -> Answers:
    """Run a program here, not in a process of its own."""
    subject = worker.Subject(compile(tree, file, "exec"), file, adapter.gradients, torch=False)

    def problem(index: int) -> list[object]:
        posed = asked.posed[index]
        return [{k: v.copy() for k, v in posed.parameters.items()}, *(a.copy() for a in posed.arguments)]

    given = worker.answer(subject, asked.calls, problem)
    return Answers(
        [answer.get("loss") for answer in given],
        [answer.get("grads") for answer in given],
        [answer.get("error") for answer in given],
        {},
        [],
    )


def textbook(name: str, quick: bool) -> list[Row]:
    """Edit a program's backward pass in every way; those count that change the gradient.

    The second row has those that raise an exception, or give no gradient, unless all sizes are equal.
    """
    file = PROGRAMS / f"right_{name}.py"
    source = file.read_text()
    adapter = adapters.read(source, str(file))
    asked = code.examination(adapter)
    tree, _ = worker.definitions(source, str(file))
    where = next(k for k, node in enumerate(tree.body) if isinstance(node, ast.FunctionDef) and node.name == "backward")
    function = tree.body[where]
    assert isinstance(function, ast.FunctionDef)
    runs, partly = Row(f"one-token edits, {name}"), Row(f"one-token edits, {name}, on some sizes only")
    everything = list(edits(function, random.Random(41)))
    everything = random.Random(43).sample(everything, min(40 if quick else 120, len(everything)))
    for what, edited in everything:
        body = [*tree.body]
        body[where] = edited
        start = time.perf_counter()
        answers = answered(adapter, asked, ast.Module(body, []), str(file))
        gradients = answers.gradients[len(asked.posed) :]
        if all(found is None for found in gradients):
            continue
        report = code.judge(file, adapter, asked, answers)
        assert report is not None
        if report.passed and all(found is not None for found in gradients):
            continue
        apart = [finding for finding in report.diagnosis if not finding.evidence.startswith(("grads on", "on a"))]
        row = runs if len(apart) == len(report.diagnosis) else partly
        row.seconds.append(time.perf_counter() - start)
        row.cases += 1
        missing = any("there is no gradient for" in finding.found for finding in report.diagnosis)
        named = missing or (
            bool(apart) and all("reproduces all your gradients" in finding.evidence for finding in apart)
        )
        row.named += named
        row.located += bool(report.diagnosis)
        if not named:
            row.missed.append(what)
    return [row for row in (runs, partly) if row.cases]


# ---- right programs ----


def right_programs(number: int) -> Row:
    """Judge right programs; each that passes counts as named."""
    row = Row("right programs, no false alarm")
    rng = random.Random(1)
    texts = [path.read_text() for path in sorted(PROGRAMS.glob("right_*.py"))]
    texts += [files("lstmcast.gradients.templates").joinpath(f"{cell}.txt").read_text() for cell in CELLS]
    for text in texts:
        adapter = adapters.read(text, "program")
        asked = code.examination(adapter)
        start = time.perf_counter()
        _count(row, adapter, asked, answered(adapter, asked, worker.definitions(text, "program")[0], "program"), start)
    while row.cases < number:
        adapter = random_adapter(rng)
        asked = code.examination(adapter)
        chosen = rng.choice(list(layout.layouts(replace(adapter, every=rng.choice((True, False))))))
        divisor: Callable[[code.Sizes], float] = rng.choice(
            (lambda _: 1.0, lambda s: s.B, lambda s: 2 * s.B, lambda s: s.B * s.T, lambda s: s.B * s.T * s.O / 2)
        )
        start = time.perf_counter()
        _count(row, adapter, asked, rendered(chosen, asked, divisor), start)
    return row


def _count(row: Row, adapter: Adapter, asked: code.Examination, answers: Answers, start: float) -> None:
    report = code.judge(Path("program"), adapter, asked, answers)
    row.seconds.append(time.perf_counter() - start)
    row.cases += 1
    passed = report is not None and report.passed
    row.named += passed
    row.located += passed
    if not passed:
        row.missed.append(repr(adapter))


def random_adapter(rng: random.Random) -> Adapter:
    """Draw a way to keep parameters in arrays: joined or apart, with or without biases, transposed or not."""
    cell = rng.choice(CELLS)
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[cell]
    joined, together = rng.random() < 0.5, rng.random() < 0.5 and gates > 1
    columns = rng.random() < 0.5
    biases = rng.choice((0, 1, 2))
    names = [""] if together or gates == 1 else [f"_{k}" for k in rng.sample("abcd"[:gates], gates)]
    wide = f"{gates}*H" if together else "H"

    def matrix(rows: str, out: str) -> str:
        return f"{out}, {rows}" if columns else f"{rows}, {out}"

    shapes = {}
    for name in names:
        if joined and not (cell == "gru" and together):
            shapes[f"W{name}"] = matrix(rng.choice(("D+H", "D+H+1")) if biases == 0 else "D+H", wide)
        else:
            shapes[f"W{name}"] = matrix("D", wide)
            shapes[f"U{name}"] = matrix("H", wide)
    for kind in ("b", "c")[:biases]:
        for name in names:
            shapes[f"{kind}{name}"] = rng.choice((wide, f"1, {wide}", f"{wide}, 1"))
    if len({shape for name, shape in shapes.items() if name.startswith("W")}) > 1:
        return random_adapter(rng)
    shapes["V"] = matrix("H", "O")
    if rng.random() < 0.7:
        shapes["d"] = "O"
    x = rng.choice(("BTD", "TBD", "TDB", "TD"))
    said = {
        "cell": cell,
        "output": rng.choice(OUTPUTS),
        "x": x,
        "shapes": shapes,
        "state": ["BH" if "B" in x else "H"] * rng.choice((0, 2)),
    }
    return adapters.parse(said)


def rendered(chosen: layout.Layout, asked: code.Examination, divisor: Callable[[code.Sizes], float]) -> Answers:
    """Return what the reference answers, its parameters and gradients kept in a layout's arrays."""
    trials = [*asked.fitting, *asked.battery, *asked.again]
    losses: list[object] = []
    gradients: list[dict[str, Array] | None] = []
    for call in asked.calls:
        trial = trials[call["problem"]]
        sizes = trial.problem.sizes
        tape = forward(chosen.model, replace(trial.problem, parameters=chosen.canonical(trial.arrays, sizes)))
        tape["k"] = 1 / divisor(sizes)
        losses.append(tape.loss * tape["k"])
        own: dict[str, Array] | None = None
        if call["kind"] == "grads":
            own = {name: np.zeros_like(array) for name, array in trial.arrays.items()}
            for role, value in backward(chosen.model, program(chosen.model), tape).items():
                piece = chosen.pieces[role]
                piece.take(own[piece.array], sizes)[...] = value
        gradients.append(own)
    return Answers(losses, gradients, [None] * len(losses), {}, [])


def table(rows: list[Row]) -> str:
    head = ("case", "named", "located", "median", "longest")
    lines = [head, *(row.texts() for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)


def summary(rows: list[Row]) -> Mapping[str, object]:
    return {
        row.name: {
            "cases": row.cases,
            "named": row.named,
            "located": row.located,
            "median_seconds": float(np.median(row.seconds)),
            "longest_seconds": max(row.seconds),
            "missed": row.missed,
        }
        for row in rows
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a random part of the cases")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    jobs: dict[str, Callable[[], list[Row]]] = {}
    for cell in CELLS:
        for output in OUTPUTS:
            model = Model(cell, output, roles=full_roles(cell))
            singles = [(fault,) for fault in catalogue(model) if fault.known]
            if options.quick:
                singles = random.Random(5).sample(singles, 40)
            for kind, chosen in (("single", singles), ("pair", pairs(model, 10 if options.quick else 60))):
                name = f"{kind}, {cell}, {output}"
                jobs[name] = lambda m=model, c=chosen, n=name: [catalogued(m, c, n)]  # type: ignore[misc]
    for book in TEXTBOOKS:
        jobs[f"one-token edits, {book}"] = lambda b=book: textbook(b, options.quick)  # type: ignore[misc]
    jobs["right programs"] = lambda: [right_programs(40 if options.quick else 200)]
    rows: list[Row] = []
    for name, job in jobs.items():
        if options.only in name:
            new = job()
            rows += new
            print(table(new), file=sys.stderr, flush=True)
    print(table(rows))
    target = ROOT / "outputs/bench-doctor.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(summary(rows), indent=1))
    print(f"what was missed is in {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
