"""How often the gradient doctor finds a mistake, and the processor time it takes: prints one table, writes JSON.

Run it with ``make bench-doctor``, or ``python benchmarks/doctor.py --quick``.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import multiprocessing
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from lstmcast.arrays import Array
from lstmcast.doctor import check_program as code
from lstmcast.doctor.formulas import program
from lstmcast.doctor.mistakes.catalogue import catalogue
from lstmcast.doctor.mistakes.faults import compatible, same_formula
from lstmcast.doctor.problem import GATES, CellKind, Model, OutputKind, Sizes, random_data, shape_of
from lstmcast.doctor.program import adapter as adapters
from lstmcast.doctor.program import layout, worker
from lstmcast.doctor.program.adapter import Adapter
from lstmcast.doctor.program.examination import SIZES, Examination, examination
from lstmcast.doctor.program.process import Answers
from lstmcast.doctor.reference import FAILURES, Fault, backward, forward
from lstmcast.doctor.search.diagnose import Case, Doctor
from lstmcast.errors import InvalidError
from lstmcast.gradients.report import Report

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "tests/doctor/programs"
TEXTBOOKS = ("right_lstm_batched", "right_lstm_symbols", "right_lstm_sample", "right_rnn_batched", "right_gru")
UNSEEN = ("unseen_lstm_class", "unseen_lstm_torch", "unseen_gru_joined", "unseen_rnn_columns")
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
    for sizes in SIZES:
        values = {role: 0.6 * rng.normal(size=shape_of(role, sizes)) for role in model.roles}
        problem = replace(random_data(rng, sizes, model.output), parameters=values)
        tape = forward(model, problem)
        tape["k"] = 1 / sizes.B
        try:
            with np.errstate(all="ignore"):
                found = backward(model, program(model), tape, faults)
        except FAILURES:
            found = {}
        found = {role: value for role, value in found.items() if value.shape == shape_of(role, sizes)}
        cases.append(Case(problem, 1 / sizes.B, found, model))
    return cases


def catalogued(model: Model, chosen: list[tuple[Fault, ...]], name: str) -> Row:
    """Plant mistakes of the catalogue; they count as named if that is the one explanation."""
    row = Row(name)
    for faults in chosen:
        cases = planted(model, faults)
        start = time.process_time()
        doctor = Doctor(model, cases)
        if all(not case.wrong(()) for case in doctor.cases):
            continue
        diagnosis = doctor.diagnose()
        row.seconds.append(time.process_time() - start)
        row.cases += 1
        unique = len(diagnosis.explanations) == 1 and same_formula(model, diagnosis.explanations[0], faults)
        row.named += unique
        row.located += True
        if not unique:
            row.missed.append(f"{[fault.words for fault in faults]} ({len(diagnosis.explanations)} explanations)")
    return row


def pairs(model: Model, number: int) -> list[tuple[Fault, ...]]:
    rng = random.Random(7)
    known = catalogue(model)
    found: list[tuple[Fault, ...]] = []
    while len(found) < number:
        one, other = rng.sample(known, 2)
        if one.slot != other.slot and compatible((one, other)):
            found.append((one, other))
    return found


# ---- one-token edits of textbook programs ----


def edits(function: ast.FunctionDef, rng: random.Random) -> Iterator[tuple[str, int, ast.FunctionDef]]:
    """Yield each one-token edit of a function: what it is, its line, and the function."""
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
            line = getattr(node, "lineno", function.lineno)
            what = f"line {line}: {ast.unparse(node)} -> {ast.unparse(new)} ({number})"
            if _put(edited, target, new):
                yield what, line, ast.fix_missing_locations(edited)


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


def answered(adapter: Adapter, asked: Examination, tree: ast.Module, file: str) -> Answers:
    """Run a program here, not in a process of its own."""
    subject = worker.Subject(compile(tree, file, "exec"), file, adapter.gradients, torch="torch" in file)

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


def backward_of(tree: ast.Module) -> ast.FunctionDef:
    """Return a program's backward pass, a function or a method."""
    return next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "backward")


