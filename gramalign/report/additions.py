"""What each modality adds to finding every other, as `evaluate --contribution` has measured."""

from collections.abc import Sequence

from gramalign.evaluation.contribution import Contribution, Contributions, Difference
from gramalign.evaluation.contribution_table import notes, points
from gramalign.report.blocks import Cell, Table
from gramalign.report.figures import NONE, percent


def addition_tables(found: Contributions) -> list[Table]:
    """A table for each Score, one line per target."""
    scores = dict.fromkeys(item.score for item in found.targets)
    return [_table(score, [x for x in found.targets if x.score == score]) for score in scores]


def _table(score: str, found: Sequence[Contribution]) -> Table:
    names = [item.target for item in found]
    head = [
        [Cell(""), Cell("R@1", span=2), Cell("points", span=1 + len(names))],
        [
            *map(Cell, ("found", "by all", "by the best alone", "gain")),
            *(Cell(f"{name} adds") for name in names),
        ],
    ]
    rows = [
        [
            Cell(item.target),
            Cell(percent(item.joint.recall[1])),
            Cell(f"{percent(item.alone[item.best].recall[1])} ({item.best})"),
            Cell(_points(item.gain), strong=True),
            *(Cell(_points(item.worth[x]) if x in item.worth else "") for x in names),
        ]
        for item in found
    ]
    said = ". ".join(f"{note[0].upper()}{note[1:]}" for note in notes(found))
    return Table(f"Rest → one under {score}", head, rows, f"{said}.")


def _points(value: Difference) -> str:
    return points(value).strip() if value.queries else NONE
