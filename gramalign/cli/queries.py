"""What `gramalign search` is asked: a row by its id, or all rows of a store by its path."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from gramalign.counted import counted
from gramalign.data import FeatureStore, load, readable
from gramalign.search import Index
from gramalign.training import Run, embed_store

_COMPARED = 100_000  # similar ids are looked for among so many


@dataclass(frozen=True)
class Queries:
    """Embedded queries.

    Attributes:
        ids: of each.
        embeddings: per modality `[q, dim]`.
        present: per modality where it is there.
        new: whether they are embedded for this search, and no rows of what ids are taken from.
    """

    ids: tuple[str, ...]
    embeddings: Mapping[str, Float[np.ndarray, "q dim"]]
    present: Mapping[str, Bool[np.ndarray, " q"]]
    new: bool


def queries(run: Run, asked: str, by: Sequence[str], source: FeatureStore | Index) -> Queries:
    """Finds and embeds what is asked.

    Args:
        run: what embeds it.
        asked: an id of the source or, if it is none, a path of a feature store.
        by: modalities to ask with; none: the first that the row has, or all that the store has.
        source: of ids.

    Raises:
        ValueError: neither an id nor a path; a modality that run, row or store lacks.
    """
    for name in by:
        if name not in run.dims:
            raise ValueError(f"--by is {name}, but the run embeds {', '.join(run.dims)}")
    (rows,) = np.nonzero(source.ids == asked)
    if len(rows):
        return _one_row(run, int(rows[0]), by, source)
    if not Path(asked).exists():
        close = difflib.get_close_matches(asked, source.ids[:_COMPARED].tolist())
        hint = f"ids are such as {source.ids[0].item()!r}"
        if close:
            hint = f"did you mean {' or '.join(map(repr, close))}?"
        raise ValueError(
            f"{asked!r} is neither an id of the {counted(len(source), 'row')} nor the path of a "
            f"feature store: {hint}"
        )
    store = readable(load(Path(asked), on_bad_record=run.config.on_bad_record))
    known = by or [name for name in store.modalities if name in run.dims]
    store = store.only(known) if known else store  # which is then refused
    return Queries(tuple(store.ids.tolist()), embed_store(run, store), store.present, True)


def _one_row(run: Run, row: int, by: Sequence[str], source: FeatureStore | Index) -> Queries:
    there = [name for name in source.modalities if source.present[name][row] and name in run.dims]
    name = str(source.ids[row])
    lacks = [modality for modality in by if modality not in there]
    if lacks or not there:
        raise ValueError(
            f"row {name!r} has no {' and no '.join(lacks) or 'modality of the run'}; "
            f"it has {', '.join(there) or 'none of them'}"
        )
    chosen = list(by) or there[:1]
    if isinstance(source, Index):
        embeddings = {m: source.embeddings[m][row : row + 1] for m in chosen}
    else:
        one = readable(source.take(np.array([row])).only(chosen))
        embeddings = embed_store(run, one, batch_size=1)
    return Queries((name,), embeddings, {m: np.ones(1, bool) for m in chosen}, False)
