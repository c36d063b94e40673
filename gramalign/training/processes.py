"""Coordination between the processes of one run."""

import re
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array

from gramalign.training.checks import check


def is_first_process() -> bool:
    """Whether this is the process that writes the run's files."""
    return jax.process_index() == 0


def meet(name: str) -> None:
    """Waits until all processes have reached the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def agreed(decision: Any) -> Any:
    """The first process's value, a bool or a number, in all processes."""
    if jax.process_count() == 1:
        return decision
    return multihost_utils.broadcast_one_to_all(np.array(decision)).item()


def on_host(x: Array | np.ndarray) -> np.ndarray:
    """A whole array, wherever its shards are; all processes must call this."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return np.asarray(multihost_utils.process_allgather(x, tiled=True))
    return np.asarray(x)


@dataclass(frozen=True)
class Cluster:
    """Several processes that train one run together; start this command once for each."""

    join: bool = False
    """Join the processes of a TPU pod, Slurm, Open MPI or Kubernetes, found automatically."""
    coordinator: str | None = None
    """HOST:PORT of the first process, to join without such a system."""
    processes: int | None = None
    """Number of processes, with --cluster.coordinator."""
    process: int | None = None
    """Number of this process, from 0, with --cluster.coordinator."""
    timeout: int = 100
    """Seconds without a sign of life after which a process counts as dead and the others end."""

    def __post_init__(self):
        named = [self.coordinator, self.processes, self.process]
        check(
            self,
            "coordinator",
            None not in named or not any(x is not None for x in named),
            "HOST:PORT, with the number of processes and of this process",
        )
        place = self.coordinator
        valid = place is None or re.fullmatch(r".+:\d+", place) is not None
        check(self, "coordinator", valid, "HOST:PORT, such as 10.0.0.1:1234")
        check(self, "timeout", self.timeout >= 1, "at least 1")

    def enter(self) -> None:
        """Joins the other processes, if there are any; call it before anything is computed.

        Raises:
            ConnectionError: there is no other process to join.
        """
        if not (self.join or self.coordinator) or jax.distributed.is_initialized():
            return
        try:
            jax.distributed.initialize(
                self.coordinator,
                self.processes,
                self.process,
                heartbeat_timeout_seconds=self.timeout,
            )
        except (ValueError, RuntimeError) as error:
            raise ConnectionError(
                f"cannot join other processes: {str(error).rstrip('.')}. Where no cluster system "
                "lists them, give --cluster.coordinator HOST:PORT, --cluster.processes and "
                "--cluster.process"
            ) from error
