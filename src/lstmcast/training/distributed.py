"""Data-parallel training: under ``torchrun`` each process computes its share of every batch.

All processes draw the same batches from the same seeds and hold the same parameters. As the gradient is one vector,
one all-reduce adds up the shares; nothing else has to be kept in step but the wish to stop and the validation metric.
The first process alone writes. Source of the variables: https://docs.pytorch.org/docs/stable/elastic/run.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from lstmcast.data.batches import Batch
from lstmcast.network.engine import TrainingEngine
from lstmcast.network.processes import loss_and_gradient_of
from lstmcast.stop import Stopped


def processes() -> int:
    """Return how many processes train together; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def follows() -> bool:
    """Whether another process, the first one, does the writing."""
    return processes() > 1 and os.environ.get("RANK") != "0"


class DataParallel:
    """An engine whose loss and gradient are those of the whole batch, computed by all processes together."""

    def __init__(self, engine: TrainingEngine) -> None:
        """Join the other processes; gloo serves parameters in memory, NCCL those on a GPU."""
        if not dist.is_initialized():
            dist.init_process_group()
        self.network, self.parameters = engine.network, engine.parameters
        self._engine = engine

    def loss_and_gradient(self, batch: Batch) -> float:
        """Return the loss of the whole batch; overwrite ``parameters.gradient`` with its gradient.

        Raises:
            Stopped: if another process is gone.
        """
        gradient = self.parameters.gradient
        loss = loss_and_gradient_of(self._engine, *batch.share(dist.get_rank(), dist.get_world_size()))
        message = torch.from_numpy(np.append(gradient, np.asarray(loss, gradient.dtype)))
        if not _summed(message):
            raise Stopped("the end of another process")
        gradient[:] = message[:-1].numpy()
        return float(message[-1])

    def compile(self) -> bool:
        """Be faster from now on, if it can, and return whether it is."""
        return self._engine.compile()


def _summed(message: Tensor) -> bool:
    """Add up a message over all processes, in place; False if one of them is gone."""
    try:
        dist.all_reduce(message)
    except RuntimeError:
        return False
    return True


def anyone(stop: Callable[[], bool]) -> Callable[[], bool]:
    """Let one process's wish to stop, or its end, stop them all at the same evaluation."""

    def agreed() -> bool:
        wishes = torch.tensor([float(stop())])
        return not _summed(wishes) or bool(wishes.item())

    return agreed


def from_the_first(measure: Callable[[], float]) -> Callable[[], float]:
    """Let the first process measure for all: what the others decide by must not differ in a last bit."""

    def measured() -> float:
        metric = torch.tensor([measure() if dist.get_rank() == 0 else 0.0], dtype=torch.float64)
        return float(metric.item()) if _summed(metric) else float("nan")

    return measured


def leave() -> None:
    """Wait until all processes are done, so that none is ended while the first still writes."""
    with suppress(RuntimeError):
        dist.barrier()
    dist.destroy_process_group()
