"""The process in which a user's program runs. It needs NumPy and nothing of lstmcast.

It reads ``request.json`` and ``arrays.npz`` in the folder it is given, and writes ``answer.json`` and ``answer.npz``.
"""

from __future__ import annotations

import ast
import json
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import numpy as np

MAKERS = {"zeros", "ones", "eye", "empty", "full", "array", "arange", "identity", "float32", "float64"}
COMPLEX_STEP = 1e-200
DEFINITIONS = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef


def definitions(source: str, name: str) -> tuple[ast.Module, list[int]]:
    """Return a program's imports, functions, classes and constants, and the lines of everything else.

    Raises:
        SyntaxError: if it is no Python.
    """
    tree = ast.parse(source, name)
    kept: list[ast.stmt] = []
    skipped: list[int] = []
    for node in tree.body:
        constant = isinstance(node, ast.Assign | ast.AnnAssign) and (node.value is None or _constant(node.value))
        if constant or isinstance(node, DEFINITIONS):
            kept.append(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            skipped.append(node.lineno)
    return ast.Module(kept, []), skipped


def _constant(node: ast.expr) -> bool:
    """Whether an expression is made of literals, names, arithmetic and empty arrays only."""
    if isinstance(node, ast.Call):
        made = isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS
        return made and all(map(_constant, [*node.args, *(keyword.value for keyword in node.keywords)]))
    if isinstance(node, ast.Constant | ast.Name | ast.Attribute | ast.Lambda):
        return True
    parts = (ast.BinOp, ast.UnaryOp, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Subscript)
    return isinstance(node, parts) and all(
        _constant(child) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)
    )


class Subject:
    """A user's program: each call runs in a fresh copy of it."""

    def __init__(self, code: CodeType, file: str, gradients: list[str] | None, torch: bool) -> None:
        self._code, self._file = code, file
        self._gradients = gradients
        self._torch = torch
        self.functions = self.fresh()

    def fresh(self) -> dict[str, Any]:
        """Execute the definitions anew."""
        space = _module(self._file)
        exec(self._code, space)
        return space

    def loss(self, space: Mapping[str, Any], arguments: list[Any]) -> Any:
        """Return the loss as a NumPy scalar."""
        if callable(space.get("loss")):
            return self._number(space["loss"](*self._own(arguments)))
        return self._number(space["loss_and_grads"](*self._own(arguments))[0])

    def grads(self, space: Mapping[str, Any], arguments: list[Any]) -> dict[str, Any]:
        """Return the gradients as arrays by name."""
        own = self._own(arguments)
        result = space["grads"](*own) if callable(space.get("grads")) else space["loss_and_grads"](*own)[1]
        if not isinstance(result, Mapping):
            names = self._gradients or list(arguments[0])
            if not isinstance(result, Sequence):
                raise AdapterError(f"the gradients are a {type(result).__name__}; return a dict or a list of arrays")
            if len(result) != len(names):
                raise AdapterError(f"there are {len(result)} gradients for {len(names)} names: {', '.join(names)}")
            result = dict(zip(names, result, strict=True))
        # many call W's gradient dW
        result = {name: result[f"d{name}"] for name in arguments[0] if f"d{name}" in result} | dict(result)
        # copies: a program may keep the buffers and write into them again
        return {str(name): np.array(_array(value)) for name, value in result.items() if value is not None}

    def trace(self, space: Mapping[str, Any], arguments: list[Any]) -> dict[str, Any]:
        """Return what the program's own ``trace`` shows of its steps, as arrays by name."""
        if not callable(space.get("trace")):
            raise AdapterError(
                "there is no function trace that takes what loss takes and returns gates and states by name"
                " (the template for the LSTM has one)"
            )
        shown = space["trace"](*self._own(arguments))
        if not isinstance(shown, Mapping):
            raise AdapterError(f"trace returns a {type(shown).__name__}; it must be a dict of arrays by name")
        return {str(name): _array(value) for name, value in shown.items()}

    def _number(self, value: Any) -> Any:
        value = _array(value)
        if value.size != 1:
            raise AdapterError(f"the loss is no number but an array of shape {value.shape}")
        return value.reshape(())[()]

    def _own(self, arguments: list[Any]) -> list[Any]:
        if not self._torch:
            return arguments
        import torch

        def tensor(value: Any) -> Any:
            # not a copy: what the program writes into it is to be seen
            return torch.from_numpy(np.asarray(value))

        return [
            {name: tensor(v) for name, v in item.items()} if isinstance(item, dict) else tensor(item)
            for item in arguments
        ]


class AdapterError(Exception):
    """What a user's function returned makes no sense."""


def _array(value: Any) -> Any:
    if value is None:
        raise AdapterError("the loss is None, or a part of what trace or data returns")
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fciub":
        raise AdapterError(f"a gradient or loss is no array of numbers: {type(value).__name__}")
    return array


