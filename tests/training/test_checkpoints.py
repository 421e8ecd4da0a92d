"""Checkpoints: what is saved is loaded, and nothing else is."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from safetensors.numpy import save as save_arrays

from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.training.checkpoints import FORMAT, Checkpoint, flatten, unflatten

SIZE = 2**20
NESTED = {
    "step": torch.tensor(3.0),
    "count": torch.tensor([1, 2], dtype=torch.int64),
    "history": [torch.arange(6.0, dtype=torch.float64).reshape(2, 3), torch.zeros(0), None],
    "deep": {"a": [{"b": torch.ones(1, dtype=torch.float32)}], "rate": 0.1, "name": "x", "flag": True, "none": None},
}


def assert_equal(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert_equal(ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    elif isinstance(theirs, torch.Tensor):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(ours, theirs)
    else:
        assert ours == theirs


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def saved(path):
    Checkpoint({"a": np.arange(100.0), "b": np.ones((3, 2), np.float32)}, {"step": 7}).save(path)
    return path


def test_nested_states_come_back_from_the_file(path):
    arrays = {}
    Checkpoint(arrays, {"state": flatten(NESTED, "state", arrays)}).save(path)
    loaded = Checkpoint.load(path, SIZE)
    assert_equal(unflatten(loaded.facts["state"], loaded.arrays), NESTED)


def test_the_state_is_copied_on_the_way_in_and_out():
    tensor, arrays = torch.zeros(2), {}
    facts = flatten({"t": tensor}, "state", arrays)
    tensor += 1
    out = unflatten(facts, arrays)["t"]
    out += 2
    assert [array.tolist() for array in arrays.values()] == [[0, 0]]


@pytest.mark.parametrize(
    "array",
    [
        np.array(3.0),
        np.zeros((0, 3)),
        np.arange(12.0).reshape(3, 4).T,
        np.arange(6)[::-2],
        np.array([-0.0, 5e-324, np.nextafter(1, 2), 1.7976931348623157e308]),
        np.array([1.5], np.float32),
        np.array([True, False]),
    ],
    ids=["scalar", "empty", "transposed", "strided", "special", "float32", "bool"],
)
def test_arrays_come_back_to_the_bit(path, array):
    Checkpoint({"a": array}).save(path)
    loaded = Checkpoint.load(path, SIZE).arrays["a"]
    assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
    assert loaded.tobytes() == np.asarray(array, order="C").tobytes()


def test_facts_come_back_to_the_bit(path):
    facts = {
        "float": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, math.inf],
        "int": 2**127 + 1,
        "text": 'ü "quoted" \n\0',
        "none": None,
        "generator": np.random.default_rng(0).bit_generator.state,
    }
    Checkpoint({}, facts).save(path)
    loaded = Checkpoint.load(path, SIZE)
    assert (loaded.facts, loaded.arrays) == (facts, {})


def test_a_part_is_what_has_the_prefix():
    checkpoint = Checkpoint({"a.x": np.zeros(1), "a.y": np.ones(1), "ab": np.ones(2)})
    assert checkpoint.part("a.").keys() == {"x", "y"}


def test_a_save_replaces_the_file_and_leaves_nothing_beside_it(saved):
    Checkpoint({"a": np.zeros(1)}, {"step": 8}).save(saved)
    assert Checkpoint.load(saved, SIZE).facts == {"step": 8}
    assert list(saved.parent.iterdir()) == [saved]


def test_a_missing_file_is_not_found(path):
    with pytest.raises(NotFoundError, match="no such checkpoint"):
        Checkpoint.load(path, SIZE)


def test_every_truncation_is_refused(saved):
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(InvalidError, match="damaged"):
            Checkpoint.load(saved, SIZE)
    saved.write_bytes(whole)
    assert Checkpoint.load(saved, SIZE).facts == {"step": 7}


def test_an_extension_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(InvalidError, match="damaged"):
        Checkpoint.load(saved, SIZE)


@pytest.mark.parametrize(
    "content",
    [
        b"not a checkpoint, but long enough to have a header",
        bytes(1000),
        b"\xff" * 1000,
        pickle.dumps({"a": np.zeros(3)}),
        save_arrays({"a": np.zeros(3)}),
        save_arrays({"a": np.zeros(3)}, {"format": "pt"}),
        save_arrays({"a": np.zeros(3)}, {FORMAT: "{not json"}),
        save_arrays({"a": np.zeros(3)}, {FORMAT: "[" * 100_000}),
    ],
    ids=["text", "zeros", "ones", "pickle", "plain", "torchs", "facts", "deep-facts"],
)
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(InvalidError, match="checkpoint"):
        Checkpoint.load(path, SIZE)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InvalidError, match="not a regular file"):
        Checkpoint.load(tmp_path, SIZE)
