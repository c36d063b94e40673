"""Batches that other processes read."""

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np
from absl import flags

from gramalign.data.store import FeatureStore

SHARED = "/dev/shm"
_AHEAD = 4  # most batches of one worker in shared memory: read, sent, and received


def in_workers(
    filled: grain.IterDataset, workers: int, *, store: FeatureStore, batch_size: int
) -> grain.IterDataset:
    """The same batches in the same order, read by processes that take turns.

    Each opens the store anew and reads rows by itself; rows that it finds lost come under "lost" in
    a batch, and are recorded in `store` here.

    Args:
        filled: the batches.
        workers: number of processes, at least 1.
        store: where the batches come from.
        batch_size: rows per batch.

    Raises:
        OSError: there is too little shared memory for that many batches.
    """
    _check_memory(workers, batch_size * sum(store.dims.values()) * np.float32().nbytes)
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # which Grain asks before it starts a process

    def received(batch: dict[str, Any]) -> dict[str, Any]:
        # Copied, so that shared memory is free again at once, whoever keeps the batch.
        batch = jax.tree.map(np.array, batch)
        store.lose(batch.pop("lost"))
        return batch

    return filled.mp_prefetch(grain.MultiprocessingOptions(workers), _begin).map(received)


def next_of(batches: Iterator[Any]) -> Any:
    """The next batch.

    Raises:
        ChildProcessError: a reading process was ended by something other than this process.
    """
    # The first call starts the processes. They inherit that SIGTERM waits, until they ignore it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return next(batches)
    except RuntimeError as error:
        code = re.search(r"terminated unexpectedly with exit code (-?\d+)", str(error))
        if code is None:
            raise
        why = (
            "by a signal: -9 usually means that memory ran out, so use fewer workers, or none"
            if code[1].startswith("-")
            else "for the reason above. A script must keep its work under "
            '`if __name__ == "__main__":`, or each such process would repeat it'
        )
        raise ChildProcessError(
            f"a process that reads batches ended with status {code[1]}, {why}"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(worker: int, workers: int) -> None:
    """Run first by each process: it ends with the process that started it, not before.

    A scheduler sends SIGTERM to all processes of a run, but the run needs batches until it is
    saved. And a run that is killed tells nobody, and its readers would keep their memory for ever.
    """
    del worker, workers
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _check_memory(workers: int, size: int) -> None:
    """Raises before a process finds shared memory full, and is killed without a message."""
    if not os.path.isdir(SHARED):
        return
    about = os.statvfs(SHARED)
    wanted, free = workers * _AHEAD * size, about.f_bavail * about.f_frsize
    if wanted > free:
        raise OSError(
            f"{workers} workers hand over batches of {size / 2**20:.1f} MiB in shared memory, for "
            f"which they need {wanted / 2**20:.0f} MiB, but {SHARED} has {free / 2**20:.0f}: use "
            "fewer workers, or none, or give the container more (docker run --shm-size)"
        )
