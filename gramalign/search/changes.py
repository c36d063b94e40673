"""What becomes of entries whose rows change: new ones, which share no array with the old."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Shaped

from gramalign.counted import counted
from gramalign.search.entries import Entries


def joined(entries: Entries, other: Entries, *, replace: bool) -> Entries:
    """The rows of both; a modality that only one of them has is absent from the other's rows.

    Args:
        entries: whose rows come first, in their order.
        other: whose rows follow, but for those that take the place of another.
        replace: whether they may take the place of rows of the same id.

    Raises:
        ValueError: two makers, two dims, or an id of both without `replace`.
    """
    if other.made_by != entries.made_by:
        raise ValueError(
            f"other: got rows made by {other.made_by!r}, expected by {entries.made_by!r}, as those "
            "of this index: distances between two spaces mean nothing; embed them by the same, or, "
            "if they are, say so, Index(..., made_by=index.made_by)"
        )
    if other.dim != entries.dim:
        raise ValueError(
            f"other: got dim {other.dim}, expected that of the index, {entries.dim}; embed "
            "its rows with the model that embedded the index"
        )
    places = {name: row for row, name in enumerate(entries.ids.tolist())}
    numbers = np.array([places.get(name, -1) for name in other.ids.tolist()])
    added = numbers < 0
    if not replace and not added.all():
        twice = np.flatnonzero(~added)
        raise ValueError(
            f"ids: the index has {str(other.ids[twice[0]])!r} already "
            f"({counted(len(twice), 'such row')}), expected other ids; rename the rows, or put "
            "them in the place of those there, replace=True"
        )
    size = len(entries) + int(added.sum())
    numbers[added] = np.arange(len(entries), size)
    embeddings, present = {}, {}
    for name in dict.fromkeys((*entries.embeddings, *other.embeddings)):
        rows, mask = np.zeros((size, entries.dim), np.float32), np.zeros(size, bool)
        if name in entries.embeddings:
            rows[: len(entries)] = entries.embeddings[name]
            mask[: len(entries)] = entries.present[name]
        rows[numbers] = other.embeddings.get(name, 0)
        mask[numbers] = other.present.get(name, False)
        embeddings[name], present[name] = rows, mask
    ids = np.concatenate([entries.ids, other.ids[added]])
    return Entries(embeddings, present, ids, entries.made_by)


def without(
    entries: Entries, ids: str | Sequence[str | int] | Shaped[np.ndarray, "..."]
) -> Entries:
    """The other rows, in their order.

    Raises:
        TypeError: a number.
        ValueError: an id that no row has, or those of all rows.
    """
    if isinstance(ids, np.ndarray) and not ids.ndim:
        ids = ids.item()
    if not isinstance(ids, Iterable):
        raise TypeError(f"ids: got {ids!r}, expected a string, or several ids: [{ids!r}]")
    gone = {ids} if isinstance(ids, str) else {str(name) for name in ids}
    have = entries.ids.tolist()
    unknown = sorted(gone.difference(have))
    if unknown:
        raise ValueError(
            f"ids: got {unknown[0]!r} ({counted(len(unknown), 'such id')}), which no row of the "
            "index has; leave out what is not in index.ids"
        )
    kept = np.array([name not in gone for name in have])
    if not kept.any():
        raise ValueError(
            f"ids: got those of all {counted(len(kept), 'row')}, expected at least one row to be "
            "left; make a new Index of others"
        )
    embeddings = {name: x[kept] for name, x in entries.embeddings.items()}
    present = {name: x[kept] for name, x in entries.present.items()}
    return Entries(embeddings, present, entries.ids[kept], entries.made_by)