def answer(subject: Subject, calls: list[dict[str, Any]], problem: Callable[[int], list[Any]]) -> list[dict[str, Any]]:
    """Make each call on fresh copies of program and arguments; an exception is an answer too."""
    answers = []
    for call in calls:
        arguments = problem(call["problem"])
        if "array" in call:
            values = arguments[0][call["array"]]
            if call.get("complex"):
                arguments[0] = {name: value.astype(complex) for name, value in arguments[0].items()}
                values = arguments[0][call["array"]]
                values.reshape(-1)[call["index"]] += 1j * COMPLEX_STEP
            else:
                values.reshape(-1)[call["index"]] += call["step"]
        try:
            with np.errstate(all="ignore"):
                if call["kind"] == "loss":
                    answers.append({"loss": subject.loss(subject.fresh(), arguments)})
                elif call["kind"] == "trace":
                    answers.append({"grads": subject.trace(subject.fresh(), arguments)})
                else:
                    answers.append({"grads": subject.grads(subject.fresh(), arguments)})
        except (Exception, SystemExit) as error:
            answers.append({"error": explain(error, subject._file)})
    return answers


def explain(error: BaseException, file: str) -> dict[str, Any]:
    """Return an exception's type, message, and where in the user's file it came up."""
    line, where = getattr(error, "lineno", None), ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == file:
            line, where = frame.lineno, frame.name
    return {"type": type(error).__name__, "message": str(error), "line": line, "function": where}


def probe(subject: Subject, problem: Callable[[int], list[Any]]) -> dict[str, Any]:
    """Call loss and gradients twice in one copy of the program: the results must not change."""
    found: dict[str, Any] = {}
    try:
        with np.errstate(all="ignore"):
            arguments = problem(0)
            before = problem(0)
            losses = [subject.loss(subject.functions, arguments) for _ in range(2)]
            first, second = (subject.grads(subject.functions, arguments) for _ in range(2))
            losses.append(subject.loss(subject.functions, arguments))
        found["losses"] = [float(np.real(value)) for value in losses]
        found["changed"] = [
            name
            for name in first
            if first[name].shape != second.get(name, first[name]).shape or not _equal(first[name], second[name])
        ]
        found["overwritten"] = [name for name in before[0] if not _equal(before[0][name], arguments[0][name])]
        found["overwritten"] += [
            name
            for name, old, new in zip(("x", "y", "h", "c"), before[1:], arguments[1:], strict=False)
            if not _equal(old, new)
        ]
        found["single"] = bool(
            np.asarray(losses[0]).dtype == np.float32 or any(value.dtype == np.float32 for value in first.values())
        )
    except (Exception, SystemExit) as error:
        found["error"] = explain(error, subject._file)
    return found


def _equal(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=1e-12, atol=1e-14, equal_nan=True))


def load(file: str, source: str, gradients: list[str] | None) -> tuple[Subject, list[int]]:
    """Execute a program's definitions.

    Raises:
        Exception: whatever they raise.
    """
    tree, skipped = definitions(source, file)
    roots = {
        alias.name if isinstance(node, ast.Import) else node.module or ""
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    torch = any(root.partition(".")[0] == "torch" for root in roots)
    if torch:
        import torch as library

        library.set_default_dtype(library.float64)
    return Subject(compile(_runnable(tree, file, skipped), file, "exec"), file, gradients, torch), sorted(skipped)


def _module(file: str) -> dict[str, Any]:
    """Return the names of a new module, which dataclasses look up by its name."""
    module = ModuleType("program")
    module.__file__ = file
    sys.modules["program"] = module
    return module.__dict__


def _runnable(tree: ast.Module, file: str, skipped: list[int]) -> ast.Module:
    """Leave out the constants that cannot be computed, for what they are made of was skipped."""
    space = _module(file)
    kept: list[ast.stmt] = []
    for node in tree.body:
        try:
            exec(compile(ast.Module([node], []), file, "exec"), space)
        except Exception:
            if isinstance(node, DEFINITIONS):
                raise
            skipped.append(node.lineno)
        else:
            kept.append(node)
    return ast.Module(kept, [])


def main(folder: Path) -> None:
    """Answer one request."""
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    file = request["file"]
    sys.path.insert(0, str(Path(file).resolve().parent))
    result: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    try:
        with np.errstate(all="ignore"):
            subject, result["skipped"] = load(file, request["source"], request["gradients"])
    except BaseException as error:
        result["error"] = explain(error, file)
    else:
        # a script may call a constant of its own data, or loss
        names = {name for name, value in subject.functions.items() if callable(value)}
        result["functions"] = sorted(names & {"loss", "grads", "loss_and_grads", "data"})
        with np.load(folder / "arrays.npz") as stored:
            values = dict(stored)

        def problem(index: int) -> list[Any]:
            layout = request["problems"][index]
            parameters = {name: values[f"{index}/{name}"].copy() for name in layout["parameters"]}
            return [parameters, *(values[f"{index}//{name}"].copy() for name in layout["arguments"])]

        if "loss_and_grads" in names or {"loss", "grads"} <= names:
            result["probe"] = probe(subject, problem)
            answers = answer(subject, request["calls"], problem)
            for index, given in enumerate(answers):
                if "loss" in given:
                    arrays[f"{index}//loss"] = given.pop("loss")
                for name, value in given.pop("grads", {}).items():
                    arrays[f"{index}/{name}"] = value
            result["answers"] = answers
        if "data" in names:
            try:
                inputs, targets = (_array(value) for value in subject.fresh()["data"]())
                arrays["data/inputs"], arrays["data/targets"] = inputs, targets
            except (Exception, SystemExit) as error:
                result["data_error"] = explain(error, file)
    np.savez(folder / "answer.npz", **arrays)
    (folder / "answer.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
