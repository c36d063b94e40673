"""A trace of some steps by `jax.profiler`, for TensorBoard, XProf or Perfetto."""

import logging
from pathlib import Path
from typing import Any

import jax

from gramalign.counted import counted

_log = logging.getLogger(__name__)


class Profile:
    """Traces a run from one step to another, if it gets there; ends with its context.

    Args:
        folder: where the trace goes; of several processes, each has a folder in it.
        steps: first and last step, counted from 1; None: no trace.
        of: how many steps the run has.
        at: the step that it resumes from; infinite if it is finished.

    Raises:
        ValueError: the last step is before the first, or the first is no step of the run.
    """

    def __init__(
        self, folder: Path, steps: tuple[int, int] | None, *, of: int, at: int | float = 0
    ):
        if steps is not None and not 1 <= steps[0] <= min(steps[1], of):
            raise ValueError(
                f"profile is {steps[0]} {steps[1]}, expected the first and the last step to trace, "
                f"of {counted(of, 'step')}"
            )
        # No error: a scheduler gives one command again and again, until the run is finished.
        if steps is not None and steps[1] <= at:
            _log.warning(
                "profile is %d %d, but nothing is traced, as the run is past these steps", *steps
            )
            steps = None
        if jax.process_count() > 1:  # JAX names files by machine and second
            folder /= f"process-{jax.process_index()}"
        self._folder = folder
        self._steps = steps
        self._on = self._traced = False

    def before(self, step: int) -> None:
        """Starts the trace at its first step, or at a later one if the run resumes there."""
        if self._steps and not self._on and self._steps[0] <= step <= self._steps[1]:
            jax.profiler.start_trace(str(self._folder))
            self._on = self._traced = True

    def after(self, step: int, state: Any) -> None:
        """Ends the trace after its last step, once that is computed."""
        if self._on and self._steps and step == self._steps[1]:
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        if self._on:
            self._on = False
            jax.profiler.stop_trace()

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._stop()
        if self._steps and not self._traced and not failed:
            _log.warning(
                "profile is %d %d, but nothing was traced, as validation.patience ended the run "
                "before",
                *self._steps,
            )
