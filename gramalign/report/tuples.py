"""Volume and leading share of every tuple, matched and mismatched, as the diagnostics average them.

A mismatched tuple has one modality taken from the example before, each modality in turn.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gramalign.evaluation import EmbeddingSet


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


def _measured(tuples: Float[np.ndarray, "n k d"]) -> Float[np.ndarray, "2 n"]:
    """Volumes and shares by the spectrum of Gram matrices, in float64: nothing to compile.

    A volume below 1e-8 is rounding; a histogram does not show it.
    """
    exact = tuples.astype(np.float64)
    squares = np.linalg.eigvalsh(exact @ exact.transpose(0, 2, 1)).clip(min=0)
    total = squares.sum(axis=1)
    shares = squares[:, -1] / np.where(total == 0, 1, total)
    return np.stack([np.sqrt(squares.prod(axis=1)), shares])
