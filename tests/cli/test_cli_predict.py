import csv
import itertools
import os
import resource
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from lstmcast.training.checkpoints import Checkpoint


def table(outcome):
    """Return a CSV forecast as label to values."""
    series = {}
    for row in outcome.rows:
        values = series.setdefault(row["series"], [])
        assert int(row["step"]) == len(values) + 1
        values.append(float(row["value"]))
    return series


@pytest.mark.parametrize(("name", "labels"), [("sines", ["0", "1"]), ("two", ["a", "b"]), ("bins", ["0", "1"])])
def test_all_formats_agree(cli, request, name, labels, tmp_path):
    run = request.getfixturevalue(name).path
    forecast = table(cli("predict", run, "--future", 7).done())
    assert list(forecast) == labels
    document = cli("predict", run, "--future", 7, "--format", "json").done().json
    assert document["schema_version"] == 1
    assert document["run"] == str(run)
    assert document["future"] == 7
    assert document["labels"] == labels
    assert document["series"] == list(forecast.values())
    assert cli("predict", run, "--future", 7, "--json").done().json == document
    written = cli("predict", run, "--future", 7, "-o", tmp_path / "f.npz").done()  # the ending says it
    assert written.out == ""
    with np.load(tmp_path / "f.npz", allow_pickle=False) as file:
        assert file["labels"].tolist() == labels
        assert file["series"].tolist() == document["series"]


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_file_holds_what_standard_output_would(cli, two, kind, tmp_path):
    arguments = ("predict", two.path, "--future", 5, "--format", kind)
    printed = cli(*arguments).done()
    assert printed.err == ""
    written = cli(*arguments, "--output", tmp_path / "forecast").done()
    assert written.out == ""
    assert str(tmp_path / "forecast") in written.err
    assert (tmp_path / "forecast").read_text() == printed.out


def test_a_format_that_contradicts_the_files_ending_is_refused(cli, two, tmp_path):
    options = ("predict", two.path, "--future", 5, "-o", tmp_path / "f.npz")
    cli(*options, "--format", "json").refused(2, ".npz", "json")
    cli(*options, "--json").refused(2, ".npz", "json")
    cli("predict", two.path, "--json", "--format", "csv").refused(2, "--json", "--format csv")
    assert not list(tmp_path.iterdir())


def test_what_left_the_finite_numbers_is_null(cli, tmp_path):
    rows = "\n".join(["v", *(repr(1.01**k) for k in range(60))])
    (tmp_path / "grows.csv").write_text(rows + "\n")
    (tmp_path / "grows.yaml").write_text(
        "data: {kind: series, path: grows.csv, columns: [v], timesteps: 9}\n"
        "model: {hidden_sizes: [2], autoregression: 1}\n"
        "optimizer: {kind: adam}\n"
        "training: {steps: 1}\n"
    )
    cli("train", "--config", tmp_path / "grows.yaml", "--output-dir", tmp_path, "--name", "run").done()
    outcome = cli("predict", tmp_path / "run", "--future", 80_000, "--json").done()
    (series,) = outcome.json["series"]
    assert series[0] == pytest.approx(1.01**60, rel=0.01)
    assert series[-1] is None
    assert outcome.err == ""


def test_a_run_without_a_checkpoint_yet(cli, damaged):
    (damaged / "checkpoints" / "best.safetensors").unlink()
    assert f"lstmcast train --resume {damaged}" in cli("predict", damaged).refused(4, "best.safetensors").err


def test_a_thousand_steps_unless_told(cli, two):
    assert len(cli("predict", two.path).done().rows) == 2 * 1000


