"""The power fails after any change to the disk, and what fsync has not promised is lost, in part or whole."""

from __future__ import annotations

import hashlib
import random

from faulty_disk import crashes, restore

from lstmcast import runs
from lstmcast.experiment import train_run


def key(state):
    return hashlib.sha256(repr(sorted(state.items())).encode()).digest()


def test_every_crash_leaves_a_state_to_go_on_from(trainings, unbroken, recorded, folder, everything, count):
    root, operations = recorded
    acknowledged, steps = [], None
    for kind, _, step in operations:
        steps = step if kind == "mark" else steps
        acknowledged.append(steps)
    assert acknowledged[-1] == 4
    seen, states = set(), []
    for number, state in crashes(operations, root):
        # what is acknowledged later may not be demanded, what came before may
        if (key(state), acknowledged[number]) not in seen:
            seen.add((key(state), acknowledged[number]))
            states.append((acknowledged[number], state))
    draw = random.Random(0)
    if not everything:
        states = draw.sample(states, min(len(states), 150))
    to_the_end = set(draw.sample(range(len(states)), len(states) // 4 if everything else 12))
    for index, (promised, state) in enumerate(states):
        place = folder / str(index)
        place.mkdir()
        restore(state, root, place)
        run = runs.Run(place / "new" / "outputs" / "run")
        if not run.manifest.exists():
            assert promised is None
            continue
        training = train_run.Training.resume(run)
        assert training._warnings == []
        assert training.trainer.step >= (promised or 0)
        run.cut_metrics(training.trainer.step)
        assert [record["step"] for record in run.read_metrics()] == [*range(1, training.trainer.step + 1)]
        if index in to_the_end:
            trainings.resume(run)
            assert trainings.result(run) == unbroken
            assert trainings.temporaries(place) == []
            count("crashes resumed to the end, bit-equal")
    count("crashes replayed", len(states))


def test_a_disk_that_forgets_is_noticed(recorded):
    """Without fsync the model of the disk does lose what was written."""
    root, operations = recorded
    careless = [item for item in operations if item[0] != "fsync"]
    last = max(number for number, _ in crashes(careless, root))
    left = [state for number, state in crashes(careless, root) if number == last]
    assert min(map(len, left)) == 1  # the root alone
    assert any(b"" in state.values() for state in left)
