"""What the tables of an evaluation are made of: one look, and numbers in one form."""

import math

from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text


def plain_table() -> Table:
    """A table with no more than a line below its head."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def titled(title: str, table: Table, notes: str = "") -> Group:
    """A table between its title and its notes."""
    # Not rich's own title and caption, which wrap at the width of a narrow table.
    below = [Text(notes, style="dim")] if notes else []
    return Group(Text(title, style="bold"), "", table, *below, "")


# A few points of the viridis colour map, which is even to the eye and legible to the colour-blind.
_HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def heat(value: float) -> Text:
    """A cell whose background runs from 0 to 100 percent."""
    if math.isnan(value):
        return Text(percent(value))
    place = min(max(value, 0), 100) / 100 * (len(_HEAT) - 1)
    below = min(int(place), len(_HEAT) - 2)
    mixed = (
        round(low + (high - low) * (place - below))
        for low, high in zip(_HEAT[below], _HEAT[below + 1], strict=True)
    )
    ink = "black" if value > 55 else "white"
    return Text(f" {percent(value)} ", style=f"{ink} on rgb({','.join(map(str, mixed))})")


def percent(value: float, decimals: int = 1) -> str:
    """Of a percentage; n/a for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"


def decimal(value: float, decimals: int = 3) -> str:
    """Of any figure; n/a for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"
