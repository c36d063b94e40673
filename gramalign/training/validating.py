"""Validation while training: which step to take as the model, and when to stop early."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from gramalign.data import FeatureStore, readable
from gramalign.training.config import Config, Validation
from gramalign.training.log import Log
from gramalign.training.measure import measure
from gramalign.training.metrics import Row, read_metrics
from gramalign.training.processes import agreed, is_first_process
from gramalign.training.restore import Run
from gramalign.training.rows import no_such_rows
from gramalign.training.state import TrainState

_PREFIX = "validation/"


def best_figure(validation: Validation, log: Sequence[Row]) -> float:
    """The best validation figure in a run's log; NaN if there is none."""
    name = _PREFIX + validation.figure
    found = [row[name] for row in log if not math.isnan(row.get(name, math.nan))]
    return (min if validation.lowest else max)(found, default=math.nan)


class Validator:
    """Validates a run at its due steps, and remembers the best figure.

    Args:
        config: the run.
        rows: to validate on; None: no validation.
        run: makes a run from a state.
        log: takes figures, by names such as `validation/pair R@1, cosine`; for the space,
            `validation/matched volume`, `validation/leading share` and, as the mean over all
            anchors, `validation/GRAM value`.
        before: the file of that log, as it is when the run resumes.
    """

    def __init__(
        self,
        config: Config,
        rows: FeatureStore | None,
        run: Callable[[TrainState], Run],
        log: Log,
        before: Path,
    ):
        self._config = config.validation
        self._last = config.steps
        self._rows = None if rows is None else readable(rows)
        self._run = run
        self._log = log
        self._best = -math.inf
        self._since_best = 0
        self.over = False
        """Whether there was nothing better for too long."""
        # The first process decides whether it is over.
        name = _PREFIX + self._config.figure
        log_before = read_metrics(before) if rows is not None and is_first_process() else []
        for row in log_before:
            if name in row:
                self._note(self._signed(row[name]))
        self._decide()

    def due(self, step: int) -> bool:
        """Whether to measure after this step, counted from 1; the last is always measured."""
        every = self._config.every
        return every is not None and (step % every == 0 or step == self._last)

    def measure(self, state: TrainState) -> float:
        """Validates the run in its current state.

        Returns:
            The figure that chooses the model, with the sign that makes larger better.

        Raises:
            ValueError: no validation row has been embedded with what the figure needs, such as
                what VAST's heads fuse.
        """
        assert self._rows is not None
        found = measure(self._run(state), self._rows, neighbours=False)
        figure, space = self._config.figure, found.diagnostics
        figures = {figure: found.figures()[figure], **found.summary(own=True)}
        figures |= {
            "matched volume": space.volume.matched,
            "leading share": space.leading_share.matched,
            "GRAM value": sum(space.gram_value.values()) / len(space.gram_value),
        }
        named = {_PREFIX + name: x for name, x in figures.items()}
        self._log.measured({"step": int(state.step), **named})
        worth = self._signed(agreed(figures[figure]))
        if math.isnan(worth):
            raise no_such_rows(figure, self._rows)
        self._note(worth)
        self._decide()
        return worth

    def _signed(self, figure: float) -> float:
        return -figure if self._config.lowest else figure

    def _note(self, worth: float) -> None:
        better = worth > self._best
        self._best = worth if better else self._best
        self._since_best = 0 if better else self._since_best + 1

    def _decide(self) -> None:
        patience = self._config.patience
        if self._rows is not None and patience is not None:
            self.over = agreed(self._since_best >= patience)
