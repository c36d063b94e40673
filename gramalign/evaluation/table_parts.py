"""The parts of an evaluation's tables: one look, and one form for numbers."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gramalign.evaluation.fitted import Fitted
from gramalign.evaluation.retrieval import all_but


def plain_table() -> Table:
    """A table whose only rule is a line below its head."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def task_table() -> Table:
    """A table whose rows are the tasks of `add_tasks`, their names in its first column."""
    table = plain_table()
    table.add_column("", overflow="fold")
    return table


def add_figures(table: Table, name: str, figures: Sequence[str]) -> None:
    """A column for each figure of one Score, the first in bold and below the Score's name."""
    for i, figure in enumerate(figures):
        table.add_column(
            f"{'' if i else name}\n{figure}",
            justify="right",
            no_wrap=True,
            style="" if i else "bold",
        )


def add_tasks(
    table: Table,
    modalities: Sequence[str],
    cells: Callable[[tuple[str, ...], tuple[str, ...]], list[str]],
) -> None:
    """One row for every modality -> the rest and the rest -> it; for two modalities, for each pair.

    Args:
        table: made by `task_table`.
        modalities: their names.
        cells: maps query and gallery to the cells of the other columns.
    """
    rests = {one: all_but(modalities, one) for one in modalities}
    if len(rests) == 2:
        for one, rest in rests.items():
            table.add_row(Text(f"{one} -> {rest[0]}"), *cells((one,), rest))
        return
    table.add_row("one -> rest", style="italic")
    for one, rest in rests.items():
        table.add_row(Text(f"  {one}"), *cells((one,), rest))
    table.add_section()
    table.add_row("rest -> one", style="italic")
    for one, rest in rests.items():
        table.add_row(Text(f"  {one}"), *cells(rest, (one,)))


def titled(title: str, body: RenderableType, notes: str = "") -> Group:
    """A table (in parts if it is too wide) or other contents, between their title and notes."""
    body = Fitted(body) if isinstance(body, Table) and body.show_header else body
    # Not rich's own title and caption, which wrap at the width of a narrow table.
    below = [Text(notes, style="dim")] if notes else []
    return Group(Text(title, style="bold"), "", body, *below, "")


# A few points of the viridis colour map, which is even to the eye and legible to the colour-blind.
_HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def heat_colours(value: float) -> tuple[str, str]:
    """From 0 to 100 percent, a background, and the ink that is legible on it."""
    mixed = (np.interp(value, np.linspace(0, 100, len(_HEAT)), x) for x in zip(*_HEAT, strict=True))
    return "#" + "".join(f"{round(x):02x}" for x in mixed), "#101010" if value > 45 else "#ffffff"


def heat(value: float) -> Text:
    """A cell whose background runs from 0 to 100 percent."""
    if math.isnan(value):
        return Text(percent(value))
    back, ink = heat_colours(value)
    return Text(f" {percent(value)} ", style=f"{ink} on {back}")


def percent(value: float, decimals: int = 1) -> str:
    """A percentage as text; n/a for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"


def decimal(value: float, decimals: int = 3) -> str:
    """Any figure as text; n/a for NaN.

    The volumes of many modalities are tiny: what three decimals would show as 0 has an exponent.

    >>> decimal(0.25), decimal(0.00015), decimal(0.0), decimal(0.001, 2)
    ('0.250', '1.5e-04', '0.000', '0.00')
    """
    if math.isnan(value):
        return "n/a"
    exponent = decimals > 2 and 0 < abs(value) < 10**-decimals / 2
    return f"{value:.1e}" if exponent else f"{value:.{decimals}f}"
