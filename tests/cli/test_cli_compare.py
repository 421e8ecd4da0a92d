import json
import shutil

import pytest


@pytest.fixture(scope="module")
def seeds(cli, sines, tmp_path_factory):
    """Return a folder of two configs, two seeds each."""
    folder = tmp_path_factory.mktemp("work") / "outputs" / "study"
    for cell in ("lstm", "gru"):
        for seed in (1, 2):
            options = ("--config", sines.config, "--output-dir", folder, "--name", f"{cell}-{seed}", "--seed", seed)
            cli("train", *options, f"model.cell={cell}").done()
    return folder


def test_runs_side_by_side(cli, seeds, monkeypatch):
    document = cli("compare", "lstm-*", "gru-*", "--output-dir", seeds, "--json").done().json
    assert (document["schema_version"], document["metric"]) == (1, "rollout.rmse@1000")
    first, second = document["groups"]
    assert (first["label"], first["seeds"]) == ("model.cell=lstm", [1, 2])
    assert first["mean"] == pytest.approx(sum(first["values"]) / 2)
    assert document["comparisons"][0]["p"] in (0.5, 1.0)
    assert document["failures"] == []
    # the same by the folder's name, as a sweep is given
    monkeypatch.chdir(seeds.parent.parent)
    by_folder = cli("compare", "study", "--metric", "next_step.rmse", "--json").done().json
    assert {group["label"] for group in by_folder["groups"]} == {"model.cell=lstm", "model.cell=gru"}
    text = cli("compare", "study").done()
    assert "model.cell=gru" in text.out
    assert "2 common seeds" in text.out
    best = min((first, second), key=lambda group: group["mean"])
    assert cli("compare", "study", "--quiet").done().out.strip() == best["runs"][0].replace(str(seeds), "outputs/study")


def test_a_sweeps_own_metric_is_the_default(cli, seeds, tmp_path):
    study = shutil.copytree(seeds, tmp_path / "study")
    (study / "sweep.json").write_text(json.dumps({"metric": "rollout.rmse@10", "trials": []}))
    assert cli("compare", study, "--json").done().json["metric"] == "rollout.rmse@10"
    (study / "sweep.json").write_text("{")
    assert cli("compare", study, "--json").done().json["metric"] == "rollout.rmse@1000"


def test_fail_if(cli, seeds):
    passed = cli("compare", seeds, "--fail-if", "rollout.rmse > 1e6", "--quiet").done()
    assert passed.err == ""
    failed = cli("compare", seeds, "--fail-if", "rollout.rmse > 1e-6", "--fail-if", "next_step.rmse<0", "--json")
    assert failed.code == 7
    assert len(failed.json["failures"]) == 2
    assert failed.err.count("failed: rollout.rmse > 1e-6") == 2


def test_what_diverged_is_no_best_run(cli, damaged):
    manifest = json.loads((damaged / "run.json").read_text())
    (damaged / "run.json").write_text(json.dumps(manifest | {"status": "diverged"}))
    assert cli("compare", damaged, "--json").done().json["groups"][0]["diverged"] == 1
    cli("compare", damaged, "--quiet").refused(4, "diverged")


def test_runs_that_are_not_done_are_left_out_aloud(cli, seeds, tmp_path):
    seeds = shutil.copytree(seeds, tmp_path / "study")
    shutil.copytree(seeds / "gru-1", seeds / "gru-3")
    manifest = json.loads((seeds / "gru-3" / "run.json").read_text())
    (seeds / "gru-3" / "run.json").write_text(json.dumps(manifest | {"status": "stopped", "rollout": None}))
    outcome = cli("compare", seeds, "--quiet").done()
    assert outcome.err.count("warning") == 1
    assert "gru-3 is left out" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        (["nothing-here"], 4, "nothing-here"),
        (["nothing-*"], 4, "no run in"),
        (["sines", "--fail-if", "rmse"], 2, "worse than"),
        (["sines", "--metric", "rollout.rnse"], 2, "did you mean"),
        (["sines", "--fail-if", "B worse than A"], 2, "no group B"),
        ([], 2, "RUN"),
    ],
)
def test_wrong_use(cli, sines, arguments, code, needle):
    cli("compare", *arguments, "--output-dir", sines.output_dir).refused(code, needle)