@pytest.mark.parametrize("name", ["sines", "two", "bins"])
def test_longer_forecasts_begin_like_shorter_ones(cli, request, name):
    run = request.getfixturevalue(name).path
    short, long = (cli("predict", run, "--future", future).done().out for future in (10, 1000))
    longer = cli("predict", run, "--future", 2345).done().out
    assert long.startswith(short)
    assert longer.startswith(long)
    assert longer.count("\n") == 1 + 2 * 2345


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_million_steps_stream_in_constant_memory(launch, sines):
    def resident():
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    with launch("predict", sines.path, "--future", 1_000_000_000) as process:
        for _ in range(4_000):
            process.stdout.readline()
        before = resident()
        for _ in range(60_000):
            line = process.stdout.readline()
        assert line.startswith(("0,32000,", "1,32000,"))
        # had the values been kept, 30,000 steps would hold over 3 MB
        assert resident() - before < 1500
        process.stdout.close()
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""


def test_the_forecast_is_in_the_units_of_the_file(cli, two, two_config, tmp_path):
    config = two_config(scale=1e6, offset=3e8)
    cli("train", "--config", config, "--output-dir", tmp_path, "--name", "scaled").done()
    scaled = table(cli("predict", tmp_path / "scaled", "--future", 50).done())
    for label, values in table(cli("predict", two.path, "--future", 50).done()).items():
        np.testing.assert_allclose((np.array(scaled[label]) - 3e8) / 1e6, values, atol=1e-6)


def rewrite(source, target, names, last=None):
    """Copy columns of a CSV file under other names, perhaps only its last rows."""
    with source.open() as file:
        rows = list(csv.DictReader(file))
    lines = [";".join(names.values()), *(";".join(row[name] for name in names) for row in rows[-(last or 0) :])]
    target.write_text("\n".join(lines) + "\n")
    return target


def test_data_of_ones_own(cli, two, tmp_path):
    source = two.config.with_name("two.csv")
    expected = cli("predict", two.path, "--future", 9).done().out
    assert cli("predict", two.path, "--future", 9, "--data", source).done().out == expected
    # other names and another separator, and no more than the window that the network reads
    renamed = rewrite(source, tmp_path / "renamed.csv", {"b": "second", "a": "the first"}, last=20)
    data = ("predict", two.path, "--future", 9, "--data", renamed)
    assert cli(*data, "--column", "the first", "--column", "second").done().out == expected
    assert cli(*data, "--column", "second", "--column", "the first").done().out != expected
    # one value less to start from, and it is another forecast
    shorter = rewrite(source, tmp_path / "shorter.csv", {"a": "a", "b": "b"}, last=19)
    assert cli("predict", two.path, "--future", 9, "--data", shorter).done().out != expected


@pytest.mark.parametrize(
    ("arguments", "code", "needle"),
    [
        (("--future", "0"), 2, "--future 0"),
        (("--future", "-1"), 2, "--future -1"),
        (("--future", "1e3"), 2, "--future"),
        (("--future", "2000000000"), 2, "1,000,000,000"),
        (("--future", "20000000", "--format", "json"), 2, "csv streams"),
        (("--column", "a"), 2, "--data"),
        (("--format", "npz"), 2, "-o"),
        (("--format", "xml"), 2, "xml"),
        (("--plot", "x.bmp"), 2, "x.bmp"),
        (("--interval", "0.9"), 2, "--interval"),
        (("--interval", "0"), 2, "--interval"),
        (("--interval", "1"), 2, "--interval"),
        (("--interval", "nan"), 2, "--interval"),
        (("--samples", "0"), 2, "--samples"),
        (("--data", "nope.csv"), 4, "nope.csv"),
        (("--data", "x" * 300), 4, "xxx"),
        (("--data", "/"), 5, "regular file"),
        (("--data", "DATA", "--column", "a"), 2, "2 columns"),
        (("--data", "DATA", "--column", "a", "--column", "a"), 5, "twice"),
        (("--data", "DATA", "--column", "a", "--column", "bb"), 5, "'bb'"),
        (("-o", "."), 9, "."),
        (("-o", "DATA/x"), 9, "two.csv/x"),
        (("-o", "nowhere/x.csv"), 9, "nowhere/x.csv"),
    ],
)
def test_bad_arguments(cli, two, arguments, code, needle):
    data = str(two.config.with_name("two.csv"))
    cli("predict", two.path, *(text.replace("DATA", data) for text in arguments)).refused(code, needle)


