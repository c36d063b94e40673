"""How each modality uses the sphere on its own: uniformity, effective rank, repeated rows."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from gramalign.evaluation.inputs import EmbeddingSet
from gramalign.losses.uniformity import spread
from gramalign.scores import Side

SAME = 1e-3
"""Distance below which two unit rows are one vector. Rounding, to bfloat16 even, that differs with
the batch in which a row was embedded, stays below it where the input was the same; different inputs
stay above it unless the modality has collapsed."""


def uniformity(data: EmbeddingSet) -> dict[str, float]:
    """Log mean_{i != j} exp(-2 |x_i - x_j|^2) per modality; NaN for fewer than two rows."""

    def of_one(name: str) -> float:
        present = data.present[name]
        if present.sum() < 2:
            return math.nan
        side = Side(jnp.asarray(data.embeddings[name]), jnp.asarray(present))
        return float(_jitted_spread(side))

    return {name: of_one(name) for name in data.modalities}


_jitted_spread = jax.jit(spread)


def effective_ranks(data: EmbeddingSet) -> dict[str, float]:
    """Effective rank of each modality's present rows; NaN for a single one, always of rank 1."""
    rows = {name: data.embeddings[name][data.present[name]] for name in data.modalities}
    return {name: effective_rank(x) if len(x) > 1 else math.nan for name, x in rows.items()}


def effective_rank(rows: Float[np.ndarray, "n d"]) -> float:
    """Number of directions that rows use: exp of the entropy of their normalised singular values.

    Rows are not centred: rows that are all one point have effective rank 1, and rows spread evenly
    over the sphere nearly min(n, d). Computed in float64.

    Source: Roy and Vetterli, The effective rank, EUSIPCO 2007.

    Args:
        rows: `[n, d]`.

    Returns:
        From 1 to min(n, d); NaN if there is no row, or all rows are zero.

    >>> round(effective_rank(np.eye(4)), 6)
    4.0
    >>> round(effective_rank(np.ones((4, 3))), 6)
    1.0
    """
    number, dim = rows.shape
    # The eigenvalues of the smaller Gram matrix are the squared singular values. Computed in
    # blocks, so that no float64 copy of all rows is made.
    if number < dim:
        wide = rows.astype(np.float64)
        gram = wide @ wide.T
    else:
        gram = np.zeros((dim, dim))
        for start in range(0, number, _BLOCK):
            block = rows[start : start + _BLOCK].astype(np.float64)
            gram += block.T @ block
    squares = np.linalg.eigvalsh(gram) if gram.size else np.zeros(0)
    values = np.sqrt(np.maximum(squares, 0))
    if not values.sum() > 0:
        return math.nan
    shares = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


_BLOCK = 8192


def repeated_rows(data: EmbeddingSet) -> dict[str, float]:
    """Per modality, the share of rows that are one vector, within `SAME`.

    Such as the embedding of an empty subtitle, or of silence. Rows of one group count once, since
    they may repeat one video for several captions. NaN if no row is present, and 0 if no two groups
    have a vector in common.
    """

    def of_one(name: str) -> float:
        present = data.present[name]
        groups = np.unique(data.clusters[present]).size
        if not groups:
            return math.nan
        rows, of_rows = data.embeddings[name][present], data.clusters[present]
        most = 0
        for frequent in _frequent(rows, of_rows):
            alike = np.linalg.norm(rows - rows[frequent], axis=1) < SAME
            most = max(most, np.unique(of_rows[alike]).size)
        return most / groups if most > 1 else 0.0

    return {name: of_one(name) for name in data.modalities}


_TRIES, _DIRECTIONS = 4, 4


def _frequent(rows: Float[np.ndarray, "n d"], groups: Int[np.ndarray, " n"]) -> set[int]:
    """Rows that may be near many: of each of several grids, one in the cell of the most groups.

    The grids are over a few random directions, on which two rows are about their distance over
    sqrt(d) apart. Over all d coordinates, some border of a cell would run between any two copies
    that differ by noise; here one seldom does, and hardly ever in all grids.
    """
    rng = np.random.default_rng(0)
    dim = rows.shape[1]
    found = set()
    for _ in range(_TRIES):
        directions = rng.normal(size=(dim, _DIRECTIONS)).astype(np.float32)
        places = rows @ directions / np.float32(4 * SAME)  # directions have length sqrt(d)
        cells = np.floor(places + rng.random(_DIRECTIONS, np.float32)).astype(np.int32)
        keys = np.ascontiguousarray(cells).view(np.dtype((np.void, cells[0].nbytes)))
        _, first, cell = np.unique(keys.ravel(), return_index=True, return_inverse=True)
        of_each_group = np.unique(np.stack([cell.ravel(), groups]), axis=1)[0]
        found.add(int(first[np.bincount(of_each_group).argmax()]))
    return found
