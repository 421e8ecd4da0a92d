from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from lstmcast.config.load import find, load
from lstmcast.config.schema import Config
from lstmcast.errors import NotFoundError, UsageError

SERIES = "data: {kind: series, path: %s, columns: [a], timesteps: 3}\noptimizer: {kind: adam}\ntraining: {steps: 5}\n"


def test_what_is_written_is_read(load_text: Any, valid: str) -> None:
    config = load_text(valid.replace("adam", "adam, learning_rate: 1e-3"))
    assert config.seed == 7
    assert config.data.kind == "windowed_sine"
    assert config.optimizer.learning_rate == 1e-3
    assert config.training.steps == 5


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
def test_byte_order_marks_and_windows_lines_change_nothing(load_text: Any, valid: str, change: Any) -> None:
    assert load_text(change(valid)) == load_text(valid)


def test_a_seed_beside_the_config_comes_last(load_text: Any, valid: str) -> None:
    assert load_text(valid, ["seed=3"]).seed == 3
    assert load_text(valid, ["seed=3"], seed=4).seed == 4
    with pytest.raises(UsageError, match="seed=-1"):
        load_text(valid, seed=-1)


# files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "config.yaml:1: a config is a mapping"),
        ("# nothing\n", "config.yaml:1: a config is a mapping"),
        ("- a\n", "config.yaml:1: a config is a mapping"),
        ("text\n", "config.yaml:1: a config is a mapping"),
        ("seed: 1\nx: [\n", "config.yaml:3: not YAML"),
        ("seed: 1\nseed: 2\n", "config.yaml:2: key 'seed' stands twice"),
        ("seed: 1\n---\nseed: 2\n", "config.yaml:2: a second document"),
        ("data: &d {}\n", "config.yaml:1: anchors"),
        ("x: " + "[" * 40_000, "config.yaml:1: nested deeper"),
        ("#" * 300_000, "config.yaml:1: 300,000 characters"),
        (b"seed: \xff\n", "config.yaml: not UTF-8 text (byte 6)"),
        ("seed: 1\n".encode("utf-16"), "config.yaml: not UTF-8 text (byte 0)"),
    ],
)
def test_a_file_that_is_no_config(content: str | bytes, message: str, problems: Any, within_a_second: Any) -> None:
    with within_a_second():
        found = problems(content)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        load(str(tmp_path / "none.yaml"))
    with pytest.raises(NotFoundError, match="not a regular file"):
        load(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(NotFoundError, match="not a regular file"):
        load(str(tmp_path / "pipe.yaml"))


def test_the_nearest_shipped_name_is_suggested() -> None:
    with pytest.raises(NotFoundError) as caught:
        find("sunspot")
    assert "'sunspots'" in str(caught.value.hint)
    with pytest.raises(NotFoundError) as caught:
        find("qqqqq")
    assert "lstmcast config list" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_a_name_longer_than_the_system_takes(name: str) -> None:
    with pytest.raises(NotFoundError):
        find(name)


def test_a_file_comes_before_a_shipped_config(tmp_path: Path, monkeypatch: Any, valid: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert load("sunspots").data.kind == "series"
    (tmp_path / "sunspots").write_text(valid)
    assert load("sunspots").data.kind == "windowed_sine"


# the data's path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: Any) -> Path:
    """Work in a folder that is not the config's."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.usefixtures("elsewhere")
def test_the_data_lie_beside_the_config(load_text: Any, tmp_path: Path) -> None:
    assert load_text(SERIES % "a/b.csv").data.path == str(tmp_path / "a/b.csv")
    assert load_text(SERIES % "/a/b.csv").data.path == "/a/b.csv"


def test_a_relative_config_gives_an_absolute_path(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "config.yaml").write_text(SERIES % "b.csv")
    monkeypatch.chdir(tmp_path)
    assert load("config.yaml").data.path == str(tmp_path / "b.csv")


@pytest.mark.parametrize(
    "override",
    [
        "data.path=c.csv",
        "data={kind: series, path: c.csv, columns: [a], timesteps: 3}",
    ],
)
def test_a_path_typed_in_a_shell_is_relative_to_it(load_text: Any, elsewhere: Path, override: str) -> None:
    assert load_text(SERIES % "b.csv", [override]).data.path == str(elsewhere / "c.csv")


@pytest.mark.parametrize(
    ("override", "folder"),
    [
        ("seed=1", ""),
        ("data.source.timesteps=2", ""),
        ("data.source.path=b.csv", "elsewhere"),
        ("data.source={kind: series, path: b.csv, columns: [a], timesteps: 3}", "elsewhere"),
    ],
)
def test_a_path_below_a_source(load_text: Any, elsewhere: Path, override: str, folder: str) -> None:
    source = "{kind: series, path: b.csv, columns: [a], timesteps: 3}"
    text = f"data: {{kind: quantized, source: {source}}}\nmodel: {{output: categorical}}\n" + SERIES.split("\n", 1)[1]
    assert load_text(text, [override]).data.source.path == str(elsewhere.parent / folder / "b.csv")


def test_an_empty_path_is_refused(problems: Any) -> None:
    (found,) = problems(SERIES % "''")
    assert found.startswith("config.yaml:1: data.path: '' is wrong: it should be not empty")
    problems(SERIES % "b.csv", ["data.path=''"], UsageError)


def test_a_path_with_a_null_byte(load_text: Any) -> None:
    with pytest.raises(UsageError):
        load_text(SERIES % "b.csv", ['data.path="a\\0b"'])


# the content


def test_all_that_is_wrong_is_told_at_once_each_with_its_line(problems: Any) -> None:
    found = problems(
        """
seed: -1
data:
  kind: windowed_sin
model:
  hidden_sizes: [8,
                 0]
  cels: gru
optimizer:
  kind: adam
  betas:
  - 0.9
  - 1.5
training:
  steps: 2.5
  clip:
    norm: .nan
extra: 1
"""
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["config.yaml:2", "seed"],
        ["config.yaml:4", "data.kind"],
        ["config.yaml:7", "model.hidden_sizes.1"],
        ["config.yaml:8", "model.cels"],
        ["config.yaml:13", "optimizer.betas.1"],
        ["config.yaml:15", "training.steps"],
        ["config.yaml:17", "training.clip.norm"],
        ["config.yaml:18", "extra"],
    ]
    assert found[1].endswith("(did you mean 'windowed_sine'?)")
    assert found[3].endswith("(did you mean 'cell'?)")


def test_contradictions_are_told_at_once_too(problems: Any) -> None:
    found = problems(
        "data: {kind: windowed_sine}\noptimizer: {kind: lbfgs}\ntraining:\n  steps: 1\n  epochs: 1\n  clip: {norm: 1}\n"
    )
    assert [line.split(": ")[:2] for line in found] == [
        ["config.yaml:6", "training.clip"],
        ["config.yaml:5", "training.epochs"],
    ]


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("sed: 1\n", "sed", "seed"),
        ("data: {kind: windowed_sine, timestep: 1}\n", "data.timestep", "timesteps"),
        ("data: {kind: sine_bank, seqences: 1}\n", "data.seqences", "sequences"),
        ("data: {kind: windowed_sine, signal: {nois: 1}}\n", "data.signal.nois", "noise"),
        (
            "data: {kind: windowed_sine, signal: {sines: [{amplitud: 1}]}}\n",
            "data.signal.sines.0.amplitud",
            "amplitude",
        ),
        ("model: {hidden_size: [3]}\n", "model.hidden_size", "hidden_sizes"),
        ("optimizer: {kind: adam, lr: 1, learning_rat: 1}\n", "optimizer.learning_rat", "learning_rate"),
        ("schedule: {kind: step, step_siz: 1}\n", "schedule.step_siz", "step_size"),
        ("training: {clip: {nrm: 1}}\n", "training.clip.nrm", "norm"),
        ("training: {validation: {evry: 1}}\n", "training.validation.evry", "every"),
        (
            "data: {kind: quantized, source: {kind: windowed_sine, timestep: 1}}\n",
            "data.source.timestep",
            "timesteps",
        ),
    ],
)
def test_an_unknown_key_names_the_allowed_ones_and_the_nearest(
    text: str, key: str, hint: str, valid: str, problems: Any
) -> None:
    section = text.split(":")[0] + ":"
    rest = "".join(line + "\n" for line in valid.splitlines() if not line.startswith(section))
    found = problems(text + rest)
    line = next(line for line in found if line.startswith(f"config.yaml:1: {key}: no such key; allowed are"))
    assert hint in line
    assert any(f"did you mean {hint!r}?" in line for line in found)


def test_a_key_like_no_other_gets_no_hint(problems: Any, valid: str) -> None:
    (found,) = problems(valid + "zzzzzz: 1\n")
    allowed = "seed, data, model, optimizer, schedule, training, then, tracker"
    assert found == f"config.yaml:5: zzzzzz: no such key; allowed are {allowed}"


@pytest.mark.parametrize(
    ("section", "text", "expected"),
    [
        (
            "data",
            "data: {kind: sinebank}",
            ["data.kind: 'sinebank' is not one of windowed_sine, sine_bank", "did you mean"],
        ),
        ("data", "data: {length: 5}", ["data.kind: missing; it must be one of "]),
        ("data", "data: {kind: 5}", ["data.kind: 5 is not one of windowed_sine"]),
        ("optimizer", "optimizer: {kind: null}", ["optimizer.kind: missing; it must be one of adam, adamw, sgd"]),
        ("model", "model: {cell: gruu}", ["model.cell: 'gruu' is not one of lstm, gru, rnn", "did you mean 'gru'?"]),
        ("model", "model: {dtype: 32}", ["model.dtype: 32 is not one of float32, float64"]),
        ("data", "data: {kind: series}", ["data.path: missing", "data.columns: missing", "data.timesteps: missing"]),
        ("schedule", "schedule: {kind: step}", ["schedule.step_size: missing"]),
        ("data", "data: 5", ["data: 5 is wrong"]),
        (
            "data",
            "data: {kind: quantized, source: {}}",
            ["data.source.kind: missing; it must be one of windowed_sine, "],
        ),
        ("data", "data: {kind: quantized, source: {kind: text}}", ["data.source.kind: 'text' is not one of "]),
        ("optimizer", "optimizer: adam", ["optimizer: 'adam' is wrong", "hint: write {kind: adam}"]),
        ("training", "training: [1]", ["training: [1] is wrong"]),
        ("model", "model:", ["model: null is wrong"]),
    ],
)
def test_wrong_kinds_and_sections(section: str, text: str, expected: list[str], valid: str, problems: Any) -> None:
    rest = "".join(line + "\n" for line in valid.splitlines() if not line.startswith(section))
    found = problems(text + "\n" + rest)
    assert len(found) == len(expected)
    assert all(part in line for part, line in zip(expected, found, strict=True))
    assert all(line.startswith(("config.yaml:1: ", "hint: ")) for line in found)


@pytest.mark.parametrize("section", ["data", "optimizer", "training"])
def test_a_missing_section(section: str, valid: str, problems: Any) -> None:
    rest = "".join(line + "\n" for line in valid.splitlines() if not line.startswith(section))
    assert problems(rest) == [f"config.yaml: {section}: missing; it must be given"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seed", value) for value in ("true", "'5'", "5.0", "-1", "4294967296", "1e3", "no", "[]", "9" * 5000)),
        *(("seed", value) for value in ("2001-99-99", "0x10", "１", "")),
        *(("training.steps", value) for value in ("0", "-3", "2.5", "many")),
        *(("optimizer.learning_rate", value) for value in ("0", "-1", ".inf", ".nan", "1e999", "'1'", "true", "null")),
        *(("model.hidden_sizes", value) for value in ("51", "[51, x]", "[0]", "[65537]", "[true]", "{a: 1}")),
        *(("model.residual", value) for value in ("no", "1", "'true'", "null")),
        *(("optimizer.betas", value) for value in ("[0.9, 1]", "[-0.1, 0.9]")),
        ("data.test_share", "0"),
        ("data.validation_share", "1"),
    ],
)
def test_wrong_values(key: str, value: str, valid: str, problems: Any) -> None:
    found = problems(valid, [f"{key}={value}"], UsageError)
    assert len(found) == 1
    assert re.match(rf"override .*{key}=.*: {re.escape(key)}(\.\w+)?: .* is wrong: it should be ", found[0])


@pytest.mark.parametrize("override", ["model.hidden_sizes=[]", "optimizer.betas=[0.9]"])
def test_the_length_of_a_list_in_one_sentence(override: str, valid: str, problems: Any) -> None:
    (found,) = problems(valid, [override], UsageError)
    assert found.count("should") == 1


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"key{i}: 1\n" for i in range(200)),
        "data: {kind: windowed_sine, signal: {sines: [" + "1, " * 2500 + "]}}\n",
    ],
)
def test_many_problems_are_found_quickly(text: str, problems: Any, within_a_second: Any) -> None:
    with within_a_second():
        problems(text)


def test_only_the_first_problems_are_listed(problems: Any, valid: str) -> None:
    found = problems(valid + "".join(f"key{i}: 1\n" for i in range(200)))
    assert len(found) == 21
    assert found[-1] == "and 180 more"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("optimizer.betas=[0.9]", "a list of 2 or more"),
        ("optimizer.betas=[0.9, 0.9, 0.9]", "a list of 2 or fewer"),
        ("optimizer.learning_rate=x", "a number"),
        ("training.steps=x", "a whole number"),
        ("model.hidden_sizes=5", "a list"),
        ("model=5", "a mapping (`key: value` lines)"),
        ("data=5", "a mapping with a kind: windowed_sine, sine_bank, random_segments, series, text, quantized"),
    ],
)
def test_what_a_value_should_be(override: str, expected: str, valid: str, problems: Any) -> None:
    (found,) = problems(valid, [override], UsageError)
    assert found.endswith(f" is wrong: it should be {expected}")


def test_a_wrong_value_is_shown_in_short(valid: str, problems: Any) -> None:
    (found,) = problems(valid.replace("7", "x" * 10_000))
    assert len(found) < 200


def test_a_config_cannot_be_changed(load_text: Any, valid: str) -> None:
    config: Config = load_text(valid)
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3
