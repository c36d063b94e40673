"""Endless shuffled batches of a feature store, as a Grain dataset."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import grain
import numpy as np
from jaxtyping import Int

from gramalign.counted import counted
from gramalign.data.examples import read
from gramalign.data.order import MixedOrder, Order
from gramalign.data.store import FeatureStore, MappedRows, from_file
from gramalign.data.workers import in_workers

# One thread reads files ahead while the device computes; more threads only compete for memory. A
# small batch from memory is copied in less time than a thread takes to hand it over, and a large
# one while the device computes the previous step.
_AHEAD = 4
_FILES = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
_MEMORY = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)


def batches(
    store: FeatureStore,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    places: Int[np.ndarray, " n"] | None = None,
    workers: int = 0,
    put: Callable[[Any], Any] | None = None,
) -> grain.DatasetIterator:
    """Iterates over shuffled batches for ever.

    Every epoch is shuffled anew, by the seed alone. Every row comes once per epoch; a batch that
    reaches an epoch's end is filled from the next epoch, so all batches have one shape. For a
    mixture, every batch holds rows of each store in proportion to its weight, and each store has
    epochs of its own.

    The contents of a batch follow from its number, so a run resumes on the same rows by `start`
    alone, and each of several processes can read its own `places` of the same batches.

    Args:
        store: where rows come from.
        batch_size: rows per batch, at most those of the store.
        seed: any integer >= 0.
        start: number of the first batch, from 0.
        places: which of a batch's rows to read, by their places in it; None: all.
        workers: number of processes that take turns to read batches; 0: this process reads, in a
            thread if features are in files. They end when the iterator is closed. As always in
            Python, a script that starts them keeps its code under `if __name__ == "__main__":`.
        put: applied to each batch by the process that iterates, such as a transfer to devices.

    Returns:
        Iterator of `{"features": {m: f32[b, d_m]}, "present": {m: bool[b]}, "groups": i32[b]}`,
        and `"labels": i32[b]` if the store has them; features are zero where not present, groups
        are row numbers if the store has none.

    Raises:
        ValueError: a batch size below 1 or over the number of rows, or a negative seed, start or
            number of workers; for a mixture, a store of which a batch would hold no row, or more
            rows than there are, or rows without any modality.
        OSError: more workers than there is shared memory for.
    """
    check_batches(store, batch_size=batch_size, seed=seed)
    for name, number in (("workers", workers), ("start", start)):
        if number < 0:
            raise ValueError(f"{name} is {number}, expected an integer >= 0")
    if store.mixture is None:
        order = Order(len(store), batch_size, (seed,))
    else:
        order = MixedOrder(store.mixture, batch_size, seed)
    places = np.arange(batch_size) if places is None else places
    fill = _Fill(store, places, tell_lost=workers > 0)
    filled = grain.MapDataset.source(order)[start:].map(fill)
    if not workers:
        read = _FILES if fill.from_files else _MEMORY
        return iter((filled.map(put) if put else filled).to_iter_dataset(read))
    sent = filled.to_iter_dataset(_FILES)
    received = in_workers(sent, workers, store=store, batch_size=len(places))
    if put is None:
        return iter(received)
    ahead = grain.experimental.ThreadPrefetchIterDataset
    return iter(ahead(received.map(put), prefetch_buffer_size=_AHEAD))


def check_batches(store: FeatureStore, *, batch_size: int, seed: int) -> None:
    """Raises a ValueError as `batches` does, without starting anything."""
    if not isinstance(batch_size, Integral) or not 1 <= batch_size <= len(store):
        raise ValueError(
            f"batch_size is {batch_size!r}, but {store.source} has {counted(len(store), 'row')} "
            f"here, expected 1 to {len(store)}"
        )
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected an integer >= 0")
    if store.mixture is None:
        return
    store.mixture.shares(batch_size)
    for number, name in enumerate(store.mixture.names):
        rows = store.mixture.rows(number)
        if not any(mask[rows].any() for mask in store.present.values()):
            raise ValueError(
                f"{name} has none of {', '.join(store.modalities)} here: leave it out of the "
                "mixture, or add a modality that it has"
            )


class _Fill:
    """Reads the rows of a batch, given their numbers.

    Pickles without what no batch needs: the ids of the rows can be larger than everything else.
    """

    def __init__(self, store: FeatureStore, places: np.ndarray, tell_lost: bool):
        self._features = {name: from_file(array) for name, array in store.features.items()}
        self.from_files = any(isinstance(array, MappedRows) for array in self._features.values())
        self._present = store.present
        groups = np.arange(len(store), dtype=np.int32) if store.groups is None else store.groups
        self._columns = {"groups": groups}
        if store.labels is not None:
            labels = np.unique(store.labels, return_inverse=True)[1]
            self._columns["labels"] = labels.astype(np.int32)
        self._places = places
        self._tell_lost = tell_lost

    def __call__(self, batch: np.ndarray) -> dict[str, Any]:
        rows = batch[self._places]
        filled: dict[str, Any] = read(self._features, self._present, rows)
        filled |= {name: column[rows] for name, column in self._columns.items()}
        if self._tell_lost:
            arrays = [array for array in self._features.values() if isinstance(array, MappedRows)]
            filled["lost"] = rows[np.any([array.lost(rows) for array in arrays], axis=0)]
        return filled
