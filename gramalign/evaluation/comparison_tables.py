"""A comparison as tables: means with their intervals, and ranks with theirs."""

from collections.abc import Callable, Mapping

from gramalign.evaluation.comparison import Comparison, Figure
from gramalign.evaluation.grid import Cell, Grid

_CAPTION = (
    "* the best mean; ~ not significantly different from it at the 5 % level, by a paired test "
    "over {} with Holm's correction for all pairs"
)


def mean_grid(
    comparison: Comparison,
    *,
    scores: Mapping[str, str] | None = None,
    title: str = "R@1 in percent",
) -> Grid:
    """Objectives against figures: mean ± half of the 95 % interval over seeds.

    The best mean is bold; those that do not differ from it significantly (paired test) are marked.

    Args:
        comparison: what to show.
        scores: objective -> the name of its own Score, for a column of its own if they differ.
        title: what the figures are.

    Returns:
        The table.
    """

    def cell(objective: str, name: str, figure: Figure) -> Cell:
        best = comparison.best.get(name) == objective
        mark = "*" if best else "~" if figure.may_be_best else ""
        return Cell(str(figure.over_seeds), mark, best)

    seeds = _seeds(comparison)
    spread = "mean ± half-width of the 95 % t-interval over seeds"
    if seeds == 2:
        spread += ", which is wide with two: with three it is less than a third of that"
    parts = [spread] if seeds > 1 else []
    parts += [_CAPTION.format(_over(comparison))] if comparison.best else []
    if any(_asked_others(figure) for row in comparison.figures.values() for figure in row.values()):
        parts.append("no mark, and n/a among ranks, also where the queries were different ones")
    return _grid(comparison, cell, scores, title, "; ".join(parts))


def rank_grid(
    comparison: Comparison, *, scores: Mapping[str, str] | None = None, title: str = "Ranks"
) -> Grid:
    """Objectives against figures: rank, and its 95 % interval if that is more than one place.

    Args:
        comparison: what to show.
        scores: as in `mean_grid`.
        title: what the ranks are of.

    Returns:
        The table.
    """

    def cell(objective: str, name: str, figure: Figure) -> Cell:
        best = comparison.best.get(name) == objective
        return Cell("n/a" if figure.rank is None else str(figure.rank), bold=best)

    caption = f"rank (95 % bootstrap interval over {_over(comparison)}); 1 is best"
    return _grid(comparison, cell, scores, title, caption)


def _seeds(comparison: Comparison) -> int:
    rows = comparison.figures.values()
    return max(figure.over_seeds.seeds for row in rows for figure in row.values())


def _over(comparison: Comparison) -> str:
    """What a test or an interval resamples."""
    return "queries and seeds" if _seeds(comparison) > 1 else "queries"


def _asked_others(figure: Figure) -> bool:
    """Whether an objective has a figure, but on other queries than those that are compared."""
    return figure.over_seeds.seeds > 0 and figure.rank is None


def _grid(
    comparison: Comparison,
    cell: Callable[[str, str, Figure], Cell],
    scores: Mapping[str, str] | None,
    title: str,
    caption: str,
) -> Grid:
    scores = scores or {}
    rows = []
    for objective, figures in comparison.figures.items():
        seeds = max(figure.over_seeds.seeds for figure in figures.values())
        labels = [Cell(objective), Cell(str(seeds))]
        labels += [Cell(scores.get(objective, ""))] if len(set(scores.values())) > 1 else []
        rows.append((*labels, *(cell(objective, *item) for item in figures.items())))
    names = next(iter(comparison.figures.values()))
    labels = ("objective", "seeds", "own Score")[: len(rows[0]) - len(names)]
    return Grid(title, (*labels, *names), tuple(rows), caption, len(labels))
