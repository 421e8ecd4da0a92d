"""The suite notices what it claims to: twenty defects, each put into a copy of the program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lstmcast

HERE = Path(__file__).parent
TRAINING = HERE.parent / "training"
WRITES = HERE / "test_every_write_fails.py"
POWER = HERE / "test_power_loss.py"
DAMAGE = HERE / "test_damaged_checkpoints.py"
RESUME = f"{TRAINING / 'test_resume.py'}::test_every_optimizer_resumes_under_every_schedule"
# what is changed, wherever it stands: from, to; and the tests that must fail
DEFECTS = {
    "no fsync of a file": ("os.fsync(file.fileno())\n            temporary", "temporary", POWER),
    "no fsync of its folder": ("        sync_folder(path.parent)\n", "", POWER),
    "no fsync of a new folder": (
        "        sync_folder(folder.parent)\n    except",
        "        pass\n    except",
        POWER,
    ),
    "no fsync of the metrics": ("os.fsync(metrics.fileno())", "pass", POWER),
    "written in place": ("temporary.replace(path)", "path.write_bytes(temporary.read_bytes())", POWER),
    "the manifest before the state": (
        "files.write(run.config, dump_config(self.config))",
        "run.write_manifest(); files.write(run.config, dump_config(self.config))",
        POWER,
    ),
    "temporaries stay after an error": (
        "                temporary.unlink()\n",
        "                pass\n",
        WRITES,
    ),
    "temporaries stay for ever": (
        "            for folder in (self.path, self.last.parent):",
        "            for folder in ():",
        f"{HERE / 'test_strange_places.py'}::test_what_a_kill_left_behind_goes_at_the_next_start",
    ),
    "half-made runs stay": ("shutil.rmtree(run.path, ignore_errors=True)  # made a moment ago", "pass  # made", WRITES),
    "errors in writing are swallowed": (
        "            raise\n        sync_folder",
        "            return\n        sync_folder",
        WRITES,
    ),
    "metrics are not cut": ("run.cut_metrics(self.trainer.total)", "pass", WRITES),
    "no checksum": (
        "content[DIGEST] != _digest(content)",
        "False",
        f"{DAMAGE}::test_every_bit_counts",
    ),
    "a checksum of the arrays alone": (
        "digest.update(whole[DIGEST.stop :])",
        'digest.update(whole[8 + int.from_bytes(whole[:8], "little") :])',
        f"{DAMAGE}::test_every_bit_counts",
    ),
    "no look at what is finite": (" or not np.isfinite(array).all()", "", DAMAGE),
    "no look at the facts": ("check_like(checkpoint.facts", "dict(checkpoint.facts", DAMAGE),
    "a silent fallback": (
        'self._warnings.append(\n                f"{error.message}',
        '[].append(\n                f"{error.message}',
        f"{DAMAGE}::test_a_damaged_state_falls_back_to_the_one_before_and_says_so",
    ),
    "the damaged state replaces the one before": (
        "write(previous, _verified(path, sys.maxsize))",
        "write(previous, path.read_bytes())",
        f"{DAMAGE}::test_a_damaged_state_falls_back_to_the_one_before_and_says_so",
    ),
    "the schedule is not restored": (
        'self._every_step.load_state_dict(state["every_step"])',
        "pass",
        RESUME,
    ),
    "the random numbers are not restored": (
        '        self._random.bit_generator.state = state["random"]\n',
        "",
        RESUME,
    ),
    "divergence is looked for too late": (
        "        if not np.isfinite(loss):",
        "        if False:",
        HERE / "test_divergence.py",
    ),
    "the average is not restored": (
        '            self._average.average[:] = arrays["average"]\n',
        "            pass\n",
        RESUME,
    ),
    "no lock": (
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "pass\n",
        f"{HERE / 'test_strange_places.py'}::test_one_run_is_trained_by_one_process",
    ),
}
QUICK = {"no checksum"}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_noticed(tmp_path, defect, everything, count):
    if not everything and defect not in QUICK:
        pytest.skip("FAULTS=all")
    old, new, tests = DEFECTS[defect]
    package = tmp_path / "lstmcast"
    shutil.copytree(Path(lstmcast.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    (path,) = [path for path, source in sources.items() if old in source]
    assert sources[path].count(old) == 1
    path.write_text(sources[path].replace(old, new), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "FAULTS": ""}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", str(tests)]
    done = subprocess.run(command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stdout[-2000:]  # tests failed; 2 and more: they could not be run
    assert "Error" in done.stdout or "Failed" in done.stdout
    count("seeded defects noticed")
