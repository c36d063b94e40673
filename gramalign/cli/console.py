"""Where the commands print."""

import contextlib
import functools
import logging
import sys
from collections.abc import Iterator
from typing import Any

import rich.console
import rich.progress

from gramalign.types import Say

# Tables are made for this width; a pipe or a file has none of its own and would get 80.
WIDTH = 100

# Names, labels and paths may hold what rich would take for its own markup.
_plain = functools.partial(rich.console.Console, highlight=False, markup=False, emoji=False)

QUIET = rich.console.Console(quiet=True)
"""Prints nowhere."""


def console(*, stderr: bool = False) -> rich.console.Console:
    """The terminal at its own width, or anything else at the width the tables are made for."""
    found = _plain(stderr=stderr)
    return found if found.is_terminal else _plain(stderr=stderr, width=WIDTH)


@contextlib.contextmanager
def stages_on(screen: rich.console.Console) -> Iterator[Say]:
    """A line that changes on a terminal, and lines one after the other elsewhere."""
    if not screen.is_terminal:
        yield lambda text: screen.print(text, soft_wrap=True)
        return
    with screen.status("starting") as status:
        yield status.update


class Messages(logging.StreamHandler):
    """Prints what is logged as lines of their own, above a bar or a stage that is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record to what is stderr now.

        While a bar is shown, rich takes its place, which is right on a terminal alone.
        """
        stderr: Any = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        self.stream = sys.stderr if stderr.isatty() else stderr
        super().emit(record)


def progress_on(
    screen: rich.console.Console, *columns: rich.progress.ProgressColumn
) -> rich.progress.Progress:
    """What shows progress on a terminal, and leaves nothing there or anywhere else."""
    return rich.progress.Progress(
        *columns, console=screen, transient=True, disable=not screen.is_terminal
    )
