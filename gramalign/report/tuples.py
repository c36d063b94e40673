"""Volume and leading share of every tuple, matched and mismatched, as the diagnostics average them.

A mismatched tuple has one modality taken from the example before, each modality in turn.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gramalign.evaluation import EmbeddingSet
from gramalign.geometry import singular_values, volume


@dataclass(frozen=True)
class TupleValues:
    """Values of a figure, one a tuple."""

    matched: Float[np.ndarray, " n"]
    mismatched: Float[np.ndarray, " m"]


def tuple_values(data: EmbeddingSet) -> tuple[TupleValues, TupleValues]:
    """Volumes and leading shares of the complete tuples.

    Args:
        data: checked embeddings of k modalities.

    Returns:
        Volumes and shares: n matched tuples, and up to k n mismatched ones, less those whose two
        examples belong to one group.
    """
    complete = np.all(list(data.present.values()), axis=0)
    tuples = np.stack([data.embeddings[name][complete] for name in data.modalities], axis=1)
    if not len(tuples):
        none = np.zeros(0)
        return TupleValues(none, none), TupleValues(none, none)
    groups = (np.arange(len(data)) if data.groups is None else data.groups)[complete]
    foreign = groups != np.roll(groups, 1)
    matched = _measured(tuples)
    mismatched = []
    for i in range(tuples.shape[1]):
        mixed = tuples.copy()
        mixed[:, i] = np.roll(tuples[:, i], 1, axis=0)
        mismatched.append(_measured(mixed)[:, foreign])
    volumes, shares = zip(matched, np.concatenate(mismatched, axis=1), strict=True)
    return TupleValues(*volumes), TupleValues(*shares)


def _measured(tuples: np.ndarray) -> np.ndarray:
    return np.asarray(_volume_and_share(jnp.asarray(tuples)), np.float64)


@jax.jit
def _volume_and_share(tuples: Float[Array, "n k d"]) -> Float[Array, "2 n"]:
    squares = singular_values(tuples) ** 2
    total = squares.sum(axis=-1)
    return jnp.stack([volume(tuples), squares.max(axis=-1) / jnp.where(total == 0, 1, total)])
