"""Ending a run when the system asks for it: between two steps, with everything saved."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils


class Interrupted(RuntimeError):
    """A run was told to end, and saved itself first."""

    def __init__(self, step: int):
        super().__init__(f"told to end: step {step} is saved")
        self.step = step


@contextlib.contextmanager
def stop_signal() -> Iterator[Callable[[int], bool]]:
    """Yields a function of the step that tells whether SIGTERM has come; a second one kills.

    Of several processes, all are told at the same step when one of them was sent it. Outside the
    main thread, where Python takes no signals, it never comes.
    """
    if jax.process_count() > 1:  # whose runtime takes the signal
        yield multihost_utils.reached_preemption_sync_point
        return
    if threading.current_thread() is not threading.main_thread():
        yield lambda step: False
        return
    told = False

    def note(number: int, frame: Any) -> None:
        nonlocal told
        told = True
        signal.signal(signal.SIGTERM, before)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda step: told
    finally:
        signal.signal(signal.SIGTERM, before)