@pytest.mark.parametrize("name", ["two", "bins"])
def test_bands_lie_around_the_forecast(cli, request, name, tmp_path):
    run = request.getfixturevalue(name).path
    arguments = ("predict", run, "--future", 6, "--format", "json")
    plain, narrow, wide = (
        cli(*arguments, *option).done().json for option in ((), ("--interval", 0.3), ("--interval", 0.9))
    )
    assert "lower" not in plain
    assert plain["series"] == narrow["series"] == wide["series"]
    bounds = [np.array(part) for part in (wide["lower"], narrow["lower"], narrow["upper"], wide["upper"])]
    assert all((lower <= upper).all() for lower, upper in itertools.pairwise(bounds))
    assert (bounds[0] < bounds[-1]).any()
    rows = cli("predict", run, "--future", 6, "--interval", 0.9).done().rows
    for column, key in (("value", "series"), ("lower", "lower"), ("upper", "upper")):
        assert [float(row[column]) for row in rows] == np.array(wide[key]).T.ravel().tolist()
    cli("predict", run, "--future", 6, "--interval", 0.9, "--format", "npz", "-o", tmp_path / "f.npz").done()
    with np.load(tmp_path / "f.npz") as file:
        assert file["lower"].tolist() == wide["lower"]
        assert file["upper"].tolist() == wide["upper"]
    again = cli(*arguments, "--samples", 7).done().json["series"]
    assert (again != plain["series"]) == (name == "bins")


def test_bands_end_where_nothing_is_known_of_the_error(cli, two, tmp_path):
    longest = ("predict", two.path, "--interval", 0.9, "--future")
    assert len(cli(*longest, 12).done().rows) == 24
    cli(*longest, 13).refused(2, "enough for 12 steps ahead", "lower --future to 12")
    # the bands are the run's, wherever a forecast starts
    data = rewrite(two.config.with_name("two.csv"), tmp_path / "late.csv", {"a": "a", "b": "b"}, last=20)
    picture = tmp_path / "bands.svg"
    expected, outcome = (cli(*longest, 12, *more).done() for more in ((), ("--data", data, "--plot", picture)))
    for ours, theirs in zip(outcome.rows, expected.rows, strict=True):
        width = float(ours["upper"]) - float(ours["value"])
        assert width == pytest.approx(float(theirs["upper"]) - float(theirs["value"]), abs=1e-9)
        assert width > 0
    assert picture.exists()


def test_text_has_no_values_to_forecast(cli, letters):
    cli("predict", letters.path).refused(2, str(letters.path), "lstmcast sample")


def test_too_little_data_for_a_sliding_window(cli, sines_config, tmp_path):
    kind = {"kind": "windowed_sine", "length": 200, "timesteps": 10}
    run = tmp_path / "windows"
    cli("train", "--config", sines_config(data=kind), "--output-dir", tmp_path, "--name", "windows").done()
    assert len(cli("predict", run, "--future", 3).done().rows) == 3
    data = tmp_path / "short.csv"
    data.write_text("value\n" + "1\n" * 9)
    cli("predict", run, "--data", data).refused(5, "10 values", "9")


@pytest.mark.parametrize("kind", ["csv", "json", "npz"])
def test_a_failed_write_leaves_the_old_file(cli, two, kind, tmp_path):
    target = tmp_path / f"forecast.{kind}"
    target.write_text("precious")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        outcome = cli("predict", two.path, "--format", kind, "-o", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    outcome.refused(9, str(target))
    assert target.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [target]


def test_only_regular_files_are_replaced(cli, two, tmp_path):
    # as -o /dev/null or -o /dev/stdout would be
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        assert cli("predict", two.path, "--future", 2, "-o", pipe).code in (0, 9)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("PDF", b"%PDF")])
def test_plot_beside_the_forecast(cli, two, suffix, magic, tmp_path):
    picture = tmp_path / f"forecast.{suffix}"
    outcome = cli("predict", two.path, "--future", 30, "--plot", picture).done()
    assert len(outcome.rows) == 60
    assert str(picture) in outcome.err
    assert picture.read_bytes().startswith(magic)


