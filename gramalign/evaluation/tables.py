"""An evaluation as rich tables: at most 100 columns wide, and complete without colour.

`tables` gives what a console prints; `to_text` gives the same as plain text for a log or a file.
"""

import io
import math

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gramalign.evaluation.evaluation import Evaluation
from gramalign.evaluation.retrieval import RECALL_AT, Retrieval


def tables(evaluation: Evaluation) -> Group:
    """All tables of an evaluation, for `rich.console.Console.print`.

    Args:
        evaluation: the figures.

    Returns:
        The pair table (where there are more than two modalities), the tuple table and the
        diagnostics.
    """
    parts = [tuple_table(evaluation), diagnostics_table(evaluation)]
    if len(evaluation.modalities) > 2:
        parts.insert(0, pair_table(evaluation))
    return Group(*parts)


def to_text(renderable: RenderableType, *, width: int = 100) -> str:
    """Render as plain text, without colour or control codes.

    Args:
        renderable: a table or a group of them.
        width: columns.

    Returns:
        The lines, without blanks at their ends.
    """
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def pair_table(evaluation: Evaluation) -> Group:
    """R@1 of every ordered pair under the cosine, query down and gallery across, as a heat map."""
    names = evaluation.modalities
    table = plain_table()
    table.add_column("query", overflow="fold")
    for name in names:
        table.add_column(Text(name), justify="right", overflow="fold")
    found = {(a, b): evaluation.find((a,), (b,), "cosine") for a in names for b in names if a != b}
    for query in names:
        cells = [
            _heat(found[query, gallery].recall[1]) if query != gallery else Text("- ", style="dim")
            for gallery in names
        ]
        table.add_row(Text(query), *cells)

    notes = [f"mean {percent(evaluation.summary()['pair R@1, cosine'])}"]
    if evaluation.score != "cosine":
        own = [evaluation.find((a,), (b,), evaluation.score).recall[1] for a, b in found]
        notes.append(f"under {evaluation.score} {percent(_mean(own))}")
    if evaluation.baseline:
        baseline = evaluation.summary(baseline=True)["pair R@1, cosine"]
        notes.append(f"linear GCCA {percent(baseline)}")
    chance = _mean([result.chance[1] for result in found.values()])
    notes.append(f"chance {percent(chance, 2)}")
    return titled(
        "Pairs: R@1 in percent under the cosine, query (row) -> gallery (column)",
        table,
        ", ".join(notes),
    )


def tuple_table(evaluation: Evaluation) -> Group:
    """One -> the rest and the rest -> one: the run's Score, the cosine, GCCA and chance."""
    scores = tuple(dict.fromkeys((evaluation.score, "cosine")))
    table = plain_table()
    # Where the terminal is too narrow, let it be the last figures that go, not the names.
    longest = max(len(name) for name in evaluation.modalities)
    table.add_column("", overflow="fold", min_width=max(longest + 2, len("rest -> one")))
    for name in scores:
        for i, figure in enumerate((*(f"R@{k}" for k in RECALL_AT), "med", "mean")):
            table.add_column(
                f"{'' if i else name}\n{figure}",
                justify="right",
                no_wrap=True,
                style="" if i else "bold",
            )
    if evaluation.baseline:
        table.add_column("GCCA\nR@1", justify="right", no_wrap=True)
    table.add_column("chance\nR@1", justify="right", no_wrap=True, style="dim")
    queries: list[int] = []

    def add(label: str, query: tuple[str, ...], gallery: tuple[str, ...]) -> None:
        results = [evaluation.find(query, gallery, name) for name in scores]
        cells = [cell for result in results for cell in _figures(result)]
        if evaluation.baseline:
            baseline = evaluation.find(query, gallery, "cosine", baseline=True)
            cells.append(percent(baseline.recall[1]))
        table.add_row(Text(label), *cells, percent(results[0].chance[1], 2))
        queries.append(results[0].queries)

    rests = {one: evaluation.rest(one) for one in evaluation.modalities}
    if len(rests) == 2:
        for one, rest in rests.items():
            add(f"{one} -> {rest[0]}", (one,), rest)
    else:
        table.add_row("one -> rest", style="italic")
        for one, rest in rests.items():
            add(f"  {one}", (one,), rest)
        table.add_section()
        table.add_row("rest -> one", style="italic")
        for one, rest in rests.items():
            add(f"  {one}", rest, (one,))
    return titled(
        f"{'Pair' if len(rests) == 2 else 'Tuples'}: R@k in percent, median and mean rank of the "
        f"match (1 is best) under {' and '.join(scores)}",
        table,
        f"{min(queries)} queries in every row"
        if len(set(queries)) == 1
        else f"{min(queries)} to {max(queries)} queries a row",
    )


def diagnostics_table(evaluation: Evaluation) -> Group:
    """Geometry of the space: whole tuples and modalities on the left, pairs on the right."""
    figures = evaluation.diagnostics
    whole = plain_table()
    for name in (f"{figures.complete} tuples", "matched", "mismatched"):
        whole.add_column(name, justify="right" if name.endswith("matched") else "left")
    whole.add_row("volume", _decimal(figures.volume.matched), _decimal(figures.volume.mismatched))
    share = figures.leading_share
    whole.add_row("leading share", _decimal(share.matched), _decimal(share.mismatched))

    single = plain_table()
    single.add_column("modality")
    single.add_column("uniformity (lower: more even)", justify="right")
    for name, value in figures.uniformity.items():
        single.add_row(Text(name), _decimal(value))

    pairs = plain_table()
    pairs.add_column("pair")
    pairs.add_column("modality gap", justify="right")
    pairs.add_column("alignment", justify="right")
    for pair in figures.pairs:
        name = f"{pair.first} - {pair.second}"
        pairs.add_row(Text(name), _decimal(pair.gap), _decimal(pair.alignment))

    side_by_side = Table.grid(padding=(0, 6))
    side_by_side.add_row(Group(whole, "", single), pairs)
    return titled(
        "Space: agreement is a small volume, gap and alignment, and a large leading share",
        side_by_side,
    )


def plain_table() -> Table:
    """A table in the style of all others here, without columns."""
    return Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))


def titled(title: str, table: Table, notes: str = "") -> Group:
    """A table under its title and above its notes."""
    # Not rich's own title and caption, which wrap at the width of a narrow table.
    below = [Text(notes, style="dim")] if notes else []
    return Group(Text(title, style="bold"), "", table, *below, "")


def _figures(result: Retrieval) -> list[str]:
    return [
        *(percent(result.recall[k]) for k in RECALL_AT),
        _rank(result.median_rank),
        _rank(result.mean_rank),
    ]


# A few points of the viridis colour map, which is even to the eye and legible to the colour-blind.
_HEAT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def _heat(value: float) -> Text:
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
    """A figure in percent, or `n/a`."""
    return "n/a" if math.isnan(value) else f"{value:.{decimals}f}"


def _rank(value: float) -> str:
    """One decimal where it says something."""
    if math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if value == int(value) or value >= 1000 else f"{value:.1f}"


def _decimal(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _mean(values: list[float]) -> float:
    counted = [value for value in values if not math.isnan(value)]
    return sum(counted) / len(counted) if counted else math.nan
