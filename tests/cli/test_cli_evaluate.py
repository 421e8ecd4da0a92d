import json

import pytest

SCORES = ["next_step", "rollout", "baselines", "verdict"]


def test_json_repeats_what_training_said(cli, sines):
    document = cli("evaluate", sines.path, "--json").done().json
    assert document["schema_version"] == 1
    assert document["run"] == str(sines.path)
    assert document["status"] == "finished"
    assert {key: document[key] for key in SCORES} == {key: sines.outcome.json[key] for key in SCORES}


def test_skill_is_the_share_of_a_baselines_error_that_is_gone(cli, two):
    document = cli("evaluate", two.path, "--horizons", "1,10", "--json").done().json
    for baseline in document["baselines"].values():
        for h, theirs in baseline["rollout"]["rmse"].items():
            assert baseline["skill"][h] == pytest.approx(1 - document["rollout"]["rmse"][h] / theirs)


def test_horizons(cli, sines):
    document = cli("evaluate", sines.path, "--horizons", "7,2,7,50", "--json").done().json
    assert list(document["rollout"]["rmse"]) == ["2", "7", "50"]
    default = cli("evaluate", sines.path, "--json").done().json
    alone = cli("evaluate", sines.path, "--horizons", "10", "--json").done().json
    assert alone["rollout"]["rmse"] == {"10": default["rollout"]["rmse"]["10"]}


def test_horizons_beyond_the_test_part(cli, two):
    # 120 rows, the last 24 for the test
    outcome = cli("evaluate", two.path, "--horizons", "1,24,25", "--json").done()
    assert "warning: " in outcome.err
    assert "25" in outcome.err
    assert list(outcome.json["rollout"]["rmse"]) == ["1", "24"]
    outcome = cli("evaluate", two.path, "--horizons", "1,24", "--json").done()
    assert outcome.err == ""
    cli("evaluate", two.path, "--horizons", "25,1000", "--origins", "3").refused(5, "--horizons", "25", "24")


def test_quiet_prints_the_error_over_the_longest_horizon(cli, two):
    outcome = cli("evaluate", two.path, "--horizons", "20,5", "--quiet").done()
    rmse = cli("evaluate", two.path, "--horizons", "20", "--json").done().json["rollout"]["rmse"]["20"]
    assert outcome.out == f"{rmse!r}\n"
    assert outcome.err == ""


@pytest.mark.parametrize(("name", "first", "last"), [("two", 96, 115), ("sines", 60, 65)])
def test_origins_spread_over_the_test_part(cli, request, name, first, last):
    run = request.getfixturevalue(name).path
    arguments = ("evaluate", run, "--horizons", "5", "--json")
    spread = cli(*arguments, "--origins", 6).done().json["rollout"]
    assert len(spread["origins"]) == 6
    assert spread["origins"] == sorted(spread["origins"])
    assert (spread["origins"][0], spread["origins"][-1]) == (first, last)
    one = cli(*arguments).done().json["rollout"]
    assert one["origins"] == [first]
    assert one["rmse"] != spread["rmse"]


def test_text(cli, sines):
    outcome = cli("evaluate", sines.path).done()
    document = sines.outcome.json
    assert outcome.err == f"hint: {document['advice']}\n"
    for words in ("network", "last value", "rollout of 1,000", "amplitude ratio", "frequency", "phase"):
        assert words in outcome.out
    assert f"{document['next_step']['rmse']:.4g}" in outcome.out
    assert f"holds for {document['rollout']['valid_horizon']} steps" in outcome.out
    assert outcome.out.splitlines()[-1] == f"verdict: {document['verdict']}"
    short = cli("evaluate", sines.path, "--horizons", "1").done().out
    assert "\nholds for " in short
    assert "nan" not in short  # too short for a phase


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (("--horizons", "0"), "--horizons '0'"),
        (("--horizons", "1,-5"), "--horizons '1,-5'"),
        (("--horizons", ""), "--horizons ''"),
        (("--horizons", "1,,2"), "--horizons '1,,2'"),
        (("--horizons", "ten"), "--horizons 'ten'"),
        (("--horizons", "9999999"), "1,000,000"),
        (("--origins", "0"), "--origins"),
        (("--origins", "2.5"), "--origins"),
        (("--json", "--quiet"), "--json"),
    ],
)
def test_bad_arguments(cli, two, arguments, needle):
    cli("evaluate", two.path, *arguments).refused(2, needle)


def test_networks_of_classes(cli, bins, letters):
    for run in (bins, letters):
        document = cli("evaluate", run.path, "--json").done().json
        shared = document.keys() & run.outcome.json.keys()
        assert shared >= {"next_step", "baselines", "verdict"}
        assert {key: document[key] for key in shared} == {key: run.outcome.json[key] for key in shared}
        assert cli("evaluate", run.path).done().out.splitlines()[-1] == f"verdict: {document['verdict']}"
    quiet = cli("evaluate", letters.path, "--quiet").done().out
    assert float(quiet) == document["next_step"]["cross_entropy"]


def test_a_stopped_run_says_so(cli, damaged):
    manifest = damaged / "run.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"status": "stopped"}))
    assert cli("evaluate", damaged, "--json").done().json["status"] == "stopped"
    manifest.write_text("{")
    cli("evaluate", damaged, "--json").refused(5, "run.json")
