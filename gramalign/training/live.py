"""The progress display of a run: a table that is redrawn in place, or plain lines."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

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
        console: where to show it; a terminal that can redraw gets a live table, anything else one
            line for each row.

    Yields:
        A function that takes each row of the log.
    """
    if not steps:
        yield lambda row: None
        return
    console = console or rich.console.Console(markup=False, emoji=False)  # names are as they are
    clock = _Clock(steps)
    waiting = "compiling: the first rows of the log will take a while"
    if not console.is_terminal or console.is_dumb_terminal:
        console.print(waiting)
        yield lambda row: console.print(
            _line(_columns(row, clock)), soft_wrap=True, highlight=False
        )
        return
    shown: collections.deque[dict[str, str]] = collections.deque(maxlen=_ROWS)
    with rich.live.Live(waiting, console=console, auto_refresh=False) as display:

        def report(row: Row) -> None:
            shown.append(_columns(row, clock))
            display.update(_table(shown, console.width), refresh=True)

        yield report


class _Clock:
    """Steps per second between the last two reports, and the estimated time left."""

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
    # Among validation figures, the one that chooses the model comes first.
    names = [name for name in row if name != "step"]
    names.sort(key=lambda n: (_place(n), "" if n.startswith("validation/") else n))
    values = {_called(name): f"{row[name]:.4g}" for name in names}
    return {"step": str(step), **values, **clock.tick(step)}


def _called(name: str) -> str:
    """A figure's name for readers; names of modalities and terms stay as they are."""
    kind, slash, of = name.partition("/")
    return kind.replace("_", " ") + slash + of


def _place(name: str) -> int:
    """Sort key: losses, learned numbers, validation, diagnostics, and each tower's gradient."""
    kind, _, of = name.partition("/")
    places = {"loss": 0, "validation": 2, "grad_norm": 4 if of else 3}
    return places.get(kind, 1 if of else 3)


def _line(columns: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}" for name, value in columns.items())


def _table(rows: collections.deque[dict[str, str]], width: int) -> rich.table.Table:
    """A table of the columns that fit, the most informative first."""
    ends = ("step", "steps/s", "ETA")
    between = dict.fromkeys(name for row in rows for name in row if name not in ends)
    every = sorted(between, key=lambda name: _place(name.replace(" ", "_")))
    values = {name: [row.get(name, "") for row in rows] for name in (*ends, *every)}
    room = width - sum(_width(name, values[name]) for name in ends)
    shown = []
    for name in every:
        room -= _width(name, values[name])
        if room < 0:
            break
        shown.append(name)
    table = rich.table.Table(box=None, header_style="bold", padding=(0, 1))
    columns = [ends[0], *shown, *ends[1:]]
    for name in columns:
        table.add_column(_head(name), justify="right")
    for row in rows:
        table.add_row(*(row.get(name, "") for name in columns))
    if left := len(every) - len(shown):
        table.caption = f"{left} more in metrics.jsonl: the terminal is {width} columns wide"
        table.caption_justify = "left"
    return table


def _head(name: str) -> str:
    """A column's head in lines, so that the column is narrow."""
    return name if name == "steps/s" else name.replace("/", "\n").replace(" ", "\n")


def _width(name: str, cells: Sequence[str]) -> int:
    return 2 + max(map(len, (*_head(name).splitlines(), *cells)))
