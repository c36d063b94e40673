"""Several runs trained one after the other, under one bar of progress."""

from collections.abc import Iterable
from pathlib import Path

import rich.console
import rich.progress

from gramalign.training import Config, NonFiniteLoss, Run, train


class InTurn:
    """Trains runs, those that are there already by reading them.

    Args:
        configs: of the runs, for the length of the bar.
        screen: shows the bar, or a line for each run where it is no terminal.
    """

    def __init__(self, configs: Iterable[Config], screen: rich.console.Console):
        steps = [config.steps for config in configs]
        self._runs, self._done, self._steps, self._label = len(steps), 0, 0, ""
        self._screen = screen
        self._progress = rich.progress.Progress(console=screen)
        self._bar = self._progress.add_task("", total=sum(steps))

    def __enter__(self) -> "InTurn":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.update(self._bar, description=self._label)
        self._progress.stop()

    def train(self, config: Config, folder: Path, label: str) -> Run:
        """Trains the next run, or goes on with it.

        Args:
            config: the run.
            folder: its own.
            label: what to call it.

        Raises:
            as `gramalign.training.train`.
        """
        self._label = label
        self._progress.update(self._bar, description=label, completed=self._steps)
        try:
            run = train(config, folder, resume=True, report=self._report)
        except NonFiniteLoss:  # a search goes on with the next
            self._advance(config.steps, f"{label}: diverged")
            raise
        self._advance(config.steps, label)
        return run

    def say(self, text: str) -> None:
        """Tells beside the bar what is done with the last run."""
        self._progress.update(self._bar, description=f"{self._label}: {text}")

    def _advance(self, steps: int, label: str) -> None:
        self._done += 1
        self._steps += steps
        self._progress.update(self._bar, completed=self._steps)
        if not self._screen.is_terminal:
            self._screen.print(f"{self._done}/{self._runs}  {label}")

    def _report(self, row) -> None:
        self._progress.update(self._bar, completed=self._steps + row["step"])
