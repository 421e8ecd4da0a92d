"""Checkpoints with flipped bits, cut short, made longer, or written by a stranger with a right checksum."""

from __future__ import annotations

import copy
import json
import os
import pickle
import random
import resource
import shutil
import time

import numpy as np
import pytest
from safetensors.numpy import load_file
from safetensors.numpy import save as save_arrays

from lstmcast.errors import InvalidError, NotFoundError
from lstmcast.experiment import train_run
from lstmcast.experiment.trained import load_trained
from lstmcast.training import checkpoints
from lstmcast.training.checkpoints import DIGEST, FORMAT, Checkpoint

LIMIT = 2**24


@pytest.fixture
def run(trainings, folder):
    """Return a finished run that claims to have been stopped, with nothing but the last state to go on from."""
    run = trainings.start(folder)
    run.write_manifest(status="stopped")
    run.previous.unlink()
    return run


def undetected(path, content):
    path.write_bytes(content)
    try:
        Checkpoint.load(path, LIMIT)
    except (InvalidError, NotFoundError):
        return 0
    return 1


def test_every_bit_counts(run, everything, count):
    path = run.best
    whole = path.read_bytes()
    assert undetected(path, whole) == 1
    bits = range(8 * len(whole)) if everything else random.Random(0).sample(range(8 * len(whole)), 2500)
    missed = 0
    for bit in bits:
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        missed += undetected(path, changed)
    count("bits flipped", len(bits))
    count("bits flipped, not detected", missed)
    assert missed == 0


def test_every_length_counts(run, everything, count):
    path = run.best
    whole = path.read_bytes()
    lengths = range(len(whole)) if everything else [*range(0, len(whole), 7), len(whole) - 1]
    missed = sum(undetected(path, whole[:length]) for length in lengths)
    longer = [b"\0", b" ", b"\0" * 4096, whole, whole[-1:]]
    missed += sum(undetected(path, whole + more) for more in longer)
    count("truncations and extensions", len(lengths) + len(longer))
    count("truncations and extensions, not detected", missed)
    assert missed == 0


def test_any_reader_of_safetensors_opens_it(run):
    assert {name: array.tolist() for name, array in load_file(run.best).items()} == {
        name: array.tolist() for name, array in Checkpoint.load(run.best, LIMIT).arrays.items()
    }


def test_a_damaged_state_falls_back_to_the_one_before_and_says_so(trainings, unbroken, run, count):
    shutil.copy(run.last, run.previous)
    whole = run.last.read_bytes()
    for damage in (whole[:-1], whole + b"\0", b"", whole[:1000] + b"?" + whole[1001:], None):
        run.last.unlink(missing_ok=True)
        if damage is not None:
            run.last.write_bytes(damage)
        before = run.previous.read_bytes()
        warnings = []
        trainings.resume(run, warnings.append)
        assert len(warnings) == 1
        assert str(run.last) in warnings[0]
        assert "resumed from the state before it" in warnings[0]
        # the damaged one did not take its place
        assert run.previous.read_bytes() == before
        assert trainings.result(run) == unbroken
        count("damaged states fallen back from")


def signed(arrays, text):
    """Write what any stranger can: a file with the right checksum."""
    content = bytearray(save_arrays(arrays, {FORMAT: "0" * 64 + text}))
    content[DIGEST] = checkpoints._digest(content)
    return bytes(content)


