from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lstmcast.config.load import load
from lstmcast.data.sine_bank import SineBank
from lstmcast.errors import InvalidError, UsageError


def value(config: Any, key: str) -> Any:
    for part in key.split("."):
        config = config[int(part)] if part.isdecimal() else getattr(config, part)
    return config


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=9", 9),
        ("optimizer.learning_rate=1e-2", 1e-2),
        ("model.cell=gru", "gru"),
        ("model.hidden_sizes=[8, 4]", [8, 4]),
        ("model.head_sizes=[]", []),
        ("model.residual=true", True),
        # sections that the file leaves out
        ("data.signal.noise=0.5", 0.5),
        ("training.clip.norm=1", 1.0),
        ("training.batch_size=null", None),
        ("training.batch_size=", None),
        # split at the first `=`, spaces as in YAML
        ("seed= 9 # nine", 9),
    ],
)
def test_a_key_is_set(override: str, expected: Any, load_text: Any, valid: str) -> None:
    assert value(load_text(valid, [override]), override.split("=")[0]) == expected


def test_only_the_first_equals_sign_splits(load_text: Any, valid: str) -> None:
    config = load_text(valid, ["data={kind: series, timesteps: 3}", "data.columns=[a=b]", "data.path=/x=y.csv"])
    assert config.data.columns == ["a=b"]
    assert config.data.path == "/x=y.csv"


def test_the_last_one_wins(load_text: Any, valid: str) -> None:
    assert load_text(valid, ["seed=1", "seed=2"]).seed == 2
    config = load_text(valid, ["optimizer={kind: sgd, momentum: 0.5}", "optimizer.momentum=0.7"])
    assert config.optimizer.momentum == 0.7


def test_an_item_of_a_list(load_text: Any, valid: str) -> None:
    config = load_text(valid + "model: {hidden_sizes: [5, 6]}\n", ["model.hidden_sizes.1=7"])
    assert config.model.hidden_sizes == [5, 7]


def test_a_key_within_an_item(load_text: Any, valid: str) -> None:
    text = valid.replace("windowed_sine", "windowed_sine, signal: {sines: [{amplitude: 1, frequency: 2}]}")
    assert load_text(text, ["data.signal.sines.0.frequency=3.5"]).data.signal.sines[0].frequency == 3.5


@pytest.mark.parametrize(
    "override",
    [
        "seed",
        "",
        "=",
        "=3",
        "optimizer.=3",
        ".seed=3",
        "optimizer..learning_rate=3",
        "seed=[",
        "seed=a: b: c",
        "seed=&x 1",
        "seed=*x",
        "seed=!!int 1",
        "seed={a: 1, a: 2}",
        "seed=1\n---\n2",
        "seed=\x07",
        "seed=" + "[" * 100_000,
        "model.hidden_sizes.2=7",
        "model.hidden_sizes.-1=7",
        "model.hidden_sizes.first=7",
        "model.hidden_sizes.0.1=7",
        "model.hidden_sizes.0.x=7",
        f"model.hidden_sizes.{'0' * 5000}=7",
        'seed="\\UFFFFFFFF"',
        "seed" + ".x" * 10_000 + "=1",
    ],
)
def test_a_wrong_form_is_refused(override: str, valid: str, problems: Any) -> None:
    found = problems(valid + "model: {hidden_sizes: [5, 6]}\n", [override], UsageError)
    assert found[0].startswith("override ")


@pytest.mark.parametrize(
    ("override", "message", "hint"),
    [
        ("sed=1", "sed: no such key; allowed are seed, data,", "seed"),
        (
            "optimizer.learning_rat=1",
            "optimizer.learning_rat: no such key; allowed are learning_rate,",
            "learning_rate",
        ),
        ("training.validation.evry=1", "training.validation.evry: no such key; allowed are every,", "every"),
        ("model.cell=lstn", "model.cell: 'lstn' is not one of lstm, gru, rnn", "lstm"),
        ("data.kind=sine_bnk", "data.kind: 'sine_bnk' is not one of", "sine_bank"),
    ],
)
def test_what_it_sets_is_checked_like_the_file(
    override: str, message: str, hint: str, valid: str, problems: Any
) -> None:
    found = problems(valid, [override], UsageError)
    assert found[0].startswith(f"override {override!r}: {message}")
    assert found[1] == f"hint: did you mean {hint!r}?"


