"""Mean and standard deviation of the training rows, for towers that standardise."""

import numpy as np
from jaxtyping import Float32

from gramalign.data import FeatureStore

_CHUNK = 8192  # rows read at once: memory-mapped features are never loaded whole

Moments = tuple[Float32[np.ndarray, " d"], Float32[np.ndarray, " d"]]
"""Mean and standard deviation of each feature."""


def moments(store: FeatureStore) -> dict[str, Moments]:
    """Measures each modality over the rows where it is present, in float64 inside.

    Two passes in chunks. Zeros where a modality is present nowhere.
    """
    return {name: _moments(array, store.present[name]) for name, array in store.features.items()}


def varied(measured: dict[str, Moments], store: FeatureStore) -> dict[str, Moments]:
    """The moments as they are.

    Raises:
        ValueError: a modality that is absent from all rows, or the same in all.
    """
    for name, (mean, std) in measured.items():
        if (std <= 1e-6 * np.abs(mean)).all():
            what = "the same in" if store.present[name].any() else "absent from"
            others = [other for other in store.modalities if other != name]
            cure = f"leave it out, with --modalities {' '.join(others)}"
            raise ValueError(
                f"{store.source}: {name} is {what} all {len(store)} training rows, so there is "
                f"nothing to learn from it: {cure if len(others) > 1 else 'look at its features'}"
            )
    return measured


def _moments(array, present: np.ndarray) -> Moments:
    def rows():
        for start in range(0, len(array), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            yield np.asarray(array[chunk], np.float64)[present[chunk]]

    count = max(1, int(present.sum()))
    zeros = np.zeros(array.shape[1])
    mean = sum((values.sum(axis=0) for values in rows()), start=zeros) / count
    square = sum((((values - mean) ** 2).sum(axis=0) for values in rows()), start=zeros) / count
    return mean.astype(np.float32), np.sqrt(square).astype(np.float32)
