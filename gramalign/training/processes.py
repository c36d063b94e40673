"""Coordination between the processes of one run."""

import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array

from gramalign.error_text import text_of
from gramalign.training.checks import check

_log = logging.getLogger(__name__)

_JOINED_WITHIN = 300  # seconds: machines may start minutes apart

Facts = Mapping[str, Any]
"""JSON-compatible values, by name."""


def is_first_process() -> bool:
    """Whether this is the process that writes the run's files."""
    return jax.process_index() == 0


def meet(name: str) -> None:
    """Waits until all processes have reached the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def from_all(text: str) -> list[str]:
    """The texts of all processes, in their order; all must call this."""
    if jax.process_count() == 1:
        return [text]
    own = np.frombuffer(text.encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.int32(len(own)))
    padded = np.zeros(max(1, sizes.max()), np.uint8)
    padded[: len(own)] = own
    rows = multihost_utils.process_allgather(padded)
    return [bytes(row[:size]).decode() for row, size in zip(rows, sizes, strict=True)]


def agreed(decision: Any) -> Any:
    """The first process's value, a bool or a number, to the last digit, in all processes."""
    # As text, as in a log, where a resumed run finds it: JAX would round it to float32.
    return json.loads(from_all(json.dumps(decision))[0])


@contextlib.contextmanager
def together() -> Iterator[None]:
    """A block that raises in all processes if it does in one; all must enter it.

    Otherwise, where one finds no data or may not write, the others would wait for it.

    Raises:
        ConnectionError: it has raised in another process, whose error is named.
    """
    failed = None
    try:
        yield
    except Exception as error:
        failed = error
    said = "" if failed is None else text_of(failed)
    told = from_all(said or type(failed).__name__ if failed else "")
    if failed is not None:
        raise failed
    for process, error in enumerate(told):
        if error:
            raise ConnectionError(f"process {process} cannot go on: {error}")


def check_alike(facts: Facts) -> None:
    """Raises a ValueError, in all processes, unless all have the same facts."""
    told = [json.loads(text) for text in from_all(json.dumps(facts))]
    for process, theirs in enumerate(told):
        names = dict.fromkeys([*told[0], *theirs])
        differing = [
            f"{name}: {told[0].get(name)!r} in process 0, {theirs.get(name)!r} in {process}"
            for name in names
            if told[0].get(name) != theirs.get(name)
        ]
        if differing:
            raise ValueError(
                "the processes of a run must be started alike, but differ in "
                f"{'; '.join(differing)}: give all the same options, data and versions"
            )


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
        # If one never comes, as it was refused, JAX ends those that wait without an explanation.
        _log.info("waiting for the other processes, at most %d s", _JOINED_WITHIN)
        try:
            jax.distributed.initialize(
                self.coordinator,
                self.processes,
                self.process,
                initialization_timeout=_JOINED_WITHIN,
                heartbeat_timeout_seconds=self.timeout,
                # One that ends with an error of its own waits for the others, who wait for it.
                shutdown_timeout_seconds=self.timeout,
            )
        except (ValueError, RuntimeError) as error:
            raise ConnectionError(
                f"cannot join other processes: {str(error).rstrip('.')}. Where no cluster system "
                "lists them, give --cluster.coordinator HOST:PORT, --cluster.processes and "
                "--cluster.process"
            ) from error
