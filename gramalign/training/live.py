"""What a run shows while it runs: a table that is redrawn in place, or plain lines."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import rich.console
import rich.live
import rich.table

from gramalign.training.metrics import Row

Report = Callable[[Row], None]

_ROWS = 12  # lines of the table: enough to see a trend


@contextlib.contextmanager
def live(steps: int, console: rich.console.Console | None = None) -> Iterator[Report]:
    """Shows a run's progress, for as long as the context is open.

    Args:
        steps: the run's last step.
        console: where to; a terminal that can redraw gets a live table, anything else one line
            for each row.

    Yields:
        A function that takes each row of the log, as it is logged.
    """
    console = console or rich.console.Console()
    clock = _Clock(steps)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda row: console.print(
            _line(_columns(row, clock)), soft_wrap=True, highlight=False
        )
        return
    shown: collections.deque[dict[str, str]] = collections.deque(maxlen=_ROWS)
    with rich.live.Live(console=console, auto_refresh=False) as display:

        def report(row: Row) -> None:
            shown.append(_columns(row, clock))
            display.update(_table(shown), refresh=True)

        yield report


class _Clock:
    """Steps per second between the last two reports, and the time that the rest will take."""

    def __init__(self, steps: int):
        self._steps = steps
        self._last: tuple[int, float] | None = None

    def tick(self, step: int) -> dict[str, str]:
        now = time.monotonic()
        last, self._last = self._last, (step, now)
        if last is None or step <= last[0] or now <= last[1]:
            return {"steps/s": "-", "ETA": "-"}
        rate = (step - last[0]) / (now - last[1])
        minutes, seconds = divmod(round((self._steps - step) / rate), 60)
        return {"steps/s": f"{rate:.0f}", "ETA": f"{minutes}:{seconds:02d}"}


def _columns(row: Row, clock: _Clock) -> dict[str, str]:
    step = int(row["step"])
    names = sorted(set(row) - {"step"}, key=lambda name: (_place(name), name))
    values = {name.replace("_", " "): f"{row[name]:.4g}" for name in names}
    return {"step": str(step), **values, **clock.tick(step)}


def _place(name: str) -> int:
    """Losses first, then learned numbers, then the rest."""
    return 0 if name.split("/")[0] == "loss" else 1 if "/" in name else 2


def _line(columns: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in columns.items())


def _table(rows: collections.deque[dict[str, str]]) -> rich.table.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = rich.table.Table(*names, box=None, header_style="bold", padding=(0, 1))
    for column in table.columns:
        column.justify = "right"
    for row in rows:
        table.add_row(*(row.get(name, "") for name in names))
    return table