def raw(header, data=b""):
    """Write a header that the format's own library would not."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    content = bytearray(len(text).to_bytes(8, "little") + text + data)
    content[DIGEST] = checkpoints._digest(content)
    return bytes(content)


def opening(tensors):
    return {"__metadata__": {FORMAT: "0" * 64 + "{}"}} | tensors


def tensor(shape, begin, end, dtype="F64"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


FILES = {
    "empty": b"",
    "pickle": pickle.dumps({"values": np.zeros(3)}),
    "plain safetensors": save_arrays({"values": np.zeros(3)}),
    "zeros": bytes(10_000),
    "overlapping": raw(opening({"a": tensor([2], 0, 16), "b": tensor([2], 8, 24)}), bytes(24)),
    "hole": raw(opening({"a": tensor([1], 0, 8), "b": tensor([1], 16, 24)}), bytes(24)),
    "outside": raw(opening({"a": tensor([3], 0, 24)}), bytes(8)),
    "overflow": raw(opening({"a": tensor([2**62, 2**62], 0, 8)}), bytes(8)),
    "negative": raw(opening({"a": tensor([-1], 0, 8)}), bytes(8)),
    "strange type": raw(opening({"a": tensor([8], 0, 8, "F8_E4M3")}), bytes(8)),
    "bfloat16": raw(opening({"a": tensor([4], 0, 8, "BF16")}), bytes(8)),
    "100,000 tensors": raw(opening({f"t{k}": tensor([0], 0, 0) for k in range(100_000)})),
    "deep header": raw(b'{"__metadata__":{"' + FORMAT.encode() + b'":"' + b"0" * 64 + b'{}"},"a":' + b"[" * 500_000),
    "long header": (2**63 - 1).to_bytes(8, "little") + bytes(200),
    "two metadata": raw(
        b'{"__metadata__":{"' + FORMAT.encode() + b'":"' + b"0" * 64 + b'{}"},"__metadata__":{"x":"y"}}',
    ),
    "deep facts": signed({}, "[" * 100_000),
    "facts of a bomb": signed({}, "[" + "[]," * 300_000 + "[]]"),
    "facts no mapping": signed({}, "[1, 2]"),
    "long number": signed({}, '{"step": ' + "9" * 5000 + "}"),
    "no facts": signed({}, ""),
}


def change(*path, to):
    def apply(_, facts):
        node = facts
        for part in path[:-1]:
            node = node[part]
        if to is None:
            del node[path[-1]]
        else:
            node[path[-1]] = to

    return apply


def array(name, function):
    def apply(arrays, _):
        arrays[name] = np.ascontiguousarray(function(arrays[name]))

    return apply


def without(name):
    return lambda arrays, _: arrays.pop(name)


def nan(values):
    values[0] = np.nan
    return values


MOMENT = "optimizer.exp_avg"
STATES = {
    "no values": without("values"),
    "shorter values": array("values", lambda a: a[:-1]),
    "one value": array("values", lambda a: a[:1]),
    "values of another type": array("values", lambda a: a.astype(np.float32)),
    "NaN values": array("values", nan),
    "infinite average": array("average", lambda a: np.full_like(a, np.inf)),
    "no moment": without(MOMENT),
    "a moment too short": array(MOMENT, lambda a: a[:1]),
    "a moment too wide": array(MOMENT, lambda a: a[None]),
    "a NaN moment": array(MOMENT, nan),
    "an array more": lambda arrays, _: arrays.update(more=np.zeros(1)),
    "a fact more": change("more", to=1),
    "a fact less": change("waited", to=None),
    "step below": change("step", to=-1),
    "step beyond": change("step", to=10**9),
    "step no number": change("step", to="3"),
    "step half": change("step", to=2.5),
    "step true": change("step", to=True),
    "huge step": change("step", to=10**30),
    "random of another kind": change("random", "bit_generator", to="MT19937"),
    "random out of range": change("random", "state", "state", to=-1),
    "random too large": change("random", "state", "state", to=2**200),
    "sampler beyond": change("sampler", "position", to=10**9),
    "sampler below": change("sampler", "position", to=-3),
    "sampler no number": change("sampler", "position", to=[]),
    "schedule with a method": change("schedule", "every_step", "step", to="x"),
    "schedule short": change("schedule", "every_step", "last_epoch", to=None),
    "schedule of text": change("schedule", "every_step", "last_epoch", to="1"),
    "other optimizer": change("optimizer", to={}),
    "other moments": change("optimizer", to={"momentum_buffer": {"__array__": MOMENT}}),
    "moments elsewhere": change("optimizer", "exp_avg", to={"__array__": "nowhere"}),
    "other settings": change("group", "betas", to=[0.5, 0.5]),
    "rate no number": change("group", "lr", to="x"),
    "rate not finite": change("group", "lr", to=float("nan")),
    "no seconds": change("seconds", to=None),
    "seconds of text": change("seconds", to="1"),
    "negative seconds": change("seconds", to=-1.0),
    "best of text": change("best", to="0"),
    "reference a list": change("reference", to=[1]),
}


@pytest.fixture
def refused(count):
    """Return a check that the file at a path is refused within a second and 64 MiB, by one clear message."""

    def check(path, attempt):
        peak, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        with pytest.raises((InvalidError, NotFoundError)) as caught:
            attempt()
        assert time.process_time() - started < 1
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024 < 64
        assert str(path) in caught.value.message
        assert len(caught.value.message) < 400
        count("hostile checkpoints refused")

    return check


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_checkpoints(run, refused, case):
    for path, attempt in ((run.last, lambda: train_run.Training.resume(run)), (run.best, lambda: load_trained(run))):
        path.write_bytes(FILES[case])
        refused(path, attempt)


@pytest.mark.parametrize("case", STATES)
def test_states_that_do_not_fit(run, refused, case):
    """The checksum is right: anyone can compute one."""
    state = Checkpoint.load(run.last, LIMIT)
    arrays, facts = {name: array.copy() for name, array in state.arrays.items()}, copy.deepcopy(state.facts)
    STATES[case](arrays, facts)
    run.last.write_bytes(signed(arrays, json.dumps(facts)))
    refused(run.last, lambda: train_run.Training.resume(run))


BEST = {
    "no scaler": without("scaler.mean"),
    "scaler too long": array("scaler.scale", lambda a: np.repeat(a, 2)),
    "scale 0": array("scaler.scale", lambda a: a * 0),
    "no columns": change("columns", to=[]),
    "many columns": change("columns", to=[str(k) for k in range(50_000)]),
    "horizon of text": change("horizon", to="1"),
    "other horizon": change("horizon", to=2),
    "no context": change("context", to=0),
    "huge context": change("context", to=10**30),
    "sliding text": change("sliding", to="x"),
    "sliding back": change("sliding", to=-1),
    "bins of text": change("bins", to=["a", "b", 3]),
    "bins too many": change("bins", to=[0.0, 1.0, 10**12]),
    "bins upside down": change("bins", to=[1.0, 0.0, 1]),
    "no time between rows": change("step", to=[0.0, "second"]),
    "another unit of time": change("step", to=[1.0, "moon"]),
    "periods without arrays": change("covariates", to={"origin": 0.0, "inputs": True}),
    "one fact more": change("more", to=1),
    "parameters missing": without("parameters.head.0.bias"),
    "parameters transposed": array("parameters.head.0.weight", lambda a: a.T),
    "parameters NaN": array("parameters.head.0.bias", nan),
    "parameters of another type": array("parameters.head.0.bias", lambda a: a.astype(np.float32)),
    "one parameter more": lambda arrays, _: arrays.update({"parameters.more": np.zeros(1)}),
}


@pytest.mark.parametrize("case", BEST)
def test_parameters_that_do_not_fit(run, refused, case):
    state = Checkpoint.load(run.best, LIMIT)
    arrays, facts = {name: array.copy() for name, array in state.arrays.items()}, copy.deepcopy(state.facts)
    BEST[case](arrays, facts)
    run.best.write_bytes(signed(arrays, json.dumps(facts)))
    refused(run.best, lambda: load_trained(run))


def test_what_is_no_file(run, refused):
    def make(path):
        yield path.mkdir
        yield lambda: os.mkfifo(path)
        yield lambda: path.symlink_to("/dev/zero")
        yield lambda: path.symlink_to(path)
        yield lambda: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**34)  # of holes

    for path, attempt in ((run.last, lambda: train_run.Training.resume(run)), (run.best, lambda: load_trained(run))):
        for create in make(path):
            path.rmdir() if path.is_dir() else path.unlink()
            create()
            refused(path, attempt)


def test_a_run_that_someone_else_prepared(cli_main, run):
    """Its other files are a stranger's too."""
    for path in (run.manifest, run.metrics, run.config):
        content = path.read_bytes()
        for bad in (b"", b"[" * 100_000, b"\xff" * 100, b"[]", b'{"step": 1}', None):
            path.unlink()
            os.mkfifo(path) if bad is None else path.write_bytes(bad)
            for arguments in (("train", "--resume", run.path), ("plot", run.path, "--kind", "loss"), ("runs",)):
                code, err = cli_main(*arguments, "--output-dir", run.path.parent)
                assert code in (0, 4, 5), err
                assert "internal error" not in err
            path.unlink()
            path.write_bytes(content)
