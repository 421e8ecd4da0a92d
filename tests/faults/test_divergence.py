"""Numbers that are not finite, in the data, the loss, the gradient, at any step, in any evaluation of an optimizer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lstmcast import runs
from lstmcast.config.load import load
from lstmcast.experiment import train_run
from lstmcast.network.numpy_engine import NumpyEngine
from lstmcast.stop import StopRequest
from lstmcast.training.checkpoints import Checkpoint

SGD = {"optimizer": {"kind": "sgd", "learning_rate": 0.01}, "schedule": {"kind": "constant"}}
SEARCH = {"optimizer": {"kind": "lbfgs"}, "schedule": {"kind": "constant"}, "training__batch_size": None}
TAKEN = {**SEARCH, "optimizer": {"kind": "lbfgs", "line_search": "none", "learning_rate": 0.1}}


@pytest.fixture
def spoil(monkeypatch):
    """Return a function that spoils the k-th evaluation of the loss, from 1, or all from there on."""

    def spoil(number, what, *, for_good=False):
        evaluate, calls = NumpyEngine.loss_and_gradient, 0

        def spoilt(self, batch):
            nonlocal calls
            calls += 1
            loss = evaluate(self, batch)
            if calls == number or (for_good and calls > number):
                if what == "gradient":
                    self.parameters.gradient[3] = np.nan
                    return loss
                self.parameters.gradient[:] = np.nan
                return {"nan": float("nan"), "inf": float("inf"), "1e27": 1e27}[what]
            return loss

        monkeypatch.setattr(NumpyEngine, "loss_and_gradient", spoilt)

    return spoil


def execute(config, folder):
    result = train_run.Training(load(str(config))).execute(folder, "run", "run", StopRequest())
    return result, runs.Run(folder / "run")


@pytest.mark.parametrize("what", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "lbfgs-taken"])
@pytest.mark.parametrize("at", [1, 3])
def test_it_is_found_before_the_optimizer_moves(trainings, make_config, folder, spoil, what, optimizer, at, count):
    changes = {"adam": {}, "sgd": SGD, "lbfgs-taken": TAKEN}[optimizer]
    spoil(at, what)
    result, run = execute(make_config(folder / "c.yaml", **changes, training__steps=5), folder)
    assert (result.status, result.exit_code) == ("diverged", 6)
    assert f"at step {result.step + 1} the " in result.reason
    assert "gradient" in result.reason if what == "gradient" else what in result.reason
    assert ("training.clip" in result.remedy) == (optimizer == "sgd")
    for path in (run.last, run.best):
        assert all(np.isfinite(array).all() for array in Checkpoint.load(path, 2**24).arrays.values())
    assert [record["step"] for record in run.read_metrics()] == list(range(1, result.step + 1))
    # the fault is gone: the run goes on from the step before it
    trainings.resume(run)
    assert run.read_manifest()["status"] == "finished"
    count("losses and gradients spoilt")


@pytest.mark.parametrize("what", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("at", [2, 3, 5, 9])
def test_a_line_search_turns_back_from_a_spoilt_trial_point(trainings, make_config, folder, spoil, what, at, count):  # noqa: ARG001
    config = make_config(folder / "c.yaml", **SEARCH, training__steps=3, training__validation=None)
    spoil(at, what)
    result, run = execute(config, folder)
    losses = [record["loss"] for record in run.read_metrics()]
    assert result.status == "finished"
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    count("losses and gradients spoilt")


def test_a_divergence_is_retried_with_a_lower_rate(trainings, make_config, folder, spoil, count):  # noqa: ARG001
    config = make_config(folder / "c.yaml", training__steps=6, training__retries={"times": 2, "factor": 0.25}, **SGD)
    spoil(3, "nan")
    result, run = execute(config, folder)
    assert (result.status, result.step) == ("finished", 6)
    rates = [record["learning_rate"] for record in run.read_metrics()]
    assert rates == [0.01, 0.01] + 4 * [0.0025]
    count("losses and gradients spoilt")


def test_it_is_retried_as_often_as_it_may(trainings, make_config, folder, spoil, count):  # noqa: ARG001
    config = make_config(folder / "c.yaml", training__retries={"times": 2}, **SGD)
    spoil(3, "1e27", for_good=True)
    result, run = execute(config, folder)
    assert (result.status, result.step, result.exit_code) == ("diverged", 2, 6)
    assert result.reason.startswith("at step 3 the ")
    assert result.reason.endswith("after 2 retries with a lower learning rate")
    assert json.loads(run.manifest.read_text())["status"] == "diverged"
    count("losses and gradients spoilt")


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "lbfgs", "levenberg_marquardt"])
def test_a_retried_training_resumes_to_the_same_bytes(trainings, make_config, folder, spoil, optimizer, count):
    changes = {"training__steps": 6, "training__retries": {}, "optimizer": {"kind": optimizer}}
    changes |= {"schedule": {"kind": "cosine"}, "training__rollout": None}
    config = make_config(folder / "c.yaml", **changes)
    ends = []
    for cut in (None, 4):
        spoil(3 if optimizer != "lbfgs" else 1, "nan")
        training = train_run.Training(load(str(config)))
        training.execute(
            folder, f"run-{cut}", "run", StopRequest(also=lambda at=cut, it=training: it.trainer.step == at)
        )
        run = runs.Run(folder / f"run-{cut}")
        if cut:
            assert run.read_manifest()["status"] == "stopped"
            trainings.resume(run)
        ends.append(trainings.result(run))
    assert ends[0] == ends[1]
    count("resumes, bit-equal")
