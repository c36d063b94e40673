"""An evaluation as rich tables: at most 100 columns wide, and complete without colour.

`tables` gives what a console prints; `to_text` gives the same as plain text for a log or a file.
"""

import io
import math

from rich.console import Console, Group, RenderableType
from rich.protocol import is_renderable
from rich.text import Text

from gramalign.counted import counted
from gramalign.evaluation.diagnostics_tables import diagnostics_table, warnings_list
from gramalign.evaluation.evaluation import Evaluation
from gramalign.evaluation.grid import Grid, to_rich
from gramalign.evaluation.means import mean
from gramalign.evaluation.relevance import NDCG_AT
from gramalign.evaluation.retrieval import RECALL_AT, Retrieval
from gramalign.evaluation.table_parts import (
    add_figures,
    add_tasks,
    decimal,
    heat,
    percent,
    plain_table,
    task_table,
    titled,
)


def tables(evaluation: Evaluation) -> Group:
    """All tables of an evaluation, for `rich.console.Console.print`.

    Args:
        evaluation: the figures.

    Returns:
        The pair table (for more than two modalities), the tuple table, those of labels and of
        anything else that was asked for, the diagnostics, and the warnings that follow from them.
    """
    parts = [pair_table(evaluation)] if len(evaluation.modalities) > 2 else []
    parts.append(tuple_table(evaluation))
    if evaluation.by_label:
        parts.append(label_table(evaluation))
    if evaluation.beside:
        parts.append(beside_tables(evaluation))
    return Group(*parts, diagnostics_table(evaluation), warnings_list(evaluation.diagnostics))


def to_text(shown: Evaluation | Grid | RenderableType, *, width: int = 100) -> str:
    """Render as plain text, without colour or control codes.

    Args:
        shown: an evaluation, for its `tables`; a grid; or any tables of rich.
        width: columns.

    Returns:
        The lines, without blanks at their ends.

    Raises:
        TypeError: anything else.
    """
    if isinstance(shown, Evaluation):
        shown = tables(shown)
    elif isinstance(shown, Grid):
        shown = to_rich(shown)
    if not is_renderable(shown):
        raise TypeError(
            f"got {type(shown).__name__} to show, expected an Evaluation, or a table, such as "
            "mean_grid of a Comparison makes"
        )
    console = Console(
        file=io.StringIO(),
        width=width,
        color_system=None,
        markup=False,
        emoji=False,
        force_jupyter=False,  # there, capturing would still show an empty box
    )
    with console.capture() as captured:
        console.print(shown)
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
            heat(found[query, gallery].recall[1]) if query != gallery else Text("- ", style="dim")
            for gallery in names
        ]
        table.add_row(Text(query), *cells)

    notes = [f"mean {percent(evaluation.summary()['pair R@1, cosine'])}"]
    if evaluation.score != "cosine":
        own = [evaluation.find((a,), (b,), evaluation.score).recall[1] for a, b in found]
        notes.append(f"under {evaluation.score} {percent(mean(own))}")
    if evaluation.baseline:
        baseline = evaluation.summary(baseline=True)["pair R@1, cosine"]
        notes.append(f"linear GCCA {percent(baseline)}")
    chance = mean([result.chance[1] for result in found.values()])
    notes.append(f"chance {percent(chance, 2)}")
    return titled(
        "Pairs: R@1 in percent under the cosine, query (row) -> gallery (column)",
        table,
        ", ".join(notes),
    )


def tuple_table(evaluation: Evaluation) -> Group:
    """One -> the rest and the rest -> one: the run's Score, the cosine, GCCA and chance."""
    scores = tuple(dict.fromkeys((evaluation.score, "cosine")))
    table = task_table()
    for name in scores:
        add_figures(table, name, (*(f"R@{k}" for k in RECALL_AT), "med", "mean"))
    if evaluation.baseline:
        table.add_column("GCCA\nR@1", justify="right", no_wrap=True)
    table.add_column("chance\nR@1", justify="right", no_wrap=True, style="dim")
    queries: list[int] = []

    def cells(query: tuple[str, ...], gallery: tuple[str, ...]) -> list[str]:
        results = [evaluation.find(query, gallery, name) for name in scores]
        some = max(results, key=lambda result: result.queries)  # a fused Score may have none
        queries.append(some.queries)
        found = [cell for result in results for cell in _figures(result)]
        if evaluation.baseline:
            baseline = evaluation.find(query, gallery, "cosine", baseline=True)
            found.append(percent(baseline.recall[1]))
        return [*found, percent(some.chance[1], 2)]

    add_tasks(table, evaluation.modalities, cells)
    return titled(
        f"{'Pair' if len(evaluation.modalities) == 2 else 'Tuples'}: R@k in percent, median and "
        f"mean rank of the match (1 is best) under {' and '.join(scores)}",
        table,
        f"{counted(min(queries), 'query')} in every row"
        if len(set(queries)) == 1
        else f"{min(queries)} to {max(queries)} queries per row",
    )


def label_table(evaluation: Evaluation) -> Group:
    """Retrieval of everything with the query's label, under the run's Score and the cosine."""
    scores = tuple(dict.fromkeys(result.score for result in evaluation.by_label))
    found = {(x.query, x.gallery, x.score): x for x in evaluation.by_label}
    table = task_table()
    for name in scores:
        add_figures(table, name, ("R@1", "MRR", "mAP", f"nDCG@{NDCG_AT}"))
    table.add_column("chance\nmAP", justify="right", no_wrap=True, style="dim")

    def cells(query: tuple[str, ...], gallery: tuple[str, ...]) -> list[str]:
        results = [found[query, gallery, name] for name in scores]
        shown = []
        for x in results:
            means = x.mean_reciprocal_rank, x.mean_average_precision, x.ndcg
            shown += [percent(x.recall[1]), *(decimal(value) for value in means)]
        return [*shown, decimal(results[0].chance_average_precision)]

    add_tasks(table, evaluation.modalities, cells)
    right = mean([result.right for result in evaluation.by_label])
    return titled(
        "Labels: everything with the query's label is right, its own example included",
        table,
        f"{right:.1f} right answers per query, on average",
    )


def beside_tables(evaluation: Evaluation) -> Group:
    """Re-ranked figures and those under the dual softmax, each beside the plain ones."""
    figures = (*(f"R@{k}" for k in RECALL_AT), "MRR")
    parts = []
    for name in dict.fromkeys(result.score for result in evaluation.beside):
        table = task_table()
        add_figures(table, evaluation.score, figures)
        add_figures(table, name.removeprefix(f"{evaluation.score}, "), figures)

        def cells(query: tuple[str, ...], gallery: tuple[str, ...], name: str = name) -> list[str]:
            found = []
            for score in (evaluation.score, name):
                x = evaluation.find(query, gallery, score)
                found += [percent(x.recall[k]) for k in RECALL_AT]
                found.append(decimal(x.mean_reciprocal_rank))
            return found

        add_tasks(table, evaluation.modalities, cells)
        parts.append(titled(f"Plain, and {name.removeprefix(f'{evaluation.score}, ')}", table))
    return Group(*parts)


def _figures(result: Retrieval) -> list[str]:
    return [
        *(percent(result.recall[k]) for k in RECALL_AT),
        _rank(result.median_rank),
        _rank(result.mean_rank),
    ]


def _rank(value: float) -> str:
    """A rank, with one decimal where that is informative."""
    if math.isnan(value):
        return "n/a"
    return f"{value:.0f}" if value == int(value) or value >= 1000 else f"{value:.1f}"