def test_damaged_runs(cli, damaged):
    best, config = damaged / "checkpoints" / "best.safetensors", damaged / "config.yaml"
    intact, text = best.read_bytes(), config.read_text()
    for content in (intact[:100], b"", b"\xff" * 1000):
        best.write_bytes(content)
        cli("predict", damaged).refused(5, "best.safetensors")
    best.unlink()
    cli("predict", damaged).refused(4, "best.safetensors")
    best.write_bytes(intact)
    config.write_text(text.replace("hidden_sizes: [4]", "hidden_sizes: [5]"))
    cli("predict", damaged).refused(5)
    config.unlink()
    cli("predict", damaged).refused(4, "config.yaml")
    config.write_text(text)
    (damaged / "run.json").unlink()
    cli("predict", damaged).refused(4, str(damaged))


@pytest.mark.parametrize("damage", ["missing", "another order", "scale 0"])
def test_a_damaged_linear_part(cli, timed, damage, tmp_path):
    run = shutil.copytree(timed.path, tmp_path / "run")
    best = run / "checkpoints" / "best.safetensors"
    intact = Checkpoint.load(best, 10**6)
    arrays = dict(intact.arrays)
    coefficients = arrays.pop("remainder.coefficients")
    assert coefficients.shape == (2, 7)
    if damage != "missing":
        arrays["remainder.coefficients"] = coefficients[:, :-1] if damage == "another order" else coefficients
    if damage == "scale 0":
        arrays["remainder.scale"] = np.zeros(2)
    Checkpoint(arrays, intact.facts).save(best)
    cli("predict", run).refused(5, "best.safetensors", "not a forecaster's checkpoint")
    intact.save(best)
    cli("predict", run, "--future", 3).done()


def test_changed_training_data_are_noticed(cli, two, two_config, tmp_path):
    run = shutil.copytree(two.path, tmp_path / "run")
    here = two_config().with_name("two.csv")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(two.config.with_name("two.csv")), str(here)))
    expected = cli("predict", two.path, "--future", 3).done().out
    assert cli("predict", run, "--future", 3).done().out == expected
    intact = here.read_text()
    here.write_text(intact.replace("\n0,0.0,", "\n0,0.5,"))
    cli("predict", run).refused(5, "mean", f"lstmcast predict {run} --data FILE")
    # the run's own scaler still serves for data that are named
    assert cli("predict", run, "--future", 3, "--data", here).done().out == expected
    here.unlink()
    for command in ("predict", "evaluate"):
        cli(command, run).refused(4, "two.csv: no such file", f"lstmcast predict {run} --data FILE")


def test_forecasts_bear_the_times_that_follow_those_of_the_file(cli, timed, tmp_path):
    last = datetime.fromisoformat(timed.config.with_name("timed.csv").read_text().splitlines()[-1].split(",")[0])
    expected = [(last + timedelta(hours=k)).isoformat() for k in (1, 2, 3)]
    rows = cli("predict", timed.path, "--future", 3, "--interval", 0.8).done().rows
    assert list(rows[0]) == ["series", "step", "value", "lower", "upper", "time"]
    times = [row["time"] for row in rows if row["series"] == "a"]
    assert [datetime.fromisoformat(time).isoformat() for time in times] == expected
    assert [row["time"] for row in rows if row["series"] != "a"] == times
    assert cli("predict", timed.path, "--future", 3, "--format", "json").done().json["times"] == times
    cli("predict", timed.path, "--future", 3, "--format", "npz", "-o", tmp_path / "f.npz").done()
    assert list(np.load(tmp_path / "f.npz")["times"]) == times
    with (timed.path / "forecast.csv").open() as file:
        rollout = [row["time"] for row in csv.DictReader(file) if row["series"] == "a"]
    assert datetime.fromisoformat(rollout[-1]) == last
    assert len(set(rollout)) == len(rollout)


