"""Whatever is wrong: the right exit code, one error that names the place, no traceback, and no folder left behind."""

import os
from pathlib import Path

import pytest

LONG = "x" * 300
COMMANDS = ["train", "predict", "evaluate", "plot", "sample", "runs", "config", "config list", "config copy"]

# what is changed in the file → exit code, what the error must name
CONFIGS = {
    "misspelt key": ({"optimizer__learning_rat": 1}, 5, "sines.yaml:", "learning_rat", "mean 'learning_rate'"),
    "negative size": ({"model__hidden_sizes": [8, -4]}, 5, "sines.yaml:", "model.hidden_sizes.1", "-4"),
    "negative length": ({"data__length": -5}, 5, "sines.yaml:", "data.length", "-5"),
    "text for a number": ({"training__steps": "many"}, 5, "sines.yaml:", "training.steps", "'many'"),
    "number for a text": ({"model__cell": 5}, 5, "sines.yaml:", "model.cell", "gru"),
    "misspelt kind": ({"data__kind": "sine_bnk"}, 5, "sines.yaml:", "data.kind", "mean 'sine_bank'"),
    "no kind": ({"optimizer": {"learning_rate": 1}}, 5, "sines.yaml:", "optimizer.kind", "adam"),
    "missing section": ({"training": None}, 5, "sines.yaml:", "training"),
    "infinite rate": ({"optimizer__learning_rate": float("inf")}, 5, "sines.yaml:", "optimizer.learning_rate", "inf"),
    "contradiction": ({"training__epochs": 2}, 5, "sines.yaml:", "training.epochs", "not both"),
    "two errors": ({"data__length": -5, "training__steps": -1}, 5, "data.length", "training.steps"),
    "batch larger than the data": ({"training__batch_size": 50}, 5, "training.batch_size", "50", "4"),
    "window larger than the data": ({"data__timesteps": 100}, 5, "data", "timesteps 100", "60"),
    "rollout larger than a window": ({"training__rollout": {"steps": 500}}, 5, "training.rollout.steps", "500", "59"),
    "no row left": ({"data__test_sequences": 6}, 5, "data", "test_sequences 6"),
}
TEXTS = {
    "empty": (b"", ":1: "),
    "a list": (b"- 1\n", ":1: "),
    "not YAML": (b"seed: 1\ndata: [\n", "not YAML"),
    "key twice": (b"seed: 1\nseed: 2\n", ":2: key 'seed'"),
    "tag": (b"seed: !!python/object:os.system 1\n", ":1: tags"),
    "alias": (b"a: &a 1\n", ":1: anchors"),
    "not UTF-8": (b"seed: 1 # \xff\n", "not UTF-8"),
}
TABLES = {
    "text among the numbers": ("a,b\n1,2\n3,four\n", 5, "two.csv:3", "'b'", "'four'"),
    "a gap": ("a,b\n1,2\n3,\n", 5, "two.csv:3", "'b'", "no value"),
    "not a number": ("a,b\n1,2\nnan,3\n", 5, "two.csv:3", "'a'"),
    "a short row": ("a,b\n1,2\n3\n", 5, "two.csv:3", "1 values under 2"),
    "no such column": ("a,bee\n1,2\n", 5, "two.csv:1", "'b'", "'bee'"),
    "column twice": ("a,b,b\n1,2,3\n", 5, "two.csv:1", "more than one column"),
    "header alone": ("a,b\n", 5, "two.csv", "no rows"),
    "empty file": ("", 5, "two.csv"),
    "too few rows": ("a,b\n" + "1,2\n" * 9, 5, "timesteps 20"),
    "missing file": (None, 4, "two.csv", "no such file"),
}
# further arguments of train → exit code, what the error must name
ARGUMENTS = {
    "missing config": (("--config", "nope.yaml"), 4, "nope.yaml", "no such file"),
    "nearly a shipped config": (("--config", "sunspot"), 4, "mean the shipped config 'sunspots'"),
    "config is a folder": (("--config", "/"), 4, "config"),
    "config with a long name": (("--config", LONG), 4, "xxx"),
    "override without =": (("training.steps",), 2, "'training.steps'", "KEY=VALUE"),
    "override without key": (("=3",), 2, "'=3'"),
    "override of no such key": (("training.stops=3",), 2, "training.stops=3", "mean 'steps'"),
    "override of no such section": (("trianing.steps=3",), 2, "trianing.steps=3"),
    "override with a bad value": (("training.steps=-3",), 2, "training.steps=-3", "greater than 0"),
    "override that the data do not fit": (
        ("training.batch_size=50",),
        5,
        "error: override 'training.batch_size=50': training.batch_size: 50 is more than",
    ),
    "overrides of which one does not fit": (
        ("data.timesteps=5000", "data.scale=7"),
        5,
        "error: override 'data.timesteps=5000': data.timesteps: a window of timesteps 5000",
    ),
    "override past a list's end": (("model.hidden_sizes.7=3",), 2, "model.hidden_sizes.7=3", "a list of 1"),
    "override with bad YAML": (("model.hidden_sizes=[3",), 2, "model.hidden_sizes=[3"),
    "unknown option": (("--bogus",), 2, "--bogus"),
    "bad seed": (("--seed", "-1"), 2, "seed"),
    "seed of text": (("--seed", "x"), 2, "--seed"),
    "json and quiet": (("--json", "--quiet"), 2, "--json", "--quiet"),
    **{
        f"name {name[:10]!r}": (("--name", name), 2, "--name")
        for name in ("../x", "/abs", "a/b", LONG, "a\nb", "", ".", "..", ".hidden", "latest", "naïve", "a b", "x\t")
    },
}


