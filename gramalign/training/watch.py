"""Reads the metrics of every step: whether the run may continue, and the rows of the log."""

import logging
import math
import types
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

from gramalign.training.config import Config
from gramalign.training.log import Log
from gramalign.training.state import TrainState
from gramalign.training.step import is_logged
from gramalign.training.timing import Timing

_log = logging.getLogger(__name__)


_UPDATE = "the update is not finite"  # though loss and gradient are


class NonFiniteLoss(RuntimeError):
    """Loss or gradient were infinite or NaN for too many steps in a row, all of them skipped."""


class Watch:
    """Reads the metrics of each of a run's steps while the next one is running.

    Args:
        config: the run.
        log: takes rows.
        timing: of the loop.
        noted: what the checkpoint that the run resumes from has `noted`.
    """

    def __init__(
        self,
        config: Config,
        log: Log,
        timing: Timing,
        noted: Mapping[str, Any] = types.MappingProxyType({}),
    ):
        self._config = config
        self._log = log
        self.timing = timing
        self._pending: tuple[int, Mapping[str, Array]] | None = None
        self._in_a_row = noted.get("skipped_in_a_row", 0)
        self._first = noted.get("first_skipped", "")
        self._skipped = self._in_a_row > 0
        self._still = False

    @property
    def noted(self) -> dict[str, int | str]:
        """What a checkpoint keeps, JSON-compatible: a resumed run goes on with a row of skips."""
        return {"skipped_in_a_row": self._in_a_row, "first_skipped": self._first}

    def check_learned(self, state: TrainState) -> None:
        """Raises a `NonFiniteLoss` if every step of a finished run was skipped."""
        if int(state.skipped) == int(state.step):
            raise NonFiniteLoss(
                f"{self._first}; every step was skipped, so nothing was learned: {self._cure(1)}"
            )

    def _cure(self, step: int) -> str:
        """What to change in a new run, if all steps from this one on were skipped."""
        optimizer = self._config.optimizer
        warming_up = step <= optimizer.warmup_of(self._config.steps)
        if warming_up and self._first == f"step {step}: {_UPDATE}":
            return (
                f"give --optimizer.warmup 0: {optimizer.kind} may divide by its learning rate, "
                "which warms up from 0"
            )
        return (
            "lower optimizer.learning_rate, optimizer.clip_norm or the objective's weights, or "
            "raise the temperature, and check the features for extreme values"
        )

    def take(self, count: int, metrics: Mapping[str, Array]) -> None:
        """Keeps the metrics of a step, which may not be computed yet, until `settle`."""
        self._pending = count, metrics

    def settle(self) -> None:
        """Waits for the step, if one was taken, and writes its rows if they are due.

        Raises:
            NonFiniteLoss: too many steps in a row had to be skipped.
        """
        if self._pending is None:
            return
        (count, metrics), self._pending = self._pending, None
        with self.timing.on("compute"):
            finite = bool(metrics["finite"])
        self.timing.step()
        if finite:
            self._in_a_row = 0
        else:
            if not self._in_a_row:
                self._first = _what_is_not_finite(count, metrics)
                if not self._skipped:
                    self._skipped = True
                    _log.warning("%s: skipping this step, and any like it", self._first)
            self._in_a_row += 1
            if self._in_a_row > self._config.max_skips:
                first = count - self._in_a_row + 1
                raise NonFiniteLoss(
                    f"{self._first}; steps {first} to {count} were skipped, but max_skips allows "
                    f"only {self._config.max_skips} in a row. In a new run, {self._cure(first)}"
                )
        if self._log.written and is_logged(count, self._config):
            shown = {name: x for name, x in metrics.items() if not name.startswith("finite")}
            values = {name: float(x) for name, x in jax.device_get(shown).items()}
            if values["grad_norm"] == 0 and not self._still:
                self._still = True
                _log.warning(
                    "step %d: the gradient is 0, so nothing is learned: does augment hide every "
                    "modality, are all rows of one group, or is model.dim so small that all "
                    "embeddings are alike?",
                    count,
                )
            self._log.measured({"step": count, **values})
            self._log.timed(self.timing.row(count))


def _what_is_not_finite(count: int, metrics: Mapping[str, Array]) -> str:
    """Non-finite terms, and modalities with non-finite embeddings or, failing that, gradients."""
    values = {name: float(x) for name, x in metrics.items() if name.startswith("loss/")}
    found = [f"{name} is {x}" for name, x in values.items() if not math.isfinite(x)]
    update = math.isfinite(float(metrics["grad_norm"]))
    found = found or [_UPDATE if update else "the gradient is not finite"]
    names = [name.removeprefix("finite/") for name in metrics if name.startswith("finite/")]
    where = [name for name in names if not metrics[f"finite/{name}"]]
    if where:
        found.append(f"embeddings of {', '.join(where)} are not finite")
    else:
        trained = [name for name in names if f"grad_norm/{name}" in metrics]
        norms = {name: float(metrics[f"grad_norm/{name}"]) for name in trained}
        where = [name for name, norm in norms.items() if not math.isfinite(norm)]
        if where and len(where) < len(names):
            found.append(f"in the tower of {', '.join(where)}")
    return f"step {count}: {', '.join(found)}"
