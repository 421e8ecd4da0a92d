import copy
import json
import shutil

import pytest


def test_a_run(cli, damaged):
    outcome = cli("report", damaged).done()
    path = damaged / "report.html"
    assert outcome.out == f"{path}\n"
    html = path.read_text()
    assert "<title>damaged</title>" in html
    assert html.count("<svg") == 3
    assert "AR(" in html


def test_many_runs(cli, sines, two, letters, tmp_path, monkeypatch):
    for index, source in enumerate((sines, two, letters)):
        shutil.copytree(source.path, tmp_path / "study" / f"trial-{index}")
    monkeypatch.chdir(tmp_path)
    assert cli("report", "study").done().out == "study/report.html\n"
    html = (tmp_path / "study" / "report.html").read_text()
    assert "3 runs, 1 without a final score, of 2 configs" in html
    assert html.count("<summary>trial-") == 3
    cli("report", "trial-0", "trial-1", "--output-dir", "study", "-o", "both.html", "--metric", "next_step.rmse").done()
    assert "2 runs of 2 configs" in (tmp_path / "both.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        (["nothing"], 4, "nothing"),
        (["sines", "sines", "-o", "/proc/x.html"], 9, "/proc"),
        (["*", "two", "--metric", "rollout.rnse"], 4, "two"),
    ],
)
def test_wrong_use(cli, sines, arguments, code, needle):
    cli("report", *arguments, "--output-dir", sines.output_dir).refused(code, needle)


@pytest.mark.parametrize("wrong", [None, 3, [], {"rmse": {"1": "x"}}])
def test_manifests_by_strangers(cli, sines, damaged, wrong):
    good = json.loads((sines.path / "run.json").read_text())
    for key in ("next_step", "rollout", "baselines", "baselines.ar", "baselines.ar.rollout", "seed", "overrides"):
        manifest = copy.deepcopy(good)
        node = manifest
        for part in key.split(".")[:-1]:
            node = node[part]
        node[key.rpartition(".")[2]] = wrong
        (damaged / "run.json").write_text(json.dumps(manifest))
        for command in (["runs", "--output-dir", damaged.parent], ["compare", damaged, sines.path]):
            assert "internal error" not in cli(*command).err, key
        if key.startswith("baselines"):
            assert cli("report", damaged).code == 0, key
