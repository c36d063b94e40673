"""The batches of a run, from the store to the devices."""

import dataclasses
import functools

import grain
from jax.sharding import Mesh

from gramalign.counted import counted
from gramalign.data import FeatureStore, batches
from gramalign.data.batches import check_batches
from gramalign.training.config import Config
from gramalign.training.layout import of_batches, own_places, put


class Data:
    """What a run trains on.

    Args:
        store: the training rows.
        config: the run.
        mesh: its devices; each process reads the rows of its own devices.

    Raises:
        ValueError: fewer than two rows, a batch size larger than the store, or as `batches`.
    """

    def __init__(self, store: FeatureStore, config: Config, mesh: Mesh):
        if not any(term.needs_labels for term in config.terms.values()):
            store = dataclasses.replace(store, labels=None)
        self._store, self._config, self._mesh = store, config, mesh
        self._places = own_places(config.batch_size, mesh)
        if config.steps:
            if len(store) < 2:
                raise ValueError(
                    f"{store.source} has {counted(len(store), 'training row')}, expected at least "
                    "2: mark more as train in the array 'split'"
                )
            check_batches(store, batch_size=config.batch_size, seed=config.seed)

    def batches(self, start: int) -> grain.DatasetIterator:
        """The batches from a step on, counted from 0, as a compiled step takes them.

        With one process these are host arrays: the step transfers them itself, to one device faster
        than `jax.device_put`. The reader ends when the iterator is closed.
        """
        size = self._config.batch_size
        several = not of_batches(self._mesh).is_fully_addressable
        return batches(
            self._store,
            batch_size=size,
            seed=self._config.seed,
            start=start,
            places=self._places,
            workers=self._config.workers,
            put=functools.partial(put, size=size, mesh=self._mesh) if several else None,
        )