def named(report: Report) -> bool:
    """Whether a report says what is wrong, and has reproduced it.

    The mistakes that it names reproduce every gradient there is, or arrays are recognised as a whole; or the gradients
    are right wherever there is no exception, and it says on which sizes that is.
    """
    proofs = (
        "reproduces all your gradients",
        "problems, to 1e-07",
        "all gradients are right there",
        "is yours; a clip",
    )
    said = [
        finding
        for finding in report.diagnosis
        if finding.slot != "an exception" or "are right there" in finding.evidence
    ]
    missing = [finding for finding in said if finding.found.startswith("there is no gradient for")]
    shape = [finding for finding in said if finding.found.startswith("the gradient of")]
    proved = [finding for finding in said if any(proof in finding.evidence for proof in proofs)]
    return bool(proved or missing) and len(proved) + len(missing) + len(shape) == len(said)


def located(report: Report, labels: set[str], line: int, file: str) -> bool:
    """Whether a report has led to the edited line: by its formulas, or by the line itself.

    Args:
        report: what was found.
        labels: of the formulas that the line calculates, or that use what it assigns.
        line: its number.
        file: the program.
    """
    for finding in report.diagnosis:
        if set(re.findall(r"^(\w+) \+?=", finding.expected, re.MULTILINE)) & labels:
            return True
        if finding.slot == "an exception" and finding.found.startswith(f"{file}:{line}:"):
            return True
        if finding.slot.startswith("gradient of") and labels == {"returned"}:
            return True
    return False


def formulas_of(source: str) -> dict[int, set[str]]:
    """Return the labels of the formulas that each line of a backward pass calculates: ``# is: dai, daf``."""
    found = {}
    for number, text in enumerate(source.splitlines(), 1):
        if match := re.search(r"# is: (.*)", text):
            found[number] = set(match[1].replace(",", " ").split())
    return found


def textbook(name: str, quick: bool) -> list[Row]:
    """Edit a program's backward pass in every way; those count that change the gradient.

    The second row has those that raise an exception, or give an array of another shape, unless sizes are equal.
    """
    file = PROGRAMS / f"{name}.py"
    source = file.read_text()
    adapter = adapters.read(source, str(file))
    asked = examination(adapter)
    tree, _ = worker.definitions(source, str(file))
    function = backward_of(tree)
    formulas = formulas_of(source)
    runs, partly = Row(f"one-token edits, {name}"), Row(f"one-token edits, {name}, on some sizes only")
    everything = list(edits(function, random.Random(41)))
    everything = random.Random(43).sample(everything, min(30 if quick else 80, len(everything)))
    for what, line, edited in everything:
        changed = copy.deepcopy(tree)
        backward_of(changed).body = edited.body
        start = time.process_time()
        answers = answered(adapter, asked, changed, str(file))
        gradients = answers.gradients[asked.gradients]
        if all(found is None for found in gradients):
            continue
        try:
            report = code.judge(file, adapter, asked, answers)
        except InvalidError:
            # its loss raises an exception, too
            continue
        assert report is not None
        if report.passed and all(found is not None for found in gradients):
            continue
        partial = any(
            f.slot == "an exception" or f.found.startswith(("the gradient of", "there is no")) for f in report.diagnosis
        )
        row = partly if partial else runs
        row.seconds.append(time.process_time() - start)
        row.cases += 1
        good = named(report)
        row.named += good
        there = good or located(report, formulas.get(line, set()), line, str(file))
        row.located += there
        if not good:
            row.missed.append(what if there else f"{what} (NOT LOCATED)")
    return [row for row in (runs, partly) if row.cases]


# ---- right programs ----


