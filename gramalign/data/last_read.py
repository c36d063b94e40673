"""Rows that are read for all modalities at once."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import Int

Found = TypeVar("Found")


class LastRead(Generic[Found]):
    """What was read of some rows, kept until others are asked for.

    All modalities of a batch are read in turn, from the same records. Threads may share it.

    Args:
        read: from row numbers to what is there.
    """

    def __init__(self, read: Callable[[Int[np.ndarray, " n"]], Found]):
        self._read = read
        self._lock = threading.Lock()
        self._last: tuple[bytes, Found] | None = None

    def __call__(self, rows: Int[np.ndarray, " n"]) -> Found:
        """What is there in these rows; as it is kept, it must not be written to."""
        rows = np.asarray(rows, np.int64)
        key = rows.tobytes()
        with self._lock:
            if self._last is None or self._last[0] != key:
                self._last = key, self._read(rows)
            return self._last[1]
