"""Run a user's program in a process of its own, with a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lstmcast.arrays import Array
from lstmcast.data.user_file import read_text
from lstmcast.doctor.program import worker
from lstmcast.errors import InvalidError

Call = dict[str, Any]

# bytes of a program, far more than anybody writes
MAX_SOURCE = 2**20


@dataclass(frozen=True)
class Posed:
    """A problem as the program takes it: its parameters, then x, y and initial states."""

    parameters: Mapping[str, Array]
    arguments: Sequence[Array]


@dataclass(frozen=True)
class Answers:
    """What a program answered.

    Attributes:
        losses: by call; None if it raised, or was not asked.
        gradients: by call, each by name.
        errors: by call: type, message, line, function.
        probe: what calling twice showed; see `worker.probe`.
        skipped: lines that were not executed.
        data: inputs and targets of the user's ``data()``.
    """

    losses: list[Any]
    gradients: list[dict[str, Array] | None]
    errors: list[dict[str, Any] | None]
    probe: dict[str, Any]
    skipped: list[int]
    data: tuple[Array, Array] | None = None
    data_error: dict[str, Any] | None = None


def read_source(file: Path) -> str:
    """Return a program's text.

    Raises:
        NotFoundError: if there is no such file.
        InvalidError: if it is no text file, or too large.
    """
    return read_text(file, MAX_SOURCE)


def ask(
    file: Path, problems: Sequence[Posed], calls: Sequence[Call], gradients: list[str] | None, limit: float
) -> Answers:
    """Run a program on problems.

    Args:
        file: the program.
        problems: what it may be called with.
        calls: each has ``kind`` (loss, grads or trace), ``problem`` (a number), and perhaps ``array``, ``index`` and
            ``step``: one entry of a parameter to change.
        gradients: names of the gradients, if they come as a list.
        limit: seconds after which the process is ended.

    Raises:
        InvalidError: if the program cannot be loaded, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="lstmcast-") as name:
        folder = Path(name)
        arrays: dict[str, Array] = {}
        for index, posed in enumerate(problems):
            arrays |= {f"{index}/{key}": value for key, value in posed.parameters.items()}
            arrays |= {f"{index}//{key}": value for key, value in enumerate(posed.arguments)}
        np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]
        request = {
            "file": str(file),
            "source": read_source(file),
            "gradients": gradients,
            "calls": list(calls),
            "problems": [
                {"parameters": list(posed.parameters), "arguments": list(range(len(posed.arguments)))}
                for posed in problems
            ],
        }
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        _run(folder, file, limit)
        result = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if "error" in result:
            raise InvalidError(described(file, result["error"]))
        functions = result["functions"]
        if "loss_and_grads" not in functions and not {"loss", "grads"} <= set(functions):
            missing = "grads" if "loss" in functions else "loss" if "grads" in functions else "loss and no grads"
            raise InvalidError(
                f"{file}: there is no function {missing}(params, x, y)",
                "`lstmcast gradcheck --template lstm` prints an example",
            )
        with np.load(folder / "answer.npz") as stored:
            values = dict(stored)
    given = result["answers"]
    own = [f"{index}/" for index in range(len(given))]
    found: list[dict[str, Array]] = [{} for _ in given]
    for key, value in values.items():
        index, _, name = key.partition("/")
        if index.isdigit() and not name.startswith("/"):
            found[int(index)][name] = value
    return Answers(
        [values.get(f"{prefix}/loss") for prefix in own],
        [
            grads if call["kind"] in ("grads", "trace") and "error" not in a else None
            for grads, call, a in zip(found, calls, given, strict=True)
        ],
        [a.get("error") for a in given],
        result["probe"],
        result["skipped"],
        (values["data/inputs"], values["data/targets"]) if "data/inputs" in values else None,
        result.get("data_error"),
    )


def _run(folder: Path, file: Path, limit: float) -> None:
    # to a file: a child that keeps a pipe open must not keep us waiting
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-I", worker.__file__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        raise InvalidError(
            f"{file}: not done after {limit:g} seconds",
            "--time-limit gives it more; the problems are tiny, so look for a loop that does not end",
        ) from None
    finally:
        # and whatever it has started
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not (folder / "answer.json").exists():
        said = (folder / "stderr").read_text(encoding="utf-8", errors="replace").strip()
        last = said.splitlines()[-1:] or ["no message"]
        raise InvalidError(f"{file}: its process ended with {_ending(process.returncode)}: {last[0]}")


def _ending(code: int) -> str:
    """Return an exit status in words; it is negative for a signal."""
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"code {code}"


def described(file: Path, error: Mapping[str, Any]) -> str:
    """Return an exception of the program in one line, with the line of the file."""
    where = f"{file}:{error['line']}" if error["line"] else str(file)
    function = f" in {error['function']}" if error["function"] not in ("", "<module>") else ""
    kind = "" if error["type"] == "AdapterError" else f"{error['type']}: "
    return f"{where}:{function} {kind}{error['message']}"
