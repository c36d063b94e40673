"""One tile of a score matrix: the statistics of its rows and columns, and their derivatives.

The logits l_ij = scale * s_ij of a tile exist only here. The backward pass recomputes them; the
derivative with respect to them has a closed form, given by the statistic, which
`jax.vjp(score.tile)` pulls back to the factors.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from gramalign.contrast.blocks import Block
from gramalign.contrast.statistics import Statistic
from gramalign.geometry.norms import at_least_float32
from gramalign.mesh import zeros_as
from gramalign.scores import Tiled
from gramalign.scores.products import in_bfloat16


def scores_of(score: Tiled, rows: PyTree[Array], cols: PyTree[Array]) -> Float[Array, "r c"]:
    """A Score's tile, in at least float32; a `ValueError` unless one number for every pair."""
    scores = score.tile(rows, cols)
    shape = tuple(jax.tree.leaves(side)[0].shape[0] for side in (rows, cols))
    if scores.shape != shape:
        raise ValueError(
            f"score.tile must return one score for each pair, of shape {shape} for these rows and "
            f"columns, got shape {scores.shape}"
        )
    return at_least_float32(scores) if jnp.issubdtype(scores.dtype, jnp.floating) else scores


@dataclass(frozen=True)
class Tile:
    """What to compute on a tile.

    Attributes:
        score: its `tile` gives the scores.
        statistic: what rows and columns gather from the logits.
    """

    score: Tiled
    statistic: Statistic

    def meet(
        self, scale: Float[Array, ""], row: Block, col: Block, *, one_way: bool
    ) -> tuple[Any, Any | None]:
        """What the rows gather, and what the columns gather (None if `one_way`)."""
        logits = scale * scores_of(self.score, row.factors, col.factors)
        by_row = self.statistic.measure(logits, row, col, axis=1)
        return by_row, None if one_way else self.statistic.measure(logits, row, col, axis=0)

    def slopes(
        self, scale: Float[Array, ""], row: Block, by_row: Any, col: Block, by_col: Any | None
    ) -> tuple[PyTree[Array], PyTree[Array], Float[Array, " c"]]:
        """Derivatives by the rows' factors, by the columns', by the scale (a part per column).

        In at least float32, because many tiles are added up.
        """
        tile = partial(scores_of, self.score)
        scores, transpose = jax.vjp(tile, row.factors, col.factors)
        d_logits = self.statistic.slope(scale * scores, row, by_row, col, by_col)
        d_row, d_col = jax.tree.map(_slope, transpose(scale * d_logits))
        return d_row, d_col, jnp.sum(d_logits * scores, axis=0)


@dataclass(frozen=True)
class InBfloat16:
    """A Score whose tiles multiply in bfloat16, whatever the dtype of its factors."""

    score: Tiled

    def tile(self, rows: PyTree[Array], cols: PyTree[Array]) -> Float[Array, "r c"]:
        """The scores."""
        with in_bfloat16():
            return self.score.tile(rows, cols)


def no_slopes(factors: PyTree[Array]) -> PyTree[Array]:
    """Zeros to accumulate slopes in, in the factors' shapes and at least float32.

    None for factors without derivatives, such as masks and labels.
    """
    return zeros_as(jax.tree.map(_slope, factors))


def _slope(x: Array) -> Array | None:
    return at_least_float32(x) if jnp.issubdtype(x.dtype, jnp.floating) else None
