"""Damage to embeddings: lost modalities, noise, dropped dimensions, storage in lower precision.

Shapes stay the same, so that whatever measures the result is compiled once. Random damage draws
from a generator in an order that does not depend on the amount: with one seed, whatever is missing
at 20 % is missing at 30 % too.
"""

from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from gramalign.evaluation.inputs import EmbeddingSet, checked


def lose_modalities(
    present: Mapping[str, Bool[np.ndarray, " n"]], rate: float, rng: np.random.Generator
) -> dict[str, Bool[np.ndarray, " n"]]:
    """Removes each modality of each row with probability `rate`, but never a row's last one.

    Args:
        present: which rows have which modality.
        rate: from 0 to 1.
        rng: the random generator.

    Returns:
        Which rows have which modality afterwards. More than 1 - rate is left if some rows would
        have lost everything.
    """
    names = tuple(present)
    there = np.stack([present[name] for name in names])
    fates = rng.random(there.shape)
    # The modality that would go last stays.
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
        names: modalities to add noise to.
        level: standard deviation of the noise, in units of each feature's own.
        rng: the random generator.

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
    """Embeddings as they come back from storage in lower precision.

    Args:
        data: float32 embeddings.
        precision: one of `PRECISIONS`. `int8` has a float scale per row, which makes its largest
            entry 127; `sign` keeps one bit per number.
    """
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
    # Rows of zeros, which are absent, stay so.
    embeddings = {
        name: np.where(data.present[name][:, None], change(rows), 0)
        for name, rows in data.embeddings.items()
    }
    return checked(embeddings, data.given, data.groups)
