import csv
import json
import math
import re

import numpy as np
import pytest
import yaml

HORIZONS = ["1", "10", "100", "1000"]


def files(run, *names):
    return {name: (run / name).read_bytes() for name in names}


def reproducible(run):
    return files(run, "metrics.jsonl", "checkpoints/best.safetensors", "forecast.csv")


def test_json_holds_what_scripts_rely_on(sines):
    document = sines.outcome.json
    assert document["schema_version"] == 1
    assert document["run"] == str(sines.path)
    assert document["status"] == "finished"
    assert document["steps"] == 3
    assert document["seconds"] >= 0
    assert document["next_step"]["rmse"] > 0
    assert list(document["rollout"]["rmse"]) == HORIZONS
    assert {"mean", "last_value", "ar"} <= document["baselines"].keys()
    for scores in (document, *document["baselines"].values()):
        assert list(scores["rollout"]["rmse"]) == HORIZONS
        assert all(error >= 0 for error in scores["rollout"]["rmse"].values())
    assert document["verdict"]
    assert "\n" not in document["verdict"]


def test_progress_goes_to_standard_error(sines):
    assert f"training {sines.path}" in sines.outcome.err
    assert "step 3/3" in sines.outcome.err
    assert "warning" not in sines.outcome.err


def test_text_ends_with_a_table_and_a_verdict(cli, sines, tmp_path):
    outcome = cli("train", "--config", sines.config, "--output-dir", tmp_path, "--name", "text").done()
    for words in ("network", "last value", "mean of the training part", "next step", "rollout of 1,000"):
        assert words in outcome.out
    *_, verdict, run = outcome.out.splitlines()
    assert verdict == f"verdict: {sines.outcome.json['verdict']}"
    assert run.startswith(f"run: {tmp_path / 'text'} (3 steps")
    assert "\x1b" not in outcome.out + outcome.err


def test_the_run_folder(sines):
    written = {str(path.relative_to(sines.path)) for path in sines.path.rglob("*") if path.is_file()}
    assert written >= {
        *("config.yaml", "metrics.jsonl", "run.json", "forecast.csv", "loss.png", "rollout.png"),
        *("checkpoints/best.safetensors", "checkpoints/last.safetensors"),
    }
    assert not [name for name in written if name.endswith(".tmp")]
    metrics = [json.loads(line) for line in (sines.path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in metrics] == [1, 2, 3]
    assert all(record["loss"] > 0 and record["learning_rate"] == 1e-3 for record in metrics)
    manifest = json.loads((sines.path / "run.json").read_text())
    shared = sines.outcome.json.keys() - {"run"}
    assert {key: manifest[key] for key in shared} == {key: sines.outcome.json[key] for key in shared}
    assert manifest["seed"] == 1


def test_forecast_file_gives_the_scores(sines):
    with (sines.path / "forecast.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["series"], row["step"]) for row in rows] == [(n, str(k + 1)) for n in "01" for k in range(1000)]
    for h, error in sines.outcome.json["rollout"]["rmse"].items():
        off = [float(row["value"]) - float(row["truth"]) for row in rows if int(row["step"]) <= int(h)]
        assert np.sqrt(np.mean(np.square(off))) == pytest.approx(error)


@pytest.mark.parametrize("name", ["sines", "two"])
def test_the_same_seed_gives_the_same_bytes(cli, request, name, tmp_path):
    first = request.getfixturevalue(name)
    quiet = cli("train", "--config", first.config, "--output-dir", tmp_path, "--name", "again", "--quiet").done()
    assert quiet.out == f"{tmp_path / 'again'}\n"
    assert quiet.err == ""
    assert reproducible(tmp_path / "again") == reproducible(first.path)


def test_another_seed_gives_another_run(cli, sines, tmp_path):
    arguments = ("train", "--config", sines.config, "--output-dir", tmp_path, "--name", "other")
    option, override = (cli(*arguments, *seed, "--dry-run", "--json") for seed in (("--seed", "7"), ("seed=7",)))
    assert option == override
    assert option.done().json["config"]["seed"] == 7
    cli(*arguments, "--seed", "7").done()
    for name, content in reproducible(sines.path).items():
        assert content != reproducible(tmp_path / "other")[name]


def test_runs_are_named_after_config_and_time_in_outputs(cli, sines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("train", "--config", sines.config, "--quiet", "training.steps=1", "optimizer.learning_rate=2e-3")
    named = cli(*arguments).done().out.strip()
    assert re.fullmatch(r"outputs/sines-\d{8}-\d{6}", named)
    assert json.loads((tmp_path / named / "metrics.jsonl").read_text())["learning_rate"] == 2e-3
    assert yaml.safe_load((tmp_path / named / "config.yaml").read_text())["training"]["steps"] == 1


def test_overrides_are_split_at_the_first_equals_sign(cli, two, tmp_path, monkeypatch):
    (tmp_path / "a=b.csv").write_bytes((two.config.parent / "two.csv").read_bytes())
    monkeypatch.chdir(tmp_path)
    plan = cli("train", "--config", two.config, "--dry-run", "--json", "data.path=a=b.csv").done().json
    assert plan["config"]["data"]["path"] == str(tmp_path / "a=b.csv")


def test_dry_run_trains_nothing(cli, sines, tmp_path):
    arguments = ("train", "--config", sines.config, "--output-dir", tmp_path / "none", "--dry-run")
    text, plan = cli(*arguments).done(), cli(*arguments, "--json").done().json
    assert plan["steps"] == 3
    assert plan["config"]["data"]["length"] == 60
    assert f"{plan['parameters']} parameters, 3 steps" in text.out
    assert cli(*arguments, "training.batch_size=50").refused(5, "batch_size")
    assert not (tmp_path / "none").exists()


def test_a_diverged_training_keeps_the_best_checkpoint(cli, sines, tmp_path):
    outcome = cli(
        *("train", "--config", sines.config, "--output-dir", tmp_path, "--name", "wild", "--json"),
        *("optimizer.kind=sgd", "optimizer.learning_rate=1e9", "training.steps=50"),
    )
    assert outcome.code == 6
    assert outcome.json["status"] == "diverged"
    assert outcome.json["steps"] < 50
    assert "error: training diverged" in outcome.err
    assert "hint: " in outcome.err
    assert json.loads((tmp_path / "wild" / "run.json").read_text())["status"] == "diverged"
    values = [float(row["value"]) for row in cli("predict", tmp_path / "wild", "--future", 5).done().rows]
    assert len(values) == 10
    assert all(math.isfinite(value) for value in values)


def test_a_taken_name_is_refused_and_left_alone(cli, sines):
    before = {path: path.read_bytes() for path in sines.output_dir.rglob("*") if path.is_file()}
    outcome = cli("train", "--config", sines.config, "--output-dir", sines.output_dir, "--name", "sines")
    outcome.refused(2, "sines", "hint: ", f"--resume {sines.path}")
    assert {path: path.read_bytes() for path in sines.output_dir.rglob("*") if path.is_file()} == before


def test_a_terminal_gets_a_bar_on_standard_error_alone(cli, sines, tmp_path):
    outcome = cli("train", "--config", sines.config, "--output-dir", tmp_path, "--json", terminal=True).done()
    assert outcome.json["status"] == "finished"
    assert "\x1b" not in outcome.out
    assert "\r" in outcome.err
    assert "step 3/3" in outcome.err
