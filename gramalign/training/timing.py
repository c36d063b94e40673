"""The time and memory that a run takes, which depend on the machine."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from typing import Literal

import jax

from gramalign.training.metrics import Row

_GIB = 2**30

Spent = Literal["input", "compute", "checkpoint", "validation"]


class Timing:
    """Measures what the loop waits for, between one row of the log and the next.

    Args:
        batch_size: examples per step, on all devices together.
        devices: number of devices.
    """

    def __init__(self, batch_size: int, devices: int):
        self._batch_size = batch_size
        self._devices = devices
        self._spent: dict[str, float] = {}
        self._steps = 0
        self._since = time.monotonic()

    @contextlib.contextmanager
    def on(self, what: Spent) -> Iterator[None]:
        """Counts the time that the block takes."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._spent[what] = self._spent.get(what, 0.0) + time.monotonic() - start

    def step(self) -> None:
        """Counts a step."""
        self._steps += 1

    def row(self, step: int) -> Row:
        """What was measured since the last row.

        Returns:
            `seconds`, the mean per step, and its parts `seconds/<what>`, the rest being
            `seconds/other`; `examples_per_second` per device; in GiB, `memory/host`, the peak of
            this process so far, and `memory/device`, the peak of its fullest device, if the
            platform counts it.
        """
        now, steps = time.monotonic(), max(1, self._steps)
        # The clock never goes back, but it may stand still.
        seconds = max(now - self._since, 1e-9)
        spent = {f"seconds/{what}": spent / steps for what, spent in self._spent.items()}
        row = {
            "step": step,
            "examples_per_second": self._batch_size * self._steps / seconds / self._devices,
            "seconds": seconds / steps,
            **spent,
            "seconds/other": max(0.0, seconds / steps - sum(spent.values())),
            **_memory(),
        }
        self._spent, self._steps, self._since = {}, 0, now
        return row


def _memory() -> dict[str, float]:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = {"memory/host": most * (1 if sys.platform == "darwin" else 1024) / _GIB}
    found = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [stats["peak_bytes_in_use"] for stats in found if "peak_bytes_in_use" in stats]
    return held | ({"memory/device": max(peaks) / _GIB} if peaks else {})
