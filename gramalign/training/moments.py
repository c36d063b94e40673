"""Mean and standard deviation of the training rows, for towers that standardise."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32

from gramalign.data import FeatureStore, gather

_log = logging.getLogger(__name__)

Moments = tuple[Float32[np.ndarray, " d"], Float32[np.ndarray, " d"]]
"""Mean and standard deviation of each feature."""


def moments(store: FeatureStore, of: Sequence[str] | None = None) -> dict[str, Moments]:
    """Measures modalities over the rows where they are present, internally in float64.

    Reads every row once. Zeros for a modality that is present nowhere.

    Args:
        store: the rows.
        of: which modalities; None: all.
    """
    if of is not None:
        if not of:
            return {}
        store = store.only(of)
    step = store.rows_at_once
    if len(store) > step:
        _log.info("measuring the features of %d rows of %s", len(store), store.source)
    sums = {name: _Sums(dim) for name, dim in store.dims.items()}
    for start in range(0, len(store), step):
        found = gather(store, np.arange(start, min(start + step, len(store))))
        for name, of_name in sums.items():
            of_name.add(found["features"][name][found["present"][name]])
    return {name: of_name.moments() for name, of_name in sums.items()}


def varied(measured: dict[str, Moments], store: FeatureStore) -> dict[str, Moments]:
    """The moments, unchanged, once they are checked.

    Raises:
        ValueError: a modality that is absent from all rows or, if it was measured, the same in all;
            or no rows to measure.
    """
    if not len(store):
        if measured:
            raise ValueError(
                f"{store.source} has no training rows, by which towers standardise "
                f"{', '.join(measured)}: mark some as 'train' in the array 'split'"
            )
        return measured
    for name in store.modalities:
        there = store.present[name].any()
        mean, std = measured.get(name, (np.zeros(1), np.ones(1)))
        if not there or (std <= 1e-6 * np.abs(mean)).all():
            what = "the same in" if there else "absent from"
            others = [other for other in store.modalities if other != name]
            cure = f"leave it out, with --modalities {' '.join(others)}"
            raise ValueError(
                f"{store.source}: {name} is {what} all {len(store)} training rows, so there is "
                f"nothing to learn from it: {cure if len(others) > 1 else 'look at its features'}"
            )
    return measured


class _Sums:
    """Count, mean and squared deviations of rows that come in parts.

    Deviations are taken from the mean of the part and then corrected to the mean of all (Chan,
    Golub and LeVeque 1979): a plain sum of squares would lose deviations small beside the mean.
    """

    def __init__(self, dim: int):
        self._count, self._mean, self._squares = 0, np.zeros(dim), np.zeros(dim)

    def add(self, rows: Float[np.ndarray, "n d"]) -> None:
        if not len(rows):
            return
        rows = rows.astype(np.float64)
        mean = rows.mean(axis=0)
        squares = ((rows - mean) ** 2).sum(axis=0)
        before, self._count = self._count, self._count + len(rows)
        moved = mean - self._mean
        self._mean += moved * len(rows) / self._count
        self._squares += squares + moved**2 * before * len(rows) / self._count

    def moments(self) -> Moments:
        std = np.sqrt(self._squares / max(1, self._count))
        # Devices flush subnormal numbers to zero, and would divide by it.
        normal = std >= np.finfo(np.float32).tiny
        return self._mean.astype(np.float32), np.where(normal, std, 0).astype(np.float32)
