import base64
import hashlib
import os
import re

import pytest

from lstmcast.errors import InvalidError
from lstmcast.reports import figures
from lstmcast.reports.page import run_page, sweep_page

FORECAST = "series,step,value,truth\n" + "".join(f"a$b$,{k},{k / 9},{k % 3}\n" for k in range(1, 30))
METRICS = "".join(f'{{"step": {k}, "loss": {1 / k}, "learning_rate": 0.1}}\n' for k in range(1, 60))
BASELINES = {"mean": {"label": "the <mean>", "next_step": {"rmse": 3.0}, "rollout": {"rmse": {"10": 0.5, "9": None}}}}


@pytest.fixture
def full(written):
    """Return a function that writes a run with all that a page shows."""

    def write(name, seed=0, rmse=2.0, **more):
        manifest = {"next_step": {"rmse": 0.25}, "verdict": "it <b>holds</b>", "baselines": BASELINES} | more
        record = written(name, seed, rmse, **manifest)
        record.run.forecast.write_text(FORECAST)
        record.run.metrics.write_text(METRICS)
        return record

    return write


def test_a_run(full):
    html = run_page(full("waves"))
    assert html.count("<svg") == html.count('role="img"') == 3
    titles = re.findall(r"<svg[^>]*><title>([^<]*)</title>", html)
    assert titles[0] == "Rollout of waves over 29 steps of the test part, beside the true continuation; its RMSE is 1"
    assert "0.5 *" in html  # the baseline is better over 10 steps
    assert "0.25 *" in html
    assert "the &lt;mean&gt;" in html
    assert "it &lt;b&gt;holds" in html
    assert "learning_rate: 0.01" in html


def test_the_same_run_gives_the_same_bytes(full):
    record = full("waves")
    assert run_page(record) == run_page(record)


def test_nothing_is_fetched_and_only_our_script_runs(full):
    html = sweep_page("sweep", [full("a", 1), full("b", 2, 3.0)], "rollout.rmse@10")
    addresses = set(re.findall(r'(?:src|href|action|data)\s*=\s*"([^"]*)"', html)) - {"data:,"}
    assert {"#trial-1", "#trial-2"} <= addresses
    assert [address for address in addresses if not address.startswith("#")] == []
    assert "url(#" in html
    assert not re.search(r"url\((?!#)|@import", html)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == html.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_a_sweep_ranks_and_names_the_best(full):
    runs = [full("worst", 1, 9.0), full("best", 2, 1.0), full("none", 3, None, status="running")]
    html = sweep_page("my sweep", runs, "rollout.rmse@10")
    assert re.findall(r'<a href="#trial-\d">(\w+)</a>', html)[1:] == ["best", "worst", "none"]
    assert "3 runs, 1 without a final score, of 1 config.\n" in html
    assert "standard deviation" in html
    points = re.findall(r'<a href="(#trial-\d)"><title>(.*?)</title>', html)
    assert points == [("#trial-1", "best: 2, 1"), ("#trial-2", "worst: 1, 9")]


def test_hostile_text_stays_text(full):
    name = "<img src=x onerror=hacked()>$\\frac{&"
    record = full(
        name, 1, verdict="</p><script>hacked()</script>", config={"data": {"path": "</pre><script>x</script>"}}
    )
    other = full("<b>", 2, 5.0, config={"data": {"path": "'\"><script>y</script>"}})
    record.run.forecast.write_text(FORECAST.replace("a$b$", "<script>z</script>"))
    for html in (run_page(record), sweep_page(name, [record, other], "rollout.rmse@10")):
        assert "<script>x" not in html
        assert "<script>y" not in html
        assert "<script>z" not in html
        assert "hacked()</script>" not in html
        assert "<img" not in html
        assert "<b>" not in html


def test_a_run_that_has_hardly_begun(full):
    record = full("early", rmse={}, status="running", next_step=None, verdict=None, baselines=None)
    record.run.forecast.unlink()
    record.run.metrics.write_text("")
    record.run.config.unlink()
    html = run_page(record)
    assert "stopped" in html  # nobody holds it
    assert "<svg" not in html


def test_a_forecast_that_left_the_numbers(full):
    record = full("lost", rmse={"1": 0.5, "10": None})
    record.run.forecast.write_text("series,step,value,truth\n0,1,1e300,0.5\n0,2,inf,0.25\n0,3,nan,0.75\n")
    assert "series 0" in run_page(record)


@pytest.mark.parametrize("name", ["forecast.csv", "config.yaml"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody_up(full, name):
    record = full("waves")
    (record.run.path / name).unlink()
    os.mkfifo(record.run.path / name)
    if name == "config.yaml":
        assert "learning_rate: 0.01" not in run_page(record)
        return
    with pytest.raises(InvalidError, match="not a regular file"):
        run_page(record)


@pytest.mark.parametrize("text", ["series,step\n", "series,step,value,truth\n0,1,x,2\n", "series,step,value,truth\n\0"])
def test_damaged_rollouts_are_named(full, text):
    record = full("waves")
    record.run.forecast.write_text(text + "0,1\n")
    with pytest.raises(InvalidError, match=r"forecast\.csv"):
        run_page(record)


def test_trials_that_left_no_run_are_named(full):
    planned = [{"number": 1, "status": "finished"}, {"number": 2, "status": "failed", "reason": "<killed>"}]
    html = sweep_page("s", [full("a", 1), full("b", 2)], "rollout.rmse@10", [*planned, {"status": "waiting"}])
    assert "Failed:\ntrial 2 (&lt;killed&gt;)." in html
    assert "Not begun: 1. " in html


def test_many_trials_are_pictured_up_to_a_point(full, monkeypatch):
    monkeypatch.setattr("lstmcast.reports.page.MAX_PICTURED", 1)
    html = sweep_page("s", [full("a", 1), full("b", 2)], "rollout.rmse@10")
    assert html.count("Rollout of a") > html.count("Rollout of b") == 0


def test_numbers_in_pictures_are_not_rounded():
    figure = figures.scatter([0.001, 0.002, 0.003], [1.0, 2.0, 3.0], ["#a", "#b", "#c"], ("x", "y"))
    assert "0.0010" in figures.svg(figure, "")
    ticks = figures.svg(figures.horizon({"1": 0.85, "10": 0.95}, {}), "")
    assert ">0.9<" in ticks
    assert "e−01" not in ticks
