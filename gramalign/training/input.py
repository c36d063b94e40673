"""The batches of a run, from the store to the devices."""

import contextlib
from collections.abc import Generator
from typing import Any

from jax.sharding import Mesh

from gramalign.data import FeatureStore, batches
from gramalign.data.batches import check_batches
from gramalign.training.config import Config
from gramalign.training.layout import own_places, put


class Data:
    """What a run trains on.

    Args:
        store: the training rows.
        config: the run.
        mesh: its devices; each process reads what its own are given.

    Raises:
        ValueError: a batch size that the store has not rows enough for, or as `batches`.
    """

    def __init__(self, store: FeatureStore, config: Config, mesh: Mesh):
        self._store, self._config, self._mesh = store, config, mesh
        self._places = own_places(config.batch_size, mesh)
        check_batches(store, batch_size=config.batch_size, seed=config.seed)

    def batches(self, start: int) -> Generator[Any]:
        """The batches from a step on, counted from 0, each on its devices.

        What reads them ends when the generator is closed.
        """
        config = self._config
        reader = batches(
            self._store,
            batch_size=config.batch_size,
            seed=config.seed,
            start=start,
            places=self._places,
            workers=config.workers,
        )
        with contextlib.closing(reader):
            for batch in reader:
                yield put(batch, config.batch_size, self._mesh)
