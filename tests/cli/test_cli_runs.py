import json
import shutil

import pytest


@pytest.fixture
def outputs(tmp_path, sines, two):
    """Return a folder of three runs, made in another order than that of their names, and of other things."""
    folder = tmp_path / "outputs"
    for name, source, day in (("b", two, "02"), ("c", sines, "01"), ("a", sines, "03")):
        run = shutil.copytree(source.path, folder / name)
        manifest = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(manifest | {"created": f"2020-01-{day}T00:00:00.000000+00:00"}))
    (folder / "not-a-run").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "run.json").write_text("{")
    (folder / "file.txt").write_text("")
    return folder


def test_oldest_first(cli, outputs):
    paths = [str(outputs / name) for name in "cba"]
    assert cli("runs", "--output-dir", outputs, "--quiet").done().out.splitlines() == paths
    document = cli("runs", "--output-dir", outputs, "--json").done().json
    assert document["schema_version"] == 1
    assert [run["run"] for run in document["runs"]] == paths
    for run in document["runs"]:
        assert run["status"] == "finished"
        assert run["rollout"]["rmse"]
    text = cli("runs", "--output-dir", outputs).done()
    assert text.err == ""
    assert [line.split("│")[1].strip() for line in text.out.splitlines() if "finished" in line] == ["c", "b", "a"]
    assert "2020-01-03 00:00" in text.out


def test_unfinished_runs_are_listed_too(cli, outputs):
    (outputs / "c" / "run.json").write_text('{"schema_version": 1, "status": "running"}')
    (outputs / "b" / "run.json").write_text("{}")
    text = cli("runs", "--output-dir", outputs).done().out
    assert "stopped" in text  # nobody holds it
    assert [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")] == ["b", "c", "a"]


def test_runs_on_text(cli, letters):
    text = cli("runs", "--output-dir", letters.output_dir).done()
    assert "letters" in text.out
    assert cli("runs", "--output-dir", letters.output_dir, "--quiet").done().out == f"{letters.path}\n"


def test_keys_of_later_stages(cli, sines_config, tmp_path):
    stage = {"optimizer": {"kind": "sgd"}, "training": {"steps": 2}}
    config = sines_config(training__steps=1, then=[stage])
    options = ("--config", config, "--output-dir", tmp_path, "--quiet")
    cli("train", *options, "--name", "two").done()
    cli("train", *options, "--name", "three", "then.0.training.steps=3").done()
    listed = cli("runs", "--output-dir", tmp_path, "--quiet", "--where", "then.0.training.steps=3").done()
    assert listed.out == f"{tmp_path / 'three'}\n"
    groups = cli("compare", "two", "three", "--output-dir", tmp_path, "--json").done().json["groups"]
    assert sorted(group["differs"]["then.0.training.steps"] for group in groups) == [2, 3]
    assert all(len(group["differs"]) == 1 for group in groups)


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_no_runs(cli, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    folder = tmp_path / folder
    text = cli("runs", "--output-dir", folder).done()
    assert text.out == ""
    assert "no runs" in text.err
    assert cli("runs", "--output-dir", folder, "--quiet").done().out == ""
    assert cli("runs", "--output-dir", folder, "--json").done().json["runs"] == []


def test_runs_by_path_by_name_and_latest(cli, outputs, monkeypatch):
    def labels(*arguments):
        return {row["series"] for row in cli("predict", *arguments, "--future", 1).done().rows}

    assert labels("--output-dir", outputs) == labels("latest", "--output-dir", outputs) == {"0", "1"}
    assert labels("b", "--output-dir", outputs) == labels(outputs / "b") == {"a", "b"}
    shutil.rmtree(outputs / "a")
    monkeypatch.chdir(outputs.parent)
    assert labels() == {"a", "b"}
    assert labels("c") == labels("outputs/c") == labels("./outputs/c/") == {"0", "1"}


def test_json_and_quiet(cli, outputs):
    cli("runs", "--output-dir", outputs, "--json", "--quiet").refused(2, "--json")


def names(cli, outputs, *options):
    paths = cli("runs", "--output-dir", outputs, "--quiet", *options).done().out.splitlines()
    return [path.rpartition("/")[2] for path in paths]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (["data.kind=series"], "b"),
        (["data.kind != series"], "ca"),
        (["model.cell=lstm", "status=finished"], "ca"),
        (["optimizer.learning_rate>=0.01"], "b"),
        (["optimizer.learning_rate<0.01", "seed=0"], ""),
        (["model.hidden_sizes=[4]"], "cba"),
        (["rollout.rmse@1 < 1e9"], "cba"),
        (["rollout.rmse<0"], ""),
        (["status==finished", "data.kind == series"], "b"),
    ],
)
def test_where(cli, outputs, conditions, expected):
    options = [part for condition in conditions for part in ("--where", condition)]
    assert names(cli, outputs, *options) == list(expected)


