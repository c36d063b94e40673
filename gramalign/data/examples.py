"""Rows of a feature store as arrays for a model: float32 features, and masks."""

import logging
from collections.abc import Iterator, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from gramalign.data.store import FeatureStore, FeatureStoreError, MappedRows

_log = logging.getLogger(__name__)


def gather(store: FeatureStore, rows: Int[np.ndarray, " b"]) -> dict[str, dict[str, np.ndarray]]:
    """Reads rows: `{"features": {m: f32[b, d_m]}, "present": {m: bool[b]}}`, zeros where absent."""
    return read(store.features, store.present, rows)


def read(
    features: Mapping[str, np.ndarray | MappedRows],
    present: Mapping[str, Bool[np.ndarray, " n"]],
    rows: Int[np.ndarray, " b"],
) -> dict[str, dict[str, np.ndarray]]:
    """As `gather`, from only the parts of a store that it needs."""
    there = {name: mask[rows] for name, mask in present.items()}
    found = {}
    for name, array in features.items():
        # NaN and Inf occur only in absent rows: the others were checked.
        with np.errstate(over="ignore", invalid="ignore"):
            values = array[rows].astype(np.float32, copy=False)
        if isinstance(array, MappedRows):
            there[name] &= ~array.lost(rows)
        if not there[name].all():
            values[~there[name]] = 0.0
        found[name] = values
    return {"features": found, "present": there}


def readable(store: FeatureStore) -> FeatureStore:
    """The rows of a store that can be read; reads every one to find out.

    Only a packed store that was opened to leave out damaged records is read; of any other store all
    rows count, and reading one that is damaged raises. For measuring rows, not for training.

    Raises:
        FeatureStoreError: none can be read.
    """
    arrays = [x for x in store.features.values() if isinstance(x, MappedRows) and x.may_lose]
    if not arrays:
        return store
    rows = np.arange(len(store))
    for start in range(0, len(rows), store.rows_at_once):
        for array in arrays:
            array[rows[start : start + store.rows_at_once]]
    lost = np.any([array.lost(rows) for array in arrays], axis=0)
    if not lost.any():
        return store
    if lost.all():
        raise FeatureStoreError(f"{store.source}: no row can be read")
    _log.warning("%s: %d of %d rows cannot be read", store.source, lost.sum(), len(store))
    return store.take(np.flatnonzero(~lost))


def examples(store: FeatureStore, batch_size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """Yields all rows in order, in batches of one shape, for embedding.

    Args:
        store: where rows come from.
        batch_size: rows in a batch, at least 1.

    Yields:
        A batch as from `gather`, and how many of its rows count: the last batch is padded with rows
        in which nothing is present.

    Raises:
        ValueError: a batch size below 1, or no whole number.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}, expected a whole number, at least 1")
    for start in range(0, len(store), batch_size):
        rows = np.arange(start, min(start + batch_size, len(store)))
        batch = gather(store, rows)
        padding = batch_size - len(rows)
        if padding:
            batch = {
                kind: {name: _pad(values, padding) for name, values in arrays.items()}
                for kind, arrays in batch.items()
            }
        yield batch, len(rows)


def _pad(values: np.ndarray, rows: int) -> np.ndarray:
    return np.pad(values, [(0, rows)] + [(0, 0)] * (values.ndim - 1))
