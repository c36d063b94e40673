"""The geometry of a space as tables, and what is wrong with it in words."""

import math
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gramalign.counted import counted
from gramalign.evaluation.diagnostics import Diagnostics
from gramalign.evaluation.evaluation import Evaluation
from gramalign.evaluation.fitted import Beside, Fitted
from gramalign.evaluation.hubness import NEIGHBOURS
from gramalign.evaluation.table_parts import decimal, percent, plain_table, titled

_BARS = " ▁▂▃▄▅▆▇█"
_WIDTH = 25  # characters of a histogram


def diagnostics_table(evaluation: Evaluation) -> Group:
    """Geometry of the space: whole tuples and modalities on the left, pairs on the right."""
    figures = evaluation.diagnostics
    left, right = (_tuples(figures), _modalities(figures)), (_pairs(figures),)
    parts = [
        titled(
            "Space: agreement is a small volume, gap and alignment, and a large leading share",
            Beside(left, right),
        )
    ]
    if figures.volume.matched_histogram:
        note = "apart: probability that a match agrees better than a mismatch; each histogram has"
        parts += [Fitted(_histograms(figures)), Text(f"{note} its own scale", style="dim"), ""]
    if figures.hubness:
        parts.append(hubness_table(figures))
    return Group(*parts)


def hubness_table(figures: Diagnostics) -> Group:
    """Skewness of N_k of every ordered pair, query down and gallery across."""
    names = tuple(figures.uniformity)
    found = {(item.query, item.gallery): item for item in figures.hubness}
    table = plain_table()
    table.add_column("query", overflow="fold")
    for name in names:
        table.add_column(Text(name), justify="right", overflow="fold")
    for query in names:
        cells = [
            decimal(found[query, gallery].skewness, 2) if query != gallery else "-"
            for gallery in names
        ]
        table.add_row(Text(query), *cells)
    return titled(
        f"Hubness: skewness of how often an item is among the {NEIGHBOURS} nearest, by the cosine "
        "(0: all equally often)",
        table,
        largest_hub(figures),
    )


def largest_hub(figures: Diagnostics) -> str:
    """The item that is near the most queries, in words; nothing if none is known."""
    known = [item for item in figures.hubness if not math.isnan(item.largest)]
    if not known:
        return ""
    most = max(known, key=lambda item: item.largest)
    return (
        f"the largest hub: one of {most.gallery}, near {most.largest:.0f} queries of {most.query}"
    )


def warnings_list(figures: Diagnostics) -> Group:
    """The warnings, one paragraph each; nothing if there are none."""
    if not figures.warnings:
        return Group()
    grid = Table.grid(padding=(0, 1))
    for item in figures.warnings:
        grid.add_row("*", Text(item.sentence))
    return titled("Warnings", grid)


def _tuples(figures: Diagnostics) -> Table:
    table = plain_table()
    for name in (counted(figures.complete, "tuple"), "matched", "mismatched"):
        table.add_column(name, justify="right" if name.endswith("matched") else "left")
    known = bool(figures.volume.matched_histogram)
    if known:
        table.add_column("apart", justify="right")
    for name, figure in (("volume", figures.volume), ("leading share", figures.leading_share)):
        apart = [decimal(figure.separation)] if known else []
        table.add_row(name, decimal(figure.matched), decimal(figure.mismatched), *apart)
    return table


def _histograms(figures: Diagnostics) -> Table:
    table = plain_table()
    table.add_column("from 0 to 1")
    for name in ("matched", "mismatched"):
        table.add_column(name, no_wrap=True)
    for name, figure in (("volume", figures.volume), ("leading share", figures.leading_share)):
        both = figure.matched_histogram, figure.mismatched_histogram
        table.add_row(name, *(Text(f"|{_drawn(counts)}|") for counts in both))
    return table


def _drawn(counts: Sequence[int]) -> str:
    """A histogram as characters.

    >>> _drawn([0] * 48 + [1, 4])
    '                        █'
    >>> _drawn([0, 1, 8])
    ' ▁█'
    """
    per = max(len(counts) // _WIDTH, 1)
    bars = [sum(counts[start : start + per]) for start in range(0, len(counts), per)]
    most = max(max(bars, default=0), 1)
    # A bin with any entry is visible.
    return "".join(_BARS[math.ceil(bar / most * (len(_BARS) - 1))] for bar in bars)


def _modalities(figures: Diagnostics) -> Table:
    table = plain_table()
    table.add_column("modality", overflow="fold")
    table.add_column("uniformity", justify="right")
    columns = {"eff. rank": (figures.effective_rank, 1), "GRAM value": (figures.gram_value, 3)}
    columns = {head: column for head, column in columns.items() if column[0]}
    for head in columns:
        table.add_column(head, justify="right")
    for name, value in figures.uniformity.items():
        cells = [decimal(values[name], places) for values, places in columns.values()]
        table.add_row(Text(name), decimal(value), *cells)
    return table


def _pairs(figures: Diagnostics) -> Table:
    table = plain_table()
    table.add_column("pair", overflow="fold")
    table.add_column("gap", justify="right")
    table.add_column("alignment", justify="right")
    known = any(not math.isnan(pair.negative) for pair in figures.pairs)
    if known:
        table.add_column("cos < 0, %", justify="right")
    for pair in figures.pairs:
        name = f"{pair.first} - {pair.second}"
        cells = [percent(100 * pair.negative)] if known else []
        table.add_row(Text(name), decimal(pair.gap), decimal(pair.alignment), *cells)
    return table
