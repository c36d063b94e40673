"""Contributions of modalities as a table, one line per target."""

import itertools
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from gramalign.evaluation.contribution import Contribution, Difference
from gramalign.evaluation.table_parts import percent, plain_table, titled


def contribution_table(found: Sequence[Contribution]) -> Group:
    """For each Score, R@1 of rest -> one, and the points that each modality adds to it.

    Args:
        found: from `contributions`.

    Returns:
        A table for each Score.
    """
    by_score = itertools.groupby(found, key=lambda item: item.score)
    return Group(*(_of_score(score, list(items)) for score, items in by_score))


def _of_score(score: str, found: Sequence[Contribution]) -> Group:
    table = plain_table()
    table.add_column("found", overflow="fold")
    table.add_column("by all\nR@1", justify="right", no_wrap=True)
    table.add_column("by the best alone\nR@1", justify="right", overflow="fold")
    table.add_column("gain", justify="right", no_wrap=True, style="bold")
    names = [item.target for item in found]
    for name in names:
        table.add_column(Text(f"{name}\nadds"), justify="right", overflow="fold")
    for item in found:
        best = Text(f"{item.best} {percent(item.alone[item.best].recall[1])}")
        adds = [points(item.worth[name]) if name in item.worth else "- " for name in names]
        cells = percent(item.joint.recall[1]), best, points(item.gain)
        table.add_row(Text(item.target), *cells, *adds)
    return titled(
        f"Contribution: R@1 of rest -> one under {score}, and the points that a modality adds",
        table,
        "\n".join(notes(found)),
    )


def notes(found: Sequence[Contribution]) -> list[str]:
    """What is to be known of a table: its test, what it leaves out, and its queries."""
    compared = [(item, x) for item in found for x in (item.gain, *item.worth.values())]
    grouped = any(each.by_group for _, each in compared)
    test = "sign-flip test over groups of queries" if grouped else "McNemar's exact test"
    said = [
        f"* differs from 0: {test}, p < 0.05, not corrected for multiple tests",
        "each is left out alone: if two say the same, neither adds any, though both together may",
    ]
    if any(each.queries < item.joint.queries for item, each in compared):
        said.append("gain and points are over the queries that both sides of the comparison have")
    return said


def points(value: Difference) -> str:
    """Points of R@1, with a mark if they differ from 0; n/a without a query."""
    mark = "*" if value.p_value < 0.05 else " "
    return "n/a " if not value.queries else f"{value.points:+.1f}{mark}"