def test_sort(cli, outputs):
    manifest = json.loads((outputs / "a" / "run.json").read_text())
    manifest["rollout"]["rmse"] = {"10": None, "9": 0.5}
    (outputs / "a" / "run.json").write_text(json.dumps(manifest))
    by_last = names(cli, outputs, "--sort", "rollout.rmse")
    assert by_last[-1] == "a"  # without a score comes last, either way
    assert names(cli, outputs, "--sort", "rollout.rmse", "--reverse") == [*reversed(by_last[:2]), "a"]
    assert names(cli, outputs, "--sort", "rollout.rmse@9") == ["a", "c", "b"]  # the others have none
    assert names(cli, outputs, "--sort", "data.kind") == ["b", "c", "a"]
    assert names(cli, outputs, "--reverse") == ["a", "b", "c"]
    (outputs / "a" / "run.json").write_text(json.dumps(manifest | {"status": "diverged"}))
    assert names(cli, outputs, "--sort", "rollout.rmse@9", "--reverse") == ["a", "c", "b"]
    manifest["next_step"]["rmse"] = 1e-9
    (outputs / "a" / "run.json").write_text(json.dumps(manifest | {"status": "diverged"}))
    assert names(cli, outputs, "--sort", "next_step.rmse")[-1] == "a"  # the score is that before it
    assert "rollout.rmse@1 " in cli("runs", "--output-dir", outputs, "--sort", "rollout.rmse@1").done().out


def test_what_a_run_was_made_of(cli, sines, tmp_path):
    options = ("--output-dir", tmp_path, "--name", "x", "--seed", 7)
    cli("train", "--config", sines.config, *options, "model.cell=gru").done()
    manifest = cli("runs", "--output-dir", tmp_path, "--json").done().json["runs"][0]
    assert (manifest["config"], manifest["overrides"]) == ("sines", ["model.cell=gru", "seed=7"])
    assert "sines" in cli("runs", "--output-dir", tmp_path).done().out


@pytest.mark.parametrize(
    ("option", "value", "needle"),
    [
        ("--where", "optimizer.kond=adam", "did you mean 'optimizer.kind'?"),
        ("--where", "optimizer.lr=0.1", "did you mean 'optimizer.learning_rate'?"),
        ("--where", "learning_rate=0.1", "did you mean 'optimizer.learning_rate'?"),
        ("--where", "optimizer.kind", "KEY=VALUE"),
        ("--where", "optimizer.kind<adam", "number"),
        ("--where", "seed=[1", "not YAML"),
        ("--where", "seed=!!python/name:os.system", "tags"),
        ("--sort", "rollout.rmse@7", "rollout.rmse@10,"),
        ("--sort", "nothing", "no run has"),
    ],
)
def test_wrong_conditions(cli, outputs, option, value, needle):
    cli("runs", "--output-dir", outputs, option, value).refused(2, option, needle)


def test_where_a_sweeps_runs_are(cli, outputs):
    sweep = outputs / "s"
    sweep.mkdir()
    (sweep / "sweep.json").write_text("{}")
    shutil.copytree(outputs / "a", sweep / "trial-001")
    assert cli("runs", "--output-dir", outputs, "--where", "seed=-1").done().err.endswith(f"--output-dir {sweep}\n")
    found = cli("evaluate", sweep, "--output-dir", outputs)
    assert found.code == 4
    assert f"lstmcast sweep best {sweep}" in found.err
