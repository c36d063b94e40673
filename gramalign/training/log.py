"""Everything that a run logs while it trains."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from gramalign.training.config import Config
from gramalign.training.live import Report, live
from gramalign.training.metrics import MetricsLog, Row, read_metrics
from gramalign.training.run_folder import RunFolder
from gramalign.training.writers import WRITERS, Write


@dataclass(frozen=True)
class Log:
    """Where rows are written; nowhere, in all processes but the first."""

    _measured: tuple[Write, ...] = ()
    _timed: tuple[Write, ...] = ()

    @property
    def written(self) -> bool:
        """Whether rows are written at all."""
        return bool(self._measured)

    def measured(self, row: Row) -> None:
        """Takes figures that a run computes, which follow from its config."""
        for write in self._measured:
            write(row)

    def timed(self, row: Row) -> None:
        """Takes figures that depend on the machine."""
        for write in self._timed:
            write(row)


@contextlib.contextmanager
def opened(folder: RunFolder, config: Config, begun: int, report: Report | None) -> Iterator[Log]:
    """Opens the logs of a run, and closes them.

    Args:
        folder: the run's.
        config: the run.
        begun: step that it resumes from; rows of later steps are dropped.
        report: takes each row, instead of the screen.
    """
    with contextlib.ExitStack() as stack:
        metrics = stack.enter_context(MetricsLog(folder.metrics, last_step=begun))
        timing = stack.enter_context(MetricsLog(folder.timing, last_step=begun))
        others = []
        if config.writers:
            past = [*read_metrics(folder.metrics), *read_metrics(folder.timing)]
            past.sort(key=lambda row: row["step"])
            about = folder.root, dataclasses.asdict(config), begun, past
            others = [stack.enter_context(WRITERS[name](*about)) for name in config.writers]
        shown = report or stack.enter_context(live(config.steps))
        yield Log((metrics.write, shown, *others), (timing.write, *others))
