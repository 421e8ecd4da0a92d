"""Train every shipped config, or those named, and print a table of verdicts in Markdown: `make verdicts`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from typing import Any

from lstmcast.config import shipped

HEADER = "| config | verdict | over | network's RMSE | best baseline | seconds |\n|---|---|---|---|---|---|"


def row(name: str, document: dict[str, Any]) -> str:
    verdict = document["verdict"].split(";")[0]
    if "rollout" not in document:  # text is scored by the next symbol
        return f"| `{name}` | {verdict} | - | - | - | {document['seconds']:.0f} |"
    steps, error = list(document["rollout"]["rmse"].items())[-1]
    best = min(document["baselines"].values(), key=lambda baseline: baseline["rollout"]["rmse"][steps] or 0.0)
    found = "-" if error is None else f"{error:.3g}"
    other = f"{best['label']}: {best['rollout']['rmse'][steps]:.3g}"
    return f"| `{name}` | {verdict} | {int(steps):,} steps | {found} | {other} | {document['seconds']:.0f} |"


def main(names: list[str]) -> None:
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in names or shipped.names():
            command = [sys.executable, "-m", "lstmcast", "train", "--config", name, "--json", "--output-dir", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode not in (0, 6):  # a training that diverges has a verdict too
                raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr}")
            print(row(name, json.loads(done.stdout)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
