"""One tile of a score matrix: what its rows and columns meet in it, and the derivatives of that.

The logits l_ij = scale * s_ij of a tile exist here and nowhere else. Backward they are computed
again, and the derivative with respect to them has a closed form,

    dl_ij = g_row_i exp(l_ij - row_i) + g_col_j exp(l_ij - col_j) + (what comes through the sums),

which `jax.vjp(score.tile)` takes on to the factors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from gramalign.contrast.blocks import Block, competing
from gramalign.contrast.statistics import Running, measure
from gramalign.geometry.norms import at_least_float32
from gramalign.mesh import zeros_as
from gramalign.scores import Score


class Outcome(NamedTuple):
    """What became of a side's examples: log-sum-exps, and derivatives by these and by the sums."""

    logsumexp: Float[Array, "*n"]
    d_logsumexp: Float[Array, "*n"]
    d_total: Float[Array, "*n"]


def meet(
    score: Score, scale: Float[Array, ""], row: Block, col: Block, *, mirrored: bool
) -> tuple[Running, Running | None]:
    """What the rows meet, and what the columns meet (None if `mirrored`: the rows' business)."""
    logits = scale * score.tile(row.factors, col.factors)
    mask = competing(row, col)
    return measure(logits, mask, axis=1), None if mirrored else measure(logits, mask, axis=0)


def slopes(
    score: Score,
    scale: Float[Array, ""],
    row: Block,
    by_row: Outcome,
    col: Block,
    by_col: Outcome,
) -> tuple[PyTree[Array], PyTree[Array], Float[Array, " c"]]:
    """Derivatives by the rows' factors, by the columns', and by the scale (a part per column).

    In at least float32, because there will be many tiles to add up.
    """
    scores, transpose = jax.vjp(score.tile, row.factors, col.factors)
    logits = scale * scores
    d_logits = _share(logits, by_row.logsumexp[:, None]) * by_row.d_logsumexp[:, None]
    d_logits += _share(logits, by_col.logsumexp[None, :]) * by_col.d_logsumexp[None, :]
    d_logits += by_row.d_total[:, None] + by_col.d_total[None, :]
    d_logits = jnp.where(competing(row, col), d_logits, 0)
    d_row, d_col = jax.tree.map(at_least_float32, transpose(scale * d_logits))
    return d_row, d_col, jnp.sum(d_logits * scores, axis=0)


def no_slopes(factors: PyTree[Array]) -> PyTree[Array]:
    """Zeros to add slopes to, in the shapes of factors and at least float32."""
    return zeros_as(jax.tree.map(at_least_float32, factors))


def _share(logits: Float[Array, "r c"], logsumexp: Array) -> Float[Array, "r c"]:
    """exp(logits - logsumexp), harmless where there is no competitor and the latter is -inf."""
    return jnp.exp(jnp.minimum(logits - jnp.where(jnp.isfinite(logsumexp), logsumexp, 0), 0))
