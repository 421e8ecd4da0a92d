import sys

import pytest


def test_a_training_in_tensorboard(cli, sines, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    options = ("--config", sines.config, "--output-dir", tmp_path, "--name", "x", "--json")
    document = cli("train", *options, "tracker=[tensorboard]").done().json
    shown = EventAccumulator(str(tmp_path / "x" / "tensorboard"))
    shown.Reload()
    assert {"loss", "learning_rate", "gradient_norm", "score/rollout/rmse/100"} <= set(shown.Tags()["scalars"])
    assert [event.step for event in shown.Scalars("loss")] == [1, 2, 3]
    expected = document["rollout"]["rmse"]["100"]
    assert shown.Scalars("score/rollout/rmse/100")[0].value == pytest.approx(expected)
    assert shown.Tags()["images"] == ["loss", "rollout"]
    # the tracker is no part of what decides the run
    for name in ("metrics.jsonl", "forecast.csv"):
        assert (tmp_path / "x" / name).read_bytes() == (sines.path / name).read_bytes()
    groups = cli("compare", tmp_path / "x", sines.path, "--json").done().json["groups"]
    assert len(groups) == 1


def test_a_missing_extra_is_said_before_training(cli, sines, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    options = ("--config", sines.config, "--output-dir", tmp_path / "o", "tracker=[mlflow]")
    cli("train", *options).refused(3, "tracker: mlflow", "pip install 'lstmcast[mlflow]'")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("value", "needle"), [("[wandb]", "tensorboard, mlflow"), ("[mlflow, mlflow]", "twice")])
def test_wrong_trackers(cli, sines, value, needle):
    cli("train", "--config", sines.config, f"tracker={value}").refused(2, "tracker", needle)
