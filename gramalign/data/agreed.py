"""What sources that were made apart know of the same rows: their labels, split and groups."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int, Shaped
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from gramalign.counted import counted
from gramalign.data.by_id_source import Source
from gramalign.data.store import FeatureStoreError

_log = logging.getLogger(__name__)


def agreed(
    known: Mapping[str, Shaped[np.ndarray, " rows"]],
    sources: Sequence[tuple[Source, Int[np.ndarray, " rows"]]],
) -> dict[str, Shaped[np.ndarray, " rows"]]:
    """What sources know besides, if of all rows; tells what they know only of some.

    Args:
        known: of the rows, their ids at least.
        sources: each with its place of each row, -1 where it has none.

    Raises:
        FeatureStoreError: two sources say different things of a row.
    """
    ids = known["ids"]
    found = {name: _same(name, ids, sources) for name in ("labels", "split") if name not in known}
    if "groups" not in known:
        found["groups"] = _united(len(ids), sources)
    return {name: column for name, column in found.items() if column is not None}


def _same(
    name: str,
    ids: Shaped[np.ndarray, " rows"],
    sources: Sequence[tuple[Source, Int[np.ndarray, " rows"]]],
) -> Shaped[np.ndarray, " rows"] | None:
    found, known = np.zeros(len(ids), object), np.zeros(len(ids), bool)
    for source, places in sources:
        if name not in source.columns:
            continue
        rows = np.flatnonzero(places >= 0)
        values = source.columns[name][places[rows]]
        differ = known[rows] & (found[rows].astype(str) != values.astype(str))
        if differ.any():
            row = rows[np.argmax(differ)]
            raise FeatureStoreError(
                f"{name}: of {str(ids[row])!r}, {source.where} has "
                f"{values[np.argmax(differ)].item()!r}, and another source {found[row]!r}: say in "
                "a table which it is"
            )
        found[rows], known[rows] = values, True
    if not known.any():
        return None
    if not known.all():
        _log.warning(
            "left out %s, as no source has those of %s, such as %r: give all in a table",
            *(name, counted(int((~known).sum()), "row"), str(ids[np.argmin(known)])),
        )
        return None
    return np.array(found.tolist())


def _united(
    number: int, sources: Sequence[tuple[Source, Int[np.ndarray, " rows"]]]
) -> Int[np.ndarray, " rows"] | None:
    """Rows that are of one group in any source are of one here; others stand for themselves."""
    first, second, nodes = [], [], number
    for source, places in sources:
        if "groups" in source.columns:
            rows = np.flatnonzero(places >= 0)
            groups = source.columns["groups"]
            first.append(rows)
            second.append(nodes + groups[places[rows]])
            nodes += int(groups.max()) + 1
    if not first:
        return None
    ends = np.concatenate(first), np.concatenate(second)
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(nodes, nodes))
    united = connected_components(graph, directed=False)[1][:number]
    return np.unique(united, return_inverse=True)[1]
