"""What may befall embeddings: modalities get lost, dimensions are dropped, numbers stored in less.

Each takes checked embeddings to others of the same shapes, so that whatever measures them is
compiled once. Random ones draw from a generator in an order that does not depend on how much is
taken: of one seed, what 20 % lack, 30 % lack too.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gramalign.evaluation.inputs import EmbeddingSet, checked


def lose_modalities(
    present: Mapping[str, Bool[np.ndarray, " n"]], rate: float, rng: np.random.Generator
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Takes each modality from each row with probability `rate`, but never a row's last one.

    Args:
        present: which rows have which modality.
        rate: from 0 to 1.
        rng: source of chance.

    Returns:
        Which rows have which modality then. More is left than 1 - rate says where rows would have
        lost everything.
    """
    names = tuple(present)
    there = np.stack([present[name] for name in names])
    fates = rng.random(there.shape)
    # The one that would go last stays.
    last = np.argmax(np.where(there, fates, -1), axis=0)
    kept = there & ((fates >= rate) | (np.arange(len(names))[:, None] == last))
    return dict(zip(names, kept, strict=True))


def add_noise(
    features: Mapping[str, Float[np.ndarray, "n _width"]],
    present: Mapping[str, Bool[np.ndarray, " n"]],
    names: tuple[str, ...],
    level: float,
    rng: np.random.Generator,
) -> dict[str, Float[np.ndarray, "n _width"]]:
    """Adds Gaussian noise to some modalities' features, in units of each feature's deviation.

    Args:
        features: of every modality.
        present: which rows have which modality; the deviation is over these.
        names: of those to add it to.
        level: 1: as much noise as the feature varies.
        rng: source of chance.

    Returns:
        Features of every modality, float32.
    """
    found = {}
    for name, values in features.items():
        found[name] = np.asarray(values, np.float32)
        noise = rng.standard_normal(found[name].shape, np.float32)
        if name in names and present[name].any():
            deviation = found[name][present[name]].std(axis=0, dtype=np.float64)
            found[name] = found[name] + np.float32(level) * deviation.astype(np.float32) * noise
    return found


def drop_dimensions(data: EmbeddingSet, share: float, rng: np.random.Generator) -> EmbeddingSet:
    """Zeroes a random share of coordinates, the same in every modality, but never all of them."""
    dim = next(iter(data.embeddings.values())).shape[1]
    kept = rng.permutation(dim)[min(round(share * dim), dim - 1) :]
    mask = np.zeros(dim, np.float32)
    mask[kept] = 1
    return _changed(data, lambda x: x * mask)


def store_as(data: EmbeddingSet, precision: str) -> EmbeddingSet:
    """Embeddings as they come back from storage in less precision.

    Args:
        data: float32 embeddings.
        precision: one of `PRECISIONS`. `int8` has a float scale for each row, by which its largest
            entry becomes 127; `sign` keeps one bit a number.

    Raises:
        ValueError: an unknown precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    _, stored = PRECISIONS[precision]
    return _changed(data, stored)


def _int8(rows: np.ndarray) -> np.ndarray:
    scale = np.abs(rows).max(axis=1, keepdims=True) / 127
    return np.rint(rows / np.where(scale == 0, 1, scale)).astype(np.int8).astype(np.float32) * scale


def _through(dtype: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda rows: rows.astype(jnp.dtype(dtype)).astype(np.float32)


PRECISIONS: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
    "float32": (32, lambda rows: rows),
    "bfloat16": (16, _through("bfloat16")),
    "float16": (16, _through("float16")),
    "int8": (8, _int8),
    "sign": (1, lambda rows: np.where(rows >= 0, np.float32(1), np.float32(-1))),
}
"""By name: bits a number, and what storing does to rows."""


def _changed(data: EmbeddingSet, change: Callable[[np.ndarray], np.ndarray]) -> EmbeddingSet:
    embeddings = {name: change(rows) for name, rows in data.embeddings.items()}
    return checked(embeddings, data.present, data.groups)
