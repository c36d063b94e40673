"""Cells and frames of the tables: complete without colour, within 100 columns."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

Report = dict[str, Any]

NONE = "n/a"


def table(*columns: str, gap: int = 2) -> Table:
    """A table with these column heads; columns whose head starts with > are right-aligned."""
    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", no_wrap=True)
    return made


def titled(title: str, body: Table, *notes: str) -> Group:
    """A table with a title above and notes below."""
    return Group(Text(title, style="bold"), "", body, *(Text(x, style="dim") for x in notes), "")


def seconds(value: float | None) -> str:
    """A time as text: milliseconds below a second."""
    if value is None:
        return NONE
    return f"{1000 * value:.2f} ms" if value < 1 else f"{value:.2f} s"


def times(value: float | None, decimals: int = 1) -> str:
    """A factor."""
    return NONE if value is None else f"{value:.{decimals}f}x"


def percent(value: float | None) -> str:
    """A share."""
    return NONE if value is None else f"{100 * value:.0f} %"


def simulated(found: Report) -> str:
    """A share with the standard error of its simulation, in percent."""
    return f"{100 * found['share']:.1f} \u00b1 {100 * found['standard_error']:.1f}"


def rate(value: float | None) -> str:
    """FLOP/s with the prefix that leaves one to three digits in front of the point."""
    if not value:
        return NONE
    for prefix, unit in (("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if value >= unit:
            return f"{value / unit:.{0 if value >= 100 * unit else 1}f} {prefix}"
    return f"{value / 1e6:.1f} M"


def bytes_(value: int | None) -> str:
    """A size in MiB, or in GiB from 1 GiB on."""
    if value is None:
        return NONE
    if value < 10 * 2**20:
        return f"{value / 2**20:.1f} MiB"
    return f"{value / 2**20:.0f} MiB" if value < 2**30 else f"{value / 2**30:.2f} GiB"


def error(value: float | None) -> str:
    """The size of an error; None stands for NaN."""
    return "NaN" if value is None else f"{value:.0e}"
