"""The package from Python: the page's code runs, results are the command line's, importing is light."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lstmcast
from lstmcast.experiment.own_data import series_of

PAGE = Path(__file__).parent.parent / "docs" / "how-do-i-use-it-from-python.md"
SMALL = {"training.steps": 5, "then": []}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with outputs and a daily series of two columns."""
    folder = tmp_path_factory.mktemp("api")
    t = np.arange(300)
    days = np.datetime64("2024-01-01") + t
    rows = [f"{day},{np.sin(k / 5):.6f},{np.cos(k / 7):.6f}" for k, day in zip(t, days, strict=True)]
    (folder / "two.csv").write_text("\n".join(["day,a,b", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    overrides = {
        **SMALL,
        "data.path": str(folder / "two.csv"),
        "data.columns": ["a", "b"],
        "data.time_column": "day",
    }
    return lstmcast.train("sunspots", overrides=overrides, name="two", output_dir=folder / "outputs")


def command(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "lstmcast", *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def test_importing_is_light():
    loaded = subprocess.run(
        [sys.executable, "-c", "import lstmcast, sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "torch", "matplotlib", "pydantic", "lstmcast.api"} & set(loaded)


def test_every_public_name_is_there():
    for name in lstmcast.__all__:
        assert getattr(lstmcast, name)
        assert name in dir(lstmcast)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = lstmcast.trian


def test_the_code_of_the_page_runs(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 5
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["figure"].axes
    assert names["report"].passed


def test_results_are_those_of_the_command_line(run, folder):
    forecast = run.forecast(5, interval=0.8)
    told = json.loads(command(folder, "predict", run.path, "--future", 5, "--interval", 0.8, "--json").stdout)
    N, steps, F = forecast.values.shape
    assert (N, steps, F) == (1, 5, 2)
    np.testing.assert_allclose(told["series"], forecast.values[0].T, rtol=1e-12)
    np.testing.assert_allclose(told["lower"], forecast.lower[0].T, rtol=1e-12)
    np.testing.assert_allclose(told["upper"], forecast.upper[0].T, rtol=1e-12)
    assert told["times"] == forecast.times == [f"2024-10-{day}" for day in range(27, 32)]
    assert told["labels"] == forecast.labels == ["a", "b"]
    evaluation = run.evaluate([1, 10], origins=3)
    told = json.loads(command(folder, "evaluate", run.path, "--horizons", "1,10", "--origins", 3, "--json").stdout)
    assert told["rollout"]["rmse"]["10"] == pytest.approx(evaluation.model.rollout[10], rel=1e-12)
    assert told["verdict"] == evaluation.verdict.text


def test_a_frame_an_array_and_a_file_give_the_same(run, folder):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(folder / "two.csv", index_col="day", parse_dates=["day"])
    by_file = run.forecast(4, data=folder / "two.csv")
    by_frame = run.forecast(4, data=frame[["b", "a"]])  # the run's own order
    with pytest.warns(UserWarning, match="no times"):
        by_array = run.forecast(4, data=frame.to_numpy())
    np.testing.assert_array_equal(by_file.values, by_frame.values)
    np.testing.assert_array_equal(by_file.values, by_array.values)
    assert by_array.times is None
    shown = by_frame.to_frame()
    assert list(shown.columns) == ["a", "b"]
    assert shown.index[0] == pandas.Timestamp("2024-10-27")
    assert by_file.times[0] == "2024-10-27"
    renamed = run.forecast(4, data=frame.rename(columns={"a": "x", "b": "y"}), columns=["x", "y"])
    np.testing.assert_array_equal(renamed.values, by_file.values)


def test_several_series_have_two_indices():
    pytest.importorskip("pandas")
    from lstmcast.experiment.forecast import Forecast
    from lstmcast.experiment.own_data import Start

    start = Start(np.zeros((2, 3, 1)), None, None)
    frame = Forecast(np.arange(24.0).reshape(2, 4, 1, 3), ("y",), "t", start, 0.9).to_frame()
    assert list(frame.columns) == ["y", "y_lower", "y_upper"]
    assert frame.index.names == ["series", "step"]
    assert frame.loc[(1, 1), "y_upper"] == 14


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((5, 3)), "the run forecasts 2 columns"),
        (np.zeros(5), "the run forecasts 2 columns"),
        (np.full((5, 2), np.nan), "row 0 of column 'a' is nan"),
        (np.zeros((0, 2)), "shape"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, message):
    with pytest.raises(lstmcast.LstmcastError, match=message):
        series_of(data, ("a", "b"))


def test_frames_that_do_not_fit_are_refused():
    pandas = pytest.importorskip("pandas")
    days = pandas.to_datetime(["2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05"])
    for frame, message in (
        (pandas.DataFrame({"a": [1.0] * 4}, index=days), "rows are missing"),
        (pandas.DataFrame({"a": [1.0] * 4}, index=days[::-1]), "lies before that"),
    ):
        with pytest.raises(lstmcast.LstmcastError, match=message):
            series_of(frame, ("a",))
    with pytest.raises(lstmcast.LstmcastError, match="no column 'b'"):
        series_of(pandas.DataFrame({"a": [1.0]}), ("a",), ["b"])


def test_a_training_stops_and_resumes(tmp_path):
    config = lstmcast.load_config("sunspots", {"training.steps": 30, "then": []})
    with pytest.warns(UserWarning, match="stopped"):
        stopped = lstmcast.train(config, name="s", output_dir=tmp_path, max_time=1e-9)
    assert stopped.status == "stopped"
    seen = []
    finished = stopped.resume(on_step=lambda record: seen.append(record.step))
    assert (finished.status, finished.path) == ("finished", stopped.path)
    assert seen[-1] == 30
    straight = lstmcast.train(config, name="t", output_dir=tmp_path)
    losses = [[step["loss"] for step in one.metrics] for one in (finished, straight)]
    assert losses[0] == losses[1]
    with pytest.raises(lstmcast.LstmcastError, match="finished"):
        finished.resume()
    assert lstmcast.load_run("s", tmp_path).path == stopped.path
    assert "finished" in repr(finished)


@pytest.mark.parametrize("kind", ["rollout", "loss", "horizon", "phase", "gates"])
def test_every_picture(run, kind):
    assert run.plot(kind).axes


def test_what_makes_no_sense_is_refused(run, tmp_path):
    for call, message in (
        (lambda: lstmcast.load_config("sunspot"), "did you mean|no such file"),
        (lambda: lstmcast.load_config("sunspots", {"model.cel": "gru"}), "model.cel"),
        (lambda: lstmcast.load_run("nothing", tmp_path), "nothing"),
        (lambda: run.forecast(0), "steps 0"),
        (lambda: run.forecast(3, interval=2), "between 0 and 1"),
        (lambda: run.evaluate([]), "1 or more"),
        (lambda: lstmcast.train(run.config, overrides={"seed": 1}), "load_config"),
    ):
        with pytest.raises(lstmcast.LstmcastError, match=message):
            call()
