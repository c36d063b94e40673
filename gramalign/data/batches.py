"""Endless shuffled batches of a feature store, as a Grain dataset."""

import functools
import sys

import grain
import numpy as np
from jaxtyping import Int

from gramalign.data.examples import gather
from gramalign.data.store import FeatureStore

# One thread reads ahead while the device computes; more of them only compete for memory.
_READ = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)


def batches(
    store: FeatureStore,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    places: Int[np.ndarray, " n"] | None = None,
) -> grain.DatasetIterator:
    """Iterates over shuffled batches for ever.

    The order is new in each epoch and follows from the seed alone. Every row comes once an epoch;
    a batch that an epoch's end falls into is filled from the next epoch, so all have one shape.

    What a batch holds follows from its number, so a run resumes on the same rows by `start` alone,
    and each of several processes can read its own `places` of the same batches.

    Args:
        store: where rows come from.
        batch_size: rows in a batch, at most those of the store.
        seed: any integer >= 0.
        start: number of the first batch, from 0.
        places: which of a batch's rows to read, by their places in it; None: all.

    Returns:
        Iterator of `{"features": {m: f32[b, d_m]}, "present": {m: bool[b]}, "groups": i32[b]}`,
        and `"labels": i32[b]` where the store has them; features are zero where not present, groups
        are row numbers where the store has none.

    Raises:
        ValueError: a batch size below 1 or over the number of rows, or a negative seed.
    """
    if not 1 <= batch_size <= len(store):
        raise ValueError(
            f"batch_size is {batch_size}, but {store.source} has {len(store)} rows here: wanted a "
            f"batch_size from 1 to {len(store)}"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}: wanted an integer >= 0")
    groups = np.arange(len(store), dtype=np.int32) if store.groups is None else store.groups

    places = np.arange(batch_size) if places is None else places
    columns = {"groups": groups}
    if store.labels is not None:
        columns["labels"] = np.unique(store.labels, return_inverse=True)[1].astype(np.int32)

    def fill(batch: np.ndarray) -> dict:
        rows = batch[places]
        return gather(store, rows) | {name: column[rows] for name, column in columns.items()}

    order = _Order(len(store), batch_size, seed)
    return iter(grain.MapDataset.source(order)[start:].map(fill).to_iter_dataset(_READ))


class _Order:
    """The row numbers of every batch, by the batch's number.

    Whole batches, rather than Grain's own shuffle and batch: those handle rows one by one in
    Python, which takes longer than copying the features.
    """

    def __init__(self, rows: int, batch_size: int, seed: int):
        self._rows = rows
        self._batch_size = batch_size
        self._seed = seed
        # Two, for the batch in which one epoch ends and the next begins.
        self._permutation = functools.lru_cache(maxsize=2)(self._shuffle)

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, index: int) -> np.ndarray:
        epoch, start = divmod(index * self._batch_size, self._rows)
        rows = self._permutation(epoch)[start : start + self._batch_size]
        missing = self._batch_size - len(rows)
        if missing:
            rows = np.concatenate([rows, self._permutation(epoch + 1)[:missing]])
        return rows

    def _shuffle(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self._seed, epoch]).permutation(self._rows)
