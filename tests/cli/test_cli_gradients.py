"""``gradcheck --config`` and ``trace`` at the command line."""

import csv
import io
import shutil

import numpy as np
import pytest

from lstmcast.config.build import make_dataset, make_network_engine, make_sampler
from lstmcast.config.load import load
from lstmcast.network.cells import CELLS


def test_gradcheck_prints_its_fields(cli):
    document = cli("gradcheck", "--config", "sunspots", "--json").done().json
    assert document["passed"] is True
    assert document["oracle"] == "complex"
    assert document["worst_relative_error"] < 1e-12
    assert document["diagnosis"] == []
    assert all(set(result) >= {"relative_error", "passed"} for result in document["parameters"].values())
    assert "cells.0.weight_hh r" in document["parameters"]


def test_gradcheck_takes_overrides_and_oracles(cli):
    outcome = cli("gradcheck", "--config", "sunspots", "--oracle", "torch", "model.cell=lstm", "--json").done()
    assert "cells.0.weight_hh f" in outcome.json["parameters"]


def test_gradcheck_fails_with_seven(cli, monkeypatch):
    cell = CELLS["gru"]
    right = cell.linearize

    def swapped(m, h_prev, h, out, scratch, e):
        right(m, h_prev, h, out, scratch, e)
        H = h.shape[1]
        out[:, : 2 * H] = np.concatenate([out[:, H : 2 * H], out[:, :H]], axis=1)

    monkeypatch.setattr(cell, "linearize", swapped)
    outcome = cli("gradcheck", "--config", "sunspots")
    assert outcome.code == 7
    assert "weight_ih r" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        ((), 2, "--config"),
        (("--config", "sunspots", "--template", "lstm"), 2, "--"),
        (("--config", "sunspot"), 4, "sunspots"),
        (("--config", "names-rnn", "--rollout", "3"), 2, "--rollout"),
        (("--config", "sunspots", "model.cel=gru"), 2, "model.cel=gru"),
        (("--code", "nothing.py"), 4, "nothing.py"),
    ],
)
def test_gradcheck_refuses(cli, arguments, code, needle):
    outcome = cli("gradcheck", *arguments)
    assert outcome.code == code
    assert needle in outcome.err


def test_trace_of_a_run_and_of_a_config(cli, sines):
    for source in ((sines.path,), ("--config", "names-rnn")):
        outcome = cli("trace", *source, "--steps", 2, "--units", 1, "--format", "csv").done()
        rows = list(csv.DictReader(io.StringIO(outcome.out)))
        assert {row["step"] for row in rows} == {"0", "1"}
        assert {row["differs"] for row in rows} == {"false"}
        assert all(abs(float(row["ours"]) - float(row["other"])) < 1e-12 for row in rows)


def test_trace_refuses_data_that_have_changed_since(cli, letters, two, tmp_path):
    for trained, data, more in ((letters, "names.txt", "zoe\nxaver\n"), (two, "two.csv", "2099-01-01,9,9\n" * 60)):
        folder = tmp_path / data
        run, text = shutil.copytree(trained.path, folder / "run"), (trained.config.parent / data).read_text()
        config = (run / "config.yaml").read_text()
        assert str(trained.config.parent / data) in config
        (run / "config.yaml").write_text(config.replace(str(trained.config.parent), str(folder)))
        (folder / data).write_text(text)
        cli("trace", run, "--steps", 1, "--against", "none").done()
        (folder / data).write_text(text + more)
        cli("trace", run, "--steps", 1, "--against", "none").refused(5, "no longer those that the run was trained on")


def test_trace_says_what_a_program_does_not_show(cli, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(cli("gradcheck", "--template", "lstm").done().out)
    for layout in ("table", "csv"):
        outcome = cli("trace", "--against", mine, "--steps", 2, "--format", layout).done()
        assert "not compared, because your trace does not return them: dh, dc, da_i, da_f, da_g, da_o\n" in outcome.err
    assert "not compared" not in cli("trace", "--config", "sunspots", "--steps", 1, "--against", "none").done().err


def test_trace_as_latex_and_without_torch(cli):
    latex = cli("trace", "--config", "sunspots", "--steps", 1, "--format", "latex").done().out
    assert latex.startswith(r"\begin{tabular}")
    assert latex.rstrip().endswith(r"\end{tabular}")
    assert "autograd" not in cli("trace", "--config", "sunspots", "--against", "none").done().out


def test_trace_shows_a_difference_and_fails(cli, monkeypatch):
    cell = CELLS["gru"]
    right = cell.linearize

    def doubled(m, h_prev, h, out, scratch, e):
        right(m, h_prev, h, out, scratch, e)
        out *= 2

    monkeypatch.setattr(cell, "linearize", doubled)
    outcome = cli("trace", "--config", "sunspots", "--steps", 2, "--units", 1)
    assert outcome.code == 7
    assert outcome.out.count("first difference") == 1


def test_a_trace_begins_where_the_linear_part_knows_its_past(cli):
    config = load("sunspots")
    first, dataset = config.model.autoregression - 1, make_dataset(config)
    engine, batch = make_network_engine(config, 1, "numpy"), make_sampler(config, dataset).next()
    y = engine.predict(batch.inputs[:1, first : first + 1])[0, 0, 0]
    dh = 2 * (y - batch.targets[0, first, 0]) * engine.parameters.views["head.0.weight"][0, 0]
    outcome = cli("trace", "--config", "sunspots", "--steps", 1, "--units", 1, "--format", "csv").done()
    (shown,) = (float(row["ours"]) for row in csv.DictReader(io.StringIO(outcome.out)) if row["quantity"] == "dh")
    assert shown == pytest.approx(dh, rel=1e-12)


def test_trace_refuses_a_sample_that_is_not_there(cli):
    cli("trace", "--config", "sunspots", "--sample", 99).refused(2, "--sample 99", "0 to 31")


def test_trace_takes_overrides_of_a_config(cli):
    def quantities(*overrides):
        outcome = cli(
            "trace", "--config", "sine-waves", *overrides, "--steps", 1, "--units", 1, "--format", "csv"
        ).done()
        return {row["quantity"] for row in csv.DictReader(io.StringIO(outcome.out))}

    assert {"i", "c"} <= quantities()
    changed = quantities("model.cell=gru")
    assert {"r", "z", "n"} <= changed
    assert "c" not in changed
    cli("trace", "--config", "sine-waves", "model.cel=gru").refused(2, "model.cel", "did you mean 'cell'?")
    cli("trace", "--config", "sine-waves", "latest").refused(2, "'latest': not of the form KEY=VALUE")


@pytest.mark.parametrize(
    ("arguments", "needles"),
    [
        (["trace", "one", "two"], ("one run is traced",)),
        (["trace", "one", "model.cell=gru"], ("overrides go with --config",)),
        (["trace", "--against", "mine.py", "--sample", 1], ("--sample",)),
        (["trace", "--against", "mine.py", "one"], ("leave out RUN",)),
        (["gradcheck", "--config", "sunspots", "--time-limit", 5], ("go with --code",)),
        (["gradcheck", "--config", "sunspots", "--no-diagnose"], ("go with --code",)),
    ],
)
def test_what_would_be_ignored_is_refused(cli, arguments, needles):
    cli(*arguments).refused(2, *needles)