@pytest.fixture
def refused(cli, tmp_path):
    """Train, and demand an error and an untouched output folder."""

    def train(config, code, *needles, arguments=()):
        outcome = cli("train", "--config", config, "--output-dir", tmp_path / "outputs", *arguments)
        outcome.refused(code, *needles)
        assert not (tmp_path / "outputs").exists()
        return outcome

    return train


@pytest.mark.parametrize("case", CONFIGS)
def test_bad_configs(refused, sines_config, case):
    changes, code, *needles = CONFIGS[case]
    refused(sines_config(**changes), code, *needles)


@pytest.mark.parametrize("case", TEXTS)
def test_bad_yaml(refused, tmp_path, case):
    text, needle = TEXTS[case]
    (tmp_path / "bad.yaml").write_bytes(text)
    refused(tmp_path / "bad.yaml", 5, "bad.yaml", needle)


@pytest.mark.parametrize("case", TABLES)
def test_bad_tables(refused, two_config, case):
    text, code, *needles = TABLES[case]
    config = two_config()
    if text is None:
        config.with_name("two.csv").unlink()
    else:
        config.with_name("two.csv").write_text(text)
    refused(config, code, *needles)


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments_of_train(refused, sines_config, case):
    arguments, code, *needles = ARGUMENTS[case]
    refused(sines_config(), code, *needles, arguments=arguments)


def test_train_needs_a_config(cli):
    cli("train").refused(2, "--config", "--resume", "hint: ")