def test_known_periods_go_on_where_the_clock_stands(cli, timed, tmp_path):
    source = timed.config.with_name("timed.csv")
    expected = cli("predict", timed.path, "--future", 30).done()
    assert "3 of 120 values are missing" in expected.err
    # the network reads 20 rows; the clock says where in the day they are
    later = tmp_path / "later.csv"
    header, *rows = source.read_text().splitlines()
    later.write_text("\n".join([header, *rows[-20:]]))
    outcome = cli("predict", timed.path, "--future", 30, "--data", later).done()
    for ours, theirs in zip(outcome.rows, expected.rows, strict=True):
        assert float(ours["value"]) == pytest.approx(float(theirs["value"]), abs=1e-9)
        assert ours["time"] == theirs["time"]
    later.write_text("\n".join([header, *rows[-21:-18], *rows[-17:]]))
    assert "1 of 21 values" in cli("predict", timed.path, "--future", 3, "--data", later).done().err
    later.write_text("\n".join(row.partition(",")[2] for row in [header, *rows[-20:]]))
    cli("predict", timed.path, "--data", later).refused(5, "no column is named 'when'")


@pytest.mark.parametrize("seconds", [900, 86400])
def test_rows_at_another_distance_than_the_runs_are_refused(cli, timed, seconds, tmp_path):
    def write(path, step, offset=0, rows=30):
        start = datetime(2011, 3, 1) + timedelta(seconds=offset)
        lines = [f"{start + timedelta(seconds=step * i)},{i % 5},1" for i in range(rows)]
        path.write_text("\n".join(["when,a,b", *lines]))
        return path

    apart = {900: "15 minutes", 86400: "1 day"}[seconds]
    other = write(tmp_path / "other.csv", seconds)
    message = f"{other}: rows are {apart} apart; the run was trained on rows 1 hour apart"
    cli("predict", timed.path, "--data", other).refused(5, message, "hint: ")
    near = write(tmp_path / "near.csv", 3600)
    assert "beside those of the run" not in cli("predict", timed.path, "--future", 2, "--data", near).done().err
    # the waves are those of the clock, between the run's hours too
    beside = write(tmp_path / "beside.csv", 3600, offset=1800)
    outcome = cli("predict", timed.path, "--future", 2, "--data", beside).done()
    assert "rows lie +0.5 steps beside those of the run" in outcome.err.replace("-0.5", "+0.5")
    cli("predict", timed.path, "--data", write(near, 3600, rows=1)).refused(5, "does not tell when its rows are")


def test_a_file_without_the_runs_times_is_read_with_a_warning(cli, two_config, tmp_path):
    config = two_config(data__time_column="when")
    cli("train", "--config", config, "--name", "clock", "--output-dir", tmp_path).done()
    data = config.with_name("two.csv")
    warning = "no times in a column 'when': missing rows would not be noticed"
    assert warning not in cli("predict", tmp_path / "clock", "--future", 2, "--data", data).done().err
    data.write_text("\n".join(row.partition(",")[2] for row in data.read_text().splitlines()))
    assert warning in cli("predict", tmp_path / "clock", "--future", 2, "--data", data).done().err


def test_samples_of_a_network_of_values_are_a_warning(cli, sines):
    plain, asked = (cli("predict", sines.path, "--future", 2, *more).done() for more in ((), ("--samples", 7)))
    assert asked.out == plain.out
    assert (plain.err, asked.err.count("warning: --samples")) == ("", 1)
