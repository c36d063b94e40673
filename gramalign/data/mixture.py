"""Several feature stores as one."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from gramalign.counted import counted
from gramalign.data.expression import short_names
from gramalign.data.joined import JoinedRows
from gramalign.data.shares import Mixture
from gramalign.data.store import FeatureStore, FeatureStoreError, MappedRows, from_file


def mix(stores: Sequence[FeatureStore], weights: Sequence[float], source: str) -> FeatureStore:
    """Concatenates the rows of several stores.

    The modalities are those of all stores, in order of first appearance; a modality that a store
    lacks is absent in its rows. Features stay where they are and are read when needed.

    Ids are `store/id`, with the name of the store's file; if two names are equal, with the whole
    source, and a number if that is equal too. Labels are kept if all stores have them: a label is
    one class, in whichever store. No group spans two stores. Each store keeps its split; the
    mixture has none unless all have one.

    Args:
        stores: the stores to mix, at least two.
        weights: a positive number for each.
        source: what to call the result in messages.

    Raises:
        FeatureStoreError: a modality that two stores have in different widths, or weights that are
            not one positive number for each.
    """
    if len(weights) != len(stores) or not all(0 < weight < float("inf") for weight in weights):
        raise FeatureStoreError(
            f"weights are {list(weights)} for {counted(len(stores), 'store')}, expected a "
            "positive, finite number for each"
        )
    lengths = [len(store) for store in stores]
    names = list(dict.fromkeys(name for store in stores for name in store.modalities))
    for name in names:
        _check_width(name, stores)
    rows = np.arange(sum(lengths))
    arrays = {
        name: [
            from_file(store.features[name]) if name in store.features else None for store in stores
        ]
        for name in names
    }
    masks = {
        name: [store.present.get(name, np.zeros(len(store), bool)) for store in stores]
        for name in names
    }
    sources = [store.source for store in stores]
    _check_labels(stores)
    short = short_names(sources)
    if any(x.startswith(f"{y}/") for x in short for y in short):  # 0 of x/a, and a/0 of x
        short = [f"{number}:{name}" for number, name in enumerate(sources)]
    ids = [np.char.add(f"{x}/", store.ids) for x, store in zip(short, stores, strict=True)]
    of = np.repeat(np.arange(len(stores), dtype=np.int32), lengths)
    return FeatureStore(
        features={n: MappedRows(JoinedRows(parts, lengths), rows) for n, parts in arrays.items()},
        present={name: np.concatenate(parts) for name, parts in masks.items()},
        ids=np.concatenate(ids),
        labels=_column([store.labels for store in stores]),
        split=_column([store.split for store in stores]),
        groups=_groups(stores),
        source=source,
        mixture=Mixture(tuple(sources), tuple(weights), of),
    )


def _check_width(name: str, stores: Sequence[FeatureStore]) -> None:
    having = [store for store in stores if name in store.dims]
    first = having[0]
    for other in having[1:]:
        if other.dims[name] != first.dims[name]:
            raise FeatureStoreError(
                f"{name} has {counted(first.dims[name], 'feature')} a row in {first.source}, but "
                f"{other.dims[name]} in {other.source}: mixed stores need the same width; if these "
                f"are different features, rename one of them, such as {name}_2"
            )


def _check_labels(stores: Sequence[FeatureStore]) -> None:
    kinds = {None if x.labels is None else x.labels.dtype.kind == "U" for x in stores}
    if kinds == {True, False}:
        names = ", ".join(store.source for store in stores)
        raise FeatureStoreError(
            f"labels are text in some and numbers in others of {names}: mixed stores must give a "
            "class the same label"
        )


def _column(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    there = [part for part in parts if part is not None]
    return np.concatenate(there) if len(there) == len(parts) else None


def _groups(stores: Sequence[FeatureStore]) -> Int[np.ndarray, " n"] | None:
    if all(store.groups is None for store in stores):
        return None
    parts, taken = [], 0
    for store in stores:
        own = np.arange(len(store)) if store.groups is None else store.groups
        unique, numbers = np.unique(own, return_inverse=True)
        parts.append(taken + numbers)
        taken += len(unique)
    return np.concatenate(parts).astype(np.int32)
