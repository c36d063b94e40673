"""What `gramalign search` found, as records and as a table for each query."""

from collections.abc import Mapping
from dataclasses import dataclass

import rich.console
import rich.table
import rich.text

from gramalign.cli.queries import Queries
from gramalign.search import Hits, Index

_NO_HITS = (
    "no hits: the query, or every row, lacks the named modalities, or all its embeddings are zeros"
)


@dataclass(frozen=True)
class Hit:
    """One row that was found.

    Attributes:
        rank: 1 is best.
        id: of the row.
        score: larger is better.
        label: class of the row, if that is known.
        modalities: that the row has.
        is_query: whether it is the row that was asked with.
    """

    rank: int
    id: str
    score: float
    label: int | str | None
    modalities: list[str]
    is_query: bool


@dataclass(frozen=True)
class Found:
    """All that was found for one query.

    Attributes:
        query: its id.
        by: modalities it was asked with.
        score: name of the Score.
        hits: best first; none where the query has no modality.
    """

    query: str
    by: list[str]
    score: str
    hits: list[Hit]


def found(
    hits: Hits,
    index: Index,
    asked: Queries,
    score: str,
    labels: Mapping[str, int | str],
    *,
    own: bool,
) -> list[Found]:
    """Records of a search.

    Args:
        hits: what was found.
        index: where.
        asked: the queries.
        score: by which Score.
        labels: classes by id.
        own: whether equal ids of query and row are of one example.
    """
    results = []
    for q, query in enumerate(asked.ids):
        rows = []
        for place, number in enumerate(hits.numbers[q]):
            if number < 0:
                break
            name = str(hits.ids[q, place])
            there = [m for m, mask in index.present.items() if mask[number]]
            value = float(hits.scores[q, place])
            rows.append(Hit(place + 1, name, value, labels.get(name), there, own and name == query))
        by = [m for m, mask in asked.present.items() if mask[q]]
        results.append(Found(query, by, score, rows))
    return results


def table(one: Found, against: str) -> rich.console.Group:
    """A line for each hit, under a line that says what was asked."""
    title = f"{one.query}: {' + '.join(one.by) or 'none'} -> {against}, {one.score}"
    shown = rich.table.Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    labelled = any(hit.label is not None for hit in one.hits)
    for name in ("rank", "score", *(["label"] if labelled else [])):
        shown.add_column(name, justify="right", no_wrap=True)
    for name in ("id", "has"):
        shown.add_column(name, overflow="fold")
    for hit in one.hits:
        label = ["" if hit.label is None else str(hit.label)] if labelled else []
        name = rich.text.Text(f"{hit.id}  (the query)" if hit.is_query else hit.id)
        has = rich.text.Text(", ".join(hit.modalities))
        style = "dim" if hit.is_query else None
        shown.add_row(str(hit.rank), f"{hit.score:.4f}", *label, name, has, style=style)
    # Not the table's own title or caption, which would be broken at its width.
    return rich.console.Group(
        rich.text.Text(title, style="table.title"),
        shown if one.hits else rich.text.Text(_NO_HITS),
    )
