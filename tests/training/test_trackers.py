"""What TensorBoard and MLflow show is what was trained, read back with their own readers."""

import pytest

from lstmcast.training import trackers
from lstmcast.training.trackers import Tracking


@pytest.fixture
def tracking():
    warnings = []
    tracking = Tracking(warnings.append)
    tracking.warnings = warnings
    return tracking


def track(tracking, name, run, steps, first_step=0, status="finished"):
    run.mkdir(exist_ok=True)
    tracking.start([name], run, {"optimizer.kind": "adam", "long": "x" * 9000}, first_step)
    for step in steps:
        tracking.record({"step": step, "loss": 1 / step, "learning_rate": 0.1, "validation": None})
    tracking.close(status)


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_tensorboard_after_going_on(tracking, tmp_path):
    track(tracking, "tensorboard", tmp_path / "run", range(1, 6), status="stopped")
    # stopped after step 5, but saved after step 3: two are done again
    track(tracking, "tensorboard", tmp_path / "run", range(4, 9), first_step=3)
    shown = events(tmp_path / "run")
    assert shown.Tags()["scalars"] == ["loss", "learning_rate"]
    assert [event.step for event in shown.Scalars("loss")] == list(range(1, 9))
    assert [event.value for event in shown.Scalars("loss")] == pytest.approx([1 / step for step in range(1, 9)])
    assert tracking.warnings == []


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    for name, value in trackers.MLFLOW.items():
        monkeypatch.setenv(name, value)
    return MlflowClient(tracking_uri=(tmp_path / "store").as_uri())


def test_mlflow_after_going_on(tracking, tmp_path, mlflow):
    track(tracking, "mlflow", tmp_path / "run", range(1, 4), status="stopped")
    (run,) = mlflow.search_runs([mlflow.get_experiment_by_name("lstmcast").experiment_id])
    assert run.info.status == "KILLED"
    track(tracking, "mlflow", tmp_path / "run", range(4, 6), first_step=3)
    track(tracking, "mlflow", tmp_path / "other", range(1, 2), status="diverged")
    number = mlflow.get_experiment_by_name("lstmcast").experiment_id
    runs = {run.info.run_name: run for run in mlflow.search_runs([number])}
    assert {name: run.info.status for name, run in runs.items()} == {"run": "FINISHED", "other": "FAILED"}
    assert runs["run"].data.params["optimizer.kind"] == "adam"
    history = mlflow.get_metric_history(runs["run"].info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 1 / step) for step in range(1, 6)]
    assert tracking.warnings == []


def test_many_steps_reach_mlflow(tracking, tmp_path, mlflow):
    track(tracking, "mlflow", tmp_path / "run", range(1, 1501))
    (run,) = mlflow.search_runs([mlflow.get_experiment_by_name("lstmcast").experiment_id])
    assert len(mlflow.get_metric_history(run.info.run_id, "loss")) == 1500


def test_a_server_that_is_not_there_costs_one_warning(tracking, tmp_path, mlflow, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    track(tracking, "mlflow", tmp_path / "run", range(1, 100))
    assert len(tracking.warnings) == 1
    assert "tracker mlflow failed" in tracking.warnings[0]


def test_a_tracker_that_fails_on_the_way_leaves_the_others(tracking, tmp_path, monkeypatch):
    class Failing(trackers.TensorBoard):
        def scalars(self, step, values):
            if step == 3:
                raise RuntimeError("disk full")
            super().scalars(step, values)

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", Failing)
    (tmp_path / "a").mkdir()
    tracking.start(["mlflow"], tmp_path / "a", {}, 0)
    track(tracking, "tensorboard", tmp_path / "b", range(1, 6))
    assert tracking.warnings == ["tracker mlflow failed and is left out from here on: RuntimeError: disk full"]
    assert len(events(tmp_path / "b").Scalars("loss")) == 5
