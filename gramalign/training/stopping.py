"""Ends a run on request: between two steps, with everything saved."""

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.experimental import multihost_utils

_log = logging.getLogger(__name__)


class Interrupted(RuntimeError):
    """A run was told to end, and was saved first.

    Attributes:
        step: the saved step.
        by_hand: whether by Ctrl-C.
    """

    def __init__(self, step: int, *, by_hand: bool = False):
        super().__init__(f"told to end: step {step} is saved")
        self.step, self.by_hand = step, by_hand


class Stopping:
    """Whether a run has been told to end.

    Attributes:
        told: whether a signal has come to this process.
        by_hand: whether by Ctrl-C.
    """

    def __init__(self, ask: Callable[[int], bool] | None = None):
        self._ask, self.told, self.by_hand = ask, False, False

    def __call__(self, step: int) -> bool:
        """Whether to end after this step."""
        return self.told if self._ask is None else self._ask(step)

    def note(self, number: int) -> None:
        """A signal has come."""
        self.told, self.by_hand = True, self.by_hand or number == signal.SIGINT


@contextlib.contextmanager
def stop_signal(*, ctrl_c: bool) -> Iterator[Stopping]:
    """Notes SIGTERM and, if asked to, Ctrl-C, of which a second one ends the process as usual.

    A second SIGTERM changes nothing: a scheduler that cannot wait for the step sends SIGKILL.
    With several processes, all learn at the same step that one of them received SIGTERM. Outside
    the main thread, where Python handles no signals, none is ever noted.
    """
    if jax.process_count() > 1:  # whose runtime takes the signal
        yield Stopping(multihost_utils.reached_preemption_sync_point)
        return
    stopping = Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return

    def note(number: int, frame: Any) -> None:
        stopping.note(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, before[signal.SIGINT])
            _log.warning("stopping once this step is saved; Ctrl-C again stops at once")

    # A process in the background of a script is to ignore Ctrl-C.
    numbers = [signal.SIGTERM, *([signal.SIGINT] if ctrl_c else [])]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
