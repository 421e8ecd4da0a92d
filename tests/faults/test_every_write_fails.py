"""The k-th change to the disk fails, for k = 1, 2, … until the training gets through.

Source of the method: https://www.sqlite.org/testing.html#i_o_error_testing
"""

from __future__ import annotations

import errno
import itertools
import shutil

import pytest
from faulty_disk import Disk

from lstmcast import runs
from lstmcast.errors import UnwritableError


# a call is not interrupted for good: Python begins it again for as long as it is
@pytest.mark.parametrize(
    ("error", "for_good"),
    [*itertools.product(["ENOSPC", "EIO", "EACCES"], [False, True]), ("EINTR", False)],
)
def test_a_training_survives(trainings, unbroken, folder, error, for_good, everything, count):
    bystander = trainings.start(folder, "bystander").path
    before = {path: path.read_bytes() for path in bystander.rglob("*") if path.is_file()}
    # without everything, the cases share the changes among them
    first = 2 * ["ENOSPC", "EIO", "EACCES", "EINTR"].index(error) + for_good
    stride = 1 if everything else 16
    for number in itertools.count(first % stride, stride):
        disk = Disk(folder / "run", number, getattr(errno, error), for_good)
        run = runs.Run(folder / "run")
        refusal = None
        with disk.installed():
            try:
                trainings.start(folder)
            except UnwritableError as reason:
                refusal = reason.message
        if not disk.failed:
            break
        count("writes, fsyncs, renames … made to fail")
        # what fails without consequence is the removal of a temporary file
        assert refusal is None or str(folder) in refusal
        assert refusal or disk.operations[-1][0] == "unlink" or trainings.result(run) == unbroken
        assert for_good or trainings.temporaries(folder) == []
        if run.manifest.exists():
            trainings.resume(run)
            assert trainings.result(run) == unbroken
            assert trainings.temporaries(folder) == []
        else:
            assert for_good or not run.path.exists()
        shutil.rmtree(run.path, ignore_errors=True)
    assert number > 50
    assert {path: path.read_bytes() for path in bystander.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_resumed_training_keeps_what_was_acknowledged(trainings, unbroken, folder, error, everything, count):
    """The state that was there before is the one to go on from, as long as no newer one is."""
    template = trainings.start(folder, "template").path
    # as if stopped at the start: the state before the last one is the same
    for number in itertools.count(0, 1 if everything else 7):
        run = runs.Run(shutil.copytree(template, folder / "run"))
        shutil.copy(run.previous, run.last)
        disk = Disk(folder / "run", number, getattr(errno, error))
        with disk.installed():
            try:
                trainings.resume(run)
            except UnwritableError:
                assert disk.failed
        assert {"config.yaml", "run.json", "metrics.jsonl"} <= {path.name for path in run.path.iterdir()}
        if not disk.failed:
            break
        count("writes, fsyncs, renames … made to fail")
        trainings.resume(run)
        assert trainings.result(run) == unbroken
        assert trainings.temporaries(folder) == []
        shutil.rmtree(run.path)
    assert number > 10
