"""Worker processes on a Dask cluster.

They need no common file system: a trial's run comes back as a zip file. Source: https://distributed.dask.org
"""

from __future__ import annotations

import io
import queue
import secrets
import shutil
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lstmcast.errors import MissingExtraError, NotFoundError
from lstmcast.sweeps.trial import Ended, Order, Progress, Word, train_trial

CONNECT_WITHIN = 5.0
REPORT_EVERY = 2.0
# a worker with several threads trains one trial after another all the same
_one_at_a_time = threading.Lock()


class ClusterWorkers:
    """The workers of a Dask scheduler; it gives a trial whose worker is gone to another one."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            MissingExtraError: if Dask is not installed.
            NotFoundError: if no scheduler answers.
        """
        try:
            import distributed
        except ImportError:
            raise MissingExtraError("--cluster", "dask") from None
        try:
            # a client for what is no address could not even be closed
            distributed.comm.resolve_address(address)
            self._client = distributed.Client(address, timeout=CONNECT_WITHIN, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise NotFoundError(
                f"--cluster {address}: no scheduler answers there: {error}", "start one: dask scheduler"
            ) from None
        self._executor = self._client.get_executor(pure=False)
        self._reports: queue.SimpleQueue[Progress] = queue.SimpleQueue()
        # names on the scheduler, which other sweeps use too
        self._topic = f"lstmcast-{secrets.token_hex(8)}"
        self._client.subscribe_topic(self._topic, lambda event: self._reports.put(Progress(**event[1]["report"])))

    @property
    def slots(self) -> int:
        """How many trials can run at once, with the workers that there are now."""
        return len(self._client.nthreads())

    def submit(self, order: Order, folder: Path) -> Future[Ended]:
        """Hand a trial to the scheduler."""
        future: Future[Ended] = Future()

        def receive(done: Future[tuple[Ended, bytes]]) -> None:
            try:
                ended, packed = done.result()
                if packed:
                    _unpack(packed, folder / order.name)
                future.set_result(ended)
            except BaseException as error:
                future.set_exception(error)

        self._executor.submit(_train_there, order, self._topic).add_done_callback(receive)
        return future

    def reports(self) -> Iterator[Progress]:
        """Yield what the trials have reported since the last call."""
        while not self._reports.empty():
            yield self._reports.get()

    def tell(self, number: int, word: Word) -> None:
        """Say something to a running trial."""
        import distributed

        distributed.Event(_event(self._topic, number, word), client=self._client).set()

    def close(self) -> None:
        """Let go of the cluster."""
        self._executor.shutdown(wait=False)
        self._client.close()


def _event(topic: str, number: int, word: Word) -> str:
    return f"{topic}-{number}-{word}"


def _train_there(order: Order, topic: str) -> tuple[Ended, bytes]:
    """Train a trial on a worker; return its run, unless it has been stopped."""
    import distributed

    worker: Any = distributed.get_worker()

    def told() -> Word | None:
        words: tuple[Word, ...] = ("stop", "prune")
        return next((word for word in words if distributed.Event(_event(topic, order.number, word)).is_set()), None)

    def report(progress: Progress) -> None:
        # wrapped, for Dask adds keys of its own to what is sent
        worker.log_event(topic, {"report": vars(progress)})

    with _one_at_a_time, TemporaryDirectory(prefix="lstmcast-") as folder:
        ended = train_trial(order, Path(folder), report, told, REPORT_EVERY)
        return ended, b"" if ended.status == "stopped" else _pack(Path(folder) / order.name)


def _pack(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return buffer.getvalue()


def _unpack(packed: bytes, folder: Path) -> None:
    """Put a run in its place, whole or not at all."""
    with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            archive.extractall(Path(temporary) / folder.name)
        shutil.rmtree(folder, ignore_errors=True)
        (Path(temporary) / folder.name).rename(folder)