def right_programs(number: int) -> Row:
    """Judge right programs; each that passes counts as named."""
    row = Row("right programs, no false alarm")
    rng = random.Random(1)
    texts = [path.read_text() for path in sorted(PROGRAMS.glob("right_*.py"))]
    texts += [path.read_text() for path in sorted(PROGRAMS.glob("unseen_*.py")) if "torch" not in path.name]
    texts += [files("lstmcast.doctor.templates").joinpath(f"{cell}.txt").read_text() for cell in CELLS]
    for text in texts:
        adapter = adapters.read(text, "program")
        asked = examination(adapter)
        start = time.process_time()
        _count(row, adapter, asked, answered(adapter, asked, worker.definitions(text, "program")[0], "program"), start)
    while row.cases < number:
        adapter = random_adapter(rng)
        asked = examination(adapter)
        chosen = rng.choice(list(layout.layouts(replace(adapter, every=rng.choice((True, False))))))
        divisor: Callable[[Sizes], float] = rng.choice(
            (lambda _: 1.0, lambda s: s.B, lambda s: 2 * s.B, lambda s: s.B * s.T, lambda s: s.B * s.T * s.O / 2)
        )
        start = time.process_time()
        _count(row, adapter, asked, rendered(chosen, asked, divisor), start)
    return row


def _count(row: Row, adapter: Adapter, asked: Examination, answers: Answers, start: float) -> None:
    report = code.judge(Path("program"), adapter, asked, answers)
    row.seconds.append(time.process_time() - start)
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


def rendered(chosen: layout.Layout, asked: Examination, divisor: Callable[[Sizes], float]) -> Answers:
    """Return what the reference answers, its parameters and gradients kept in a layout's arrays."""
    losses: list[object] = []
    gradients: list[dict[str, Array] | None] = []
    for call in asked.calls:
        trial = asked.trials[call["problem"]]
        sizes = trial.problem.sizes
        tape = forward(chosen.model, replace(trial.problem, parameters=chosen.canonical(trial.arrays, sizes)))
        tape["k"] = 1 / divisor(sizes)
        losses.append(tape.loss * tape["k"])
        own: dict[str, Array] | None = None
        if call["kind"] == "grads":
            right = backward(chosen.model, program(chosen.model), tape)
            own = chosen.arrays(right, trial.arrays, sizes)
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


def together(rows: list[Row], name: str, kind: str, whole: bool = True) -> Row:
    """Return the sum of the rows of edits of some programs; without ``whole`` of those that run on all sizes."""
    total = Row(name)
    for row in rows:
        if kind in row.name and row.name.startswith("one-token") and (whole or "some sizes" not in row.name):
            total.cases, total.named = total.cases + row.cases, total.named + row.named
            total.located += row.located
            total.seconds += row.seconds
    return total


JOBS: dict[str, Callable[[], list[Row]]] = {}


def run(name: str) -> list[Row]:
    """Do one of the jobs."""
    warnings.simplefilter("ignore")
    return JOBS[name]()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small random part of the cases")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    options = parser.parse_args()
    for book in (*TEXTBOOKS, *UNSEEN):
        JOBS[f"one-token edits, {book}"] = lambda b=book: textbook(b, options.quick)  # type: ignore[misc]
    JOBS["right programs"] = lambda: [right_programs(40 if options.quick else 200)]
    for cell in CELLS:
        for output in OUTPUTS:
            roles = [f"{kind}_{gate}" for kind in ("Wx", "Wh", "b") for gate in GATES[cell]]
            model = Model(cell, output, roles=(*roles, "Wy", "by"))
            singles = [(fault,) for fault in random.Random(5).sample(catalogue(model), 40 if options.quick else 120)]
            for kind, chosen in (("single", singles), ("pair", pairs(model, 10 if options.quick else 20))):
                name = f"{kind}, {cell}, {output}"
                JOBS[name] = lambda m=model, c=chosen, n=name: [catalogued(m, c, n)]  # type: ignore[misc]
    names = [name for name in JOBS if options.only in name]
    rows: list[Row] = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        for new in pool.map(run, names):
            rows += new
            print(table(new), file=sys.stderr, flush=True)
    totals = [
        together(rows, "edits of programs looked at, run on all sizes", "right_", whole=False),
        together(rows, "edits of programs looked at, all", "right_"),
        together(rows, "edits of unseen programs, run on all sizes", "unseen_", whole=False),
        together(rows, "edits of unseen programs, all", "unseen_"),
    ]
    rows += [row for row in totals if row.cases]
    print(table(rows))
    target = ROOT / "outputs/bench-doctor.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(summary(rows), indent=1))
    print(f"what was missed is in {target.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
