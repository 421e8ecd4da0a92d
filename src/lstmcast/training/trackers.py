"""Other people's tools for watching a training: TensorBoard and MLflow. None of them can stop it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from lstmcast.errors import MissingExtraError

TrackerName = Literal["tensorboard", "mlflow"]
# how MLflow should behave if the user's environment does not say otherwise
MLFLOW = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # a folder of files is all that one user needs
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nobody else has to know
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is gone must not hold up the training
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
# seconds between two messages to MLflow's server, which may be far away
SEND_EVERY = 5.0
# MLflow takes no more in one message, and no longer values of a parameter
MAX_METRICS = 1000
MAX_PARAMETERS = 100
MAX_VALUE = 500


class Tracker(Protocol):
    """Shows numbers and pictures of one run."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Show numbers of one step."""
        ...

    def picture(self, step: int, path: Path) -> None:
        """Show a PNG file."""
        ...

    def close(self, status: str) -> None:
        """End with what became of the run: ``finished``, ``stopped``, ``diverged`` or ``failed``."""
        ...


class TensorBoard:
    """Writes event files into the run's folder: ``tensorboard --logdir outputs`` shows them.

    Source: https://docs.pytorch.org/docs/stable/tensorboard.html
    """

    def __init__(self, run: Path, settings: Mapping[str, Any], first_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # what was written of the steps that are done again is dropped
        self._writer: Any = SummaryWriter(run / "tensorboard", purge_step=first_step + 1)
        if first_step == 0:
            lines = "\n".join(f"    {key}: {value}" for key, value in settings.items())
            self._writer.add_text("config", lines)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each number's curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, path: Path) -> None:
        """Add an image."""
        import numpy as np
        from PIL import Image

        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(path.stem, pixels, step, dataformats="HWC")

    def close(self, status: str) -> None:  # noqa: ARG002
        """Write what is left."""
        self._writer.close()


class MLflow:
    """Sends to the server or folder in ``MLFLOW_TRACKING_URI``, else to ``mlruns`` beside the run.

    The experiment is ``MLFLOW_EXPERIMENT_NAME``, else ``lstmcast``. A run that resumes does so in MLflow too.
    Source: https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html
    """

    def __init__(self, run: Path, settings: Mapping[str, Any], first_step: int) -> None:
        for variable, value in MLFLOW.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric, self._sent = Metric, time.monotonic()
        self._waiting: list[Any] = []
        place = os.environ.get("MLFLOW_TRACKING_URI") or (run.resolve().parent / "mlruns").as_uri()
        self._client = MlflowClient(tracking_uri=place)
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "lstmcast"
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        tag = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:32]
        known = first_step and self._client.search_runs([number], f"tags.`lstmcast.folder` = '{tag}'", max_results=1)
        if known:
            self._id = known[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        self._id = self._client.create_run(number, run_name=run.name, tags={"lstmcast.folder": tag}).info.run_id
        parameters = [Param(key, str(value)[:MAX_VALUE]) for key, value in settings.items()]
        for start in range(0, len(parameters), MAX_PARAMETERS):
            self._client.log_batch(self._id, params=parameters[start : start + MAX_PARAMETERS])

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Queue the numbers, and send the queue now and then."""
        now = int(time.time() * 1000)
        self._waiting += [self._metric(name, value, now, step) for name, value in values.items()]
        if time.monotonic() - self._sent >= SEND_EVERY or len(self._waiting) > MAX_METRICS - 100:
            self._send()

    def _send(self) -> None:
        waiting, self._waiting, self._sent = self._waiting, [], time.monotonic()
        for start in range(0, len(waiting), MAX_METRICS):
            self._client.log_batch(self._id, metrics=waiting[start : start + MAX_METRICS])

    def picture(self, step: int, path: Path) -> None:  # noqa: ARG002
        """Send the file as an artifact."""
        self._client.log_artifact(self._id, str(path))

    def close(self, status: str) -> None:
        """Send what is left, and how the run ended."""
        self._send()
        ends = {"finished": "FINISHED", "stopped": "KILLED"}
        self._client.set_terminated(self._id, ends.get(status, "FAILED"))


TRACKERS: dict[TrackerName, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
}


def require(names: Sequence[TrackerName]) -> None:
    """Refuse trackers that are not installed, before anything is trained.

    Raises:
        MissingExtraError: if one is not.
    """
    for name in names:
        if find_spec(name) is None:
            raise MissingExtraError(f"tracker: {name}", name)


class Tracking:
    """All trackers of a run; one that fails is dropped with a warning, and the training continues."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._open: dict[TrackerName, Tracker] = {}

    def start(self, names: Sequence[TrackerName], run: Path, settings: Mapping[str, Any], first_step: int) -> None:
        """Open the trackers of a run that begins after ``first_step``."""
        for name in names:
            with self._harmless(name):
                self._open[name] = TRACKERS[name](run, settings, first_step)

    def record(self, record: Mapping[str, Any]) -> None:
        """Show a step's loss, learning rate, gradient norm and perhaps validation."""
        values = {name: value for name, value in record.items() if name != "step" and value is not None}
        for name, tracker in list(self._open.items()):
            with self._harmless(name):
                tracker.scalars(record["step"], values)

    def finish(self, step: int, scores: Mapping[str, Any], pictures: Sequence[Path]) -> None:
        """Show the scores as ``score/rollout/rmse/100``, and the pictures."""
        values = dict(_numbers("score", scores))
        for name, tracker in list(self._open.items()):
            with self._harmless(name):
                tracker.scalars(step, values)
                for path in pictures:
                    tracker.picture(step, path)

    def close(self, status: str) -> None:
        """Close all."""
        for name, tracker in list(self._open.items()):
            with self._harmless(name):
                tracker.close(status)
        self._open.clear()

    def __enter__(self) -> Tracking:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what an error has left open."""
        self.close("failed")

    @contextmanager
    def _harmless(self, name: TrackerName) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._open.pop(name, None)
            self._warn(f"tracker {name} failed and is left out from here on: {type(error).__name__}: {error}")


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """Yield the numbers in nested mappings by their paths."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, int | float):
        yield name, float(value)
