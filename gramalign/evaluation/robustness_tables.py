"""Curves of robustness as tables, one line per level."""

from rich.console import Group
from rich.text import Text

from gramalign.evaluation.robustness import Curve, Range, Robustness
from gramalign.evaluation.table_parts import percent, plain_table, titled

_TITLES = {
    "missing": "Modalities lost at random",
    "noise": "Noise on {}, in standard deviations",
    "dimensions": "Dimensions dropped at random",
    "precision": "Stored in lower precision",
}


def robustness_tables(found: Robustness) -> Group:
    """A table for each curve: R@1 under the cosine and the run's Score, and chance.

    Args:
        found: the curves.

    Returns:
        The tables, at most 100 columns wide.
    """
    return Group(*(_of_one(curve, found) for curve in found.curves))


def _of_one(curve: Curve, found: Robustness) -> Group:
    scores = tuple(dict.fromkeys(("cosine", found.score)))
    table = plain_table()
    table.add_column("level", no_wrap=True)
    lost = curve.kind == "missing"
    if lost:  # less than the rate, as a row keeps one
        table.add_column("of all\nmissing", justify="right", no_wrap=True)
    for task in found.tasks:
        for score in scores:
            head = f"{'pairs' if task == 'pair' else task}\n{score}"
            table.add_column(head, justify="right", overflow="fold")
    # Chance of pairs, which changes most of all.
    table.add_column("pairs\nchance", justify="right", style="dim")
    for point in curve.points:
        cells = [percent(100 * point.missing)] if lost else []
        cells += [
            _cell(point.figures[f"{task} R@1, {score}"]) for task in found.tasks for score in scores
        ]
        chance = percent(point.figures["pair chance R@1"].mean, 2)
        table.add_row(Text(point.label), *cells, chance)
    who = "all features" if curve.modalities == found.modalities else ", ".join(curve.modalities)
    title = _TITLES[curve.kind].format(who)
    several = f"mean ± half of the range over {found.repeats} repetitions"
    notes = "" if curve.kind == "precision" or found.repeats == 1 else several
    return titled(f"{title}: R@1 in percent", table, notes)


def _cell(figure: Range) -> str:
    half = (figure.largest - figure.least) / 2
    return percent(figure.mean) + (f" ± {half:.1f}" if half > 0 else "")