def test_a_wrong_part_of_a_whole_section_is_the_overrides_fault(valid: str, problems: Any) -> None:
    override = "optimizer={kind: sgd, momentum: 2}"
    (found,) = problems(valid, [override], UsageError)
    assert found.startswith(f"override {override!r}: optimizer.momentum: 2 is wrong")


def test_faults_of_both_are_told_apart(valid: str, problems: Any) -> None:
    text = valid.replace("steps: 5", "steps: 0")
    found = problems(text, ["seed=-1", "training.warmup=-2"], InvalidError)
    assert [line.split(" is wrong")[0] for line in found] == [
        "override 'seed=-1': seed: -1",
        "config.yaml:4: training.steps: 0",
        "override 'training.warmup=-2': training.warmup: -2",
    ]


@pytest.mark.parametrize(
    "override",
    [
        "training.steps=null",
        "training.clip={}",
        "training.clip.value=1",
        # at another key than the one at fault
        "optimizer.kind=lbfgs",
        "data={kind: text, path: a.txt}",
    ],
)
def test_an_override_that_contradicts_a_valid_file_is_wrong_usage(override: str, valid: str, problems: Any) -> None:
    found, *_ = problems(valid.replace("steps: 5", "steps: 5, clip: {norm: 1}"), [override], UsageError)
    assert found.startswith(f"override {override!r}: ")


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("optimizer.lr=1", "learning_rate"),
        ("learning_rate=1", "optimizer.learning_rate"),
        ("data.noise=1", "data.signal.noise"),
        ("data.lenght=1", "length"),
    ],
)
def test_what_was_probably_meant(override: str, meant: str, valid: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(valid)
    with pytest.raises(UsageError) as caught:
        load(str(path), [override])
    assert caught.value.hint == f"did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("file", "override", "hint"),
    [
        ("epochs: 2", "training.steps=5", "training.epochs=null"),
        ("steps: 5", "training.epochs=2", "training.steps=null"),
        ("steps: 5, clip: {norm: 1}", "optimizer.kind=lbfgs", "training.clip=null"),
    ],
)
def test_what_takes_the_files_side_of_a_contradiction_away(
    file: str, override: str, hint: str, valid: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(valid.replace("steps: 5", file))
    with pytest.raises(UsageError) as caught:
        load(str(path), [override])
    assert caught.value.hint == hint
    load(str(path), [override, hint])


def test_another_kind_drops_the_keys_of_the_files_kind(valid: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(valid.replace("windowed_sine", "windowed_sine, duration: 5"))
    # in any order: the kind comes first, and what is set beside it stays
    data = load(str(path), ["data.length=77", "data.kind=sine_bank"]).data
    assert isinstance(data, SineBank)
    assert (data.length, data.scale) == (77, 20.0)
    # the same kind drops nothing
    assert value(load(str(path), ["data.kind=windowed_sine"]), "data.duration") == 5


def test_the_file_is_blamed_for_its_own_faults(valid: str, problems: Any) -> None:
    text = valid.replace("adam", "lbfgs").replace("steps: 5", "steps: 5, clip: {norm: 1}")
    (found,) = problems(text, ["seed=1"], InvalidError)
    assert found.startswith("config.yaml:4: training.clip: ")


def test_the_last_override_of_a_key_is_blamed(valid: str, problems: Any) -> None:
    overrides = ["optimizer.learning_rate=1", "optimizer={kind: adam, learning_rate: 0}", "optimizer.eps=1"]
    (found,) = problems(valid, overrides, UsageError)
    assert found.startswith(f"override {overrides[1]!r}: optimizer.learning_rate: 0 is wrong")


def test_long_overrides_are_shown_in_short(valid: str, problems: Any) -> None:
    for override in (f"seed={'x' * 5000}", f"{'x' * 5000}=1", f"model.cell={'x' * 5000}", f"data.kind={'x' * 5000}"):
        assert len(problems(valid, [override], UsageError)[0]) < 300
