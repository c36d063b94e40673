"""The batches of a run, from the store to the devices."""

from collections.abc import Iterator
from typing import Any

from jax.sharding import Mesh

from gramalign.data import FeatureStore, batches
from gramalign.training.config import Config
from gramalign.training.layout import own_places, put


class Data:
    """What a run trains on.

    Args:
        store: the training rows.
        config: the run.
        mesh: its devices; each process reads what its own are given.

    Raises:
        ValueError: a batch size that the store has not rows enough for.
    """

    def __init__(self, store: FeatureStore, config: Config, mesh: Mesh):
        self._store, self._config, self._mesh = store, config, mesh
        self._places = own_places(config.batch_size, mesh)
        self._read(0)

    def batches(self, start: int) -> Iterator[Any]:
        """The batches from a step on, counted from 0, each on its devices."""
        for batch in self._read(start):
            yield put(batch, self._config.batch_size, self._mesh)

    def _read(self, start: int) -> Iterator[Any]:
        size, seed = self._config.batch_size, self._config.seed
        return batches(self._store, batch_size=size, seed=seed, start=start, places=self._places)