def test_output_below_a_regular_file(cli, sines_config, tmp_path):
    config = sines_config()
    cli("train", "--config", config, "--output-dir", config / "outputs").refused(9, "sines.yaml/outputs")
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder where nobody may write")
def test_output_where_nobody_may_write(cli, sines_config):
    cli("train", "--config", sines_config(), "--output-dir", "/proc/lstmcast").refused(9, "/proc/lstmcast")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_output(cli, sines_config, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    cli("train", "--config", sines_config(), "--output-dir", folder).refused(9, "locked")
    cli("train", "--config", sines_config(), "--output-dir", folder / "deeper").refused(9, "locked")


@pytest.mark.parametrize("command", [("predict",), ("evaluate",), ("plot",), ("sample",), ("train", "--resume")])
@pytest.mark.parametrize(
    ("reference", "needle"),
    [("sinse", "did you mean 'sines'?"), ("nothing-like-it", "lstmcast runs"), ("../x", "../x"), ("", "run ''")],
)
def test_runs_that_do_not_exist(cli, sines, command, reference, needle):
    cli(*command, reference, "--output-dir", sines.output_dir).refused(4, needle)


@pytest.mark.parametrize("command", ["predict", "evaluate", "plot", "sample"])
def test_strange_references_are_just_not_found(cli, sines, command):
    for reference in (LONG, "a\nb", "ü", "[red]"):
        cli(command, reference, "--output-dir", sines.output_dir).refused(4, "no such folder")


@pytest.mark.parametrize("command", [("predict",), ("evaluate",), ("plot",), ("train", "--resume")])
def test_no_run_at_all(cli, tmp_path, command):
    cli(*command, "--output-dir", tmp_path).refused(4, str(tmp_path), "lstmcast train")


def test_debug_adds_the_traceback_and_changes_nothing_else(cli, tmp_path):
    (tmp_path / "bad.yaml").write_text("seed: x\n")
    for code, *arguments in ((4, "predict", "nope"), (5, "config", "validate", tmp_path / "bad.yaml"), (2, "trian")):
        plain = cli(*arguments).refused(code)
        for debugging in (("--debug", *arguments), (*arguments, "--debug")):
            outcome = cli(*debugging)
            assert outcome.code == code
            assert outcome.err.startswith("Traceback (most recent call last):\n")
            assert outcome.err.endswith(plain.err)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(cli, command):
    short, long = (cli(*command.split(), option).done() for option in ("-h", "--help"))
    assert short == long
    assert f"Usage: lstmcast {command}" in long.out
    assert long.err == ""


def test_wrong_usage_is_one_message_and_a_hint(cli):
    expected = {
        "trian": ("no such command 'trian'", "did you mean 'train' or 'trace'?"),
        "config shwo": ("no such command 'shwo'", "did you mean 'show'?"),
        "train --confg x": ("no such option: --confg", "did you mean --config or --json?"),
        "train --bogus": ("no such option: --bogus", "lstmcast train --help"),
        "predict --samples many": ("invalid value for '--samples': ", "lstmcast predict --help"),
        "sweep run": ("missing argument 'SPEC'", "lstmcast sweep run --help"),
    }
    for arguments, (message, hint) in expected.items():
        error, last = cli(*arguments.split()).refused(2).err.splitlines()
        assert error.startswith(f"error: {message}")
        assert last == f"hint: {hint}"


def test_control_characters_of_files_do_not_reach_the_terminal(cli, damaged, tmp_path):
    (tmp_path / "bad.yaml").write_text('"\\e[31mBAD": 1\n')
    for command in (("config", "validate"), ("train", "--config")):
        assert "\x1b" not in cli(*command, tmp_path / "bad.yaml").refused(5, r"\x1b[31mBAD").err
    (damaged / "run.json").write_text('{"status": "\\u001b[31mBAD", "config": "\\u009b2J"}')
    listed = cli("runs", "--output-dir", damaged.parent, terminal=True).done().out
    assert r"\x1b[31mBAD" in listed
    assert "\x1b[31mBAD" not in listed
    assert "\x9b" not in listed


def test_a_forecast_is_exact_in_a_file_and_harmless_on_a_terminal(cli, two_config, tmp_path):
    name = "\x1b[31mred"
    config = two_config(data__columns=["when", name])
    table = config.with_name("two.csv")
    table.write_text(table.read_text().replace("when,a,b", f"when,a,{name}"))
    run = tmp_path / "outputs" / "run"
    cli("train", "--config", config, "--output-dir", run.parent, "--name", run.name).done()
    forecast = cli("predict", run, "--future", 2).done().out
    assert forecast.count(name) == 2
    assert cli("predict", run, "--future", 2, terminal=True).done().out == forecast.replace("\x1b", r"\x1b")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("predict", "--bogus"), 2),
        (("predict", "nope"), 4),
        (("config", "validate", "bad.yaml"), 5),
    ],
)
def test_exit_codes_reach_the_shell(shell, tmp_path, arguments, code):
    (tmp_path / "bad.yaml").write_text("seed: x\n")
    outcome = shell(*arguments, cwd=tmp_path)
    assert outcome.code == code
    assert bool(outcome.out) == (code == 0)
    assert bool(outcome.err) == (code != 0)
    assert "Traceback" not in outcome.err
