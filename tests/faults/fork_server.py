"""Runs the program again and again in children of one process that has imported everything: fast enough to kill 200.

Reads one JSON request a line: ``arguments`` of the command line; ``output``: a file for its standard output and error;
``every_step``: save after each step and leave out scores and pictures; ``acknowledge``: a file to which each step
is written once its state is saved; ``signal``: (number, function as module:name, call, times): send it there.
Answers with the child's process id, and when that has ended with its status.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
from typing import Any

import torch
from typer.main import get_command

from lstmcast import cli, files, runs
from lstmcast.experiment import train_run
from lstmcast.reports import plots  # noqa: F401
from lstmcast.stop import ECHO


def signal_at(number: int, where: str, call: int, times: int = 1) -> None:
    """Have a function send signals to this process as it begins its ``call``-th call, and say when."""
    module, _, path = where.partition(":")
    *above, name = path.split(".")
    owner = importlib.import_module(module)
    for part in above:
        owner = getattr(owner, part)
    function, calls = getattr(owner, name), 0

    def signalling(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            os.write(1, f"signalled at {time.monotonic()}\n".encode())
            for time_ in range(times):
                # one that comes at once is the first one's echo
                time.sleep(2 * ECHO * time_)
                os.kill(os.getpid(), number)
        return function(*arguments, **options)

    setattr(owner, name, signalling)


def child(request: dict[str, Any]) -> None:
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    pipe = None
    if "limit" in request:
        # no limit holds for a pipe
        pipe = os.popen(f"cat > '{request['output']}'", "w")
        output = pipe.fileno()
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if request.get("every_step"):
        train_run.SAVE_EVERY = 0.0
        train_run.Training._finish = lambda _self, run, *_: files.write(run.forecast, "series,step\n")  # type: ignore
    if "acknowledge" in request:
        acknowledged = os.open(request["acknowledge"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        save, create = train_run.Training._save, train_run.Training._create

        def saved(self: Any, run: runs.Run, seconds: float) -> None:
            save(self, run, seconds)
            if run.manifest.exists():
                os.write(acknowledged, f"{self.trainer.step}\n".encode())

        def created(self: Any, *arguments: Any) -> runs.Run:
            run = create(self, *arguments)
            os.write(acknowledged, b"0\n")
            return run

        train_run.Training._save, train_run.Training._create = saved, created  # type: ignore[method-assign]
    if "limit" in request:
        # standard output is a file too: it may be as long as it likes only while it is short
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["limit"], request["limit"]))
    if "signal" in request:
        signal_at(*request["signal"])
    sys.argv = ["lstmcast", *request["arguments"]]
    code = 0
    try:
        cli.main()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if pipe:
            # the file is whole when `cat` has ended
            os.closerange(1, 3)
            pipe.close()
        os._exit(code)


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    # torch imports more at its first step, the command line at its first call
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.zeros(1)
    optimizer = torch.optim.Adam([parameter])
    torch.optim.lr_scheduler.ConstantLR(optimizer)
    optimizer.step()
    train_run.fingerprint(1)
    get_command(cli.app)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            child(request)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), time.monotonic(), flush=True)


if __name__ == "__main__":
    main()
