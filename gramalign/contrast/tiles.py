"""A block of rows against blocks of columns, tile after tile, as XLA compiles them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from gramalign.contrast.blocks import Block
from gramalign.contrast.statistics import Running, join
from gramalign.contrast.tile import Outcome, meet, no_slopes, slopes
from gramalign.mesh import zeros_as
from gramalign.scores import Score


def meet_all(
    score: Score,
    scale: Float[Array, ""],
    row: Block,
    row_stats: Running,
    cols: Block,
    col_stats: Running | None,
) -> tuple[Running, Running | None]:
    """Go on with what the rows of one block, and the columns of all, have met.

    Args:
        score: whose `tile` gives the scores.
        scale: factor from scores to logits.
        row: a block of rows.
        row_stats: what they have met before.
        cols: stacked blocks of columns.
        col_stats: what these have met before; None where they are the rows again.
    """

    def one_tile(row_stats: Running, col: Block) -> tuple[Running, Running | None]:
        by_row, by_col = meet(score, scale, row, col, mirrored=col_stats is None)
        return join(row_stats, by_row), by_col

    row_stats, met = jax.lax.scan(one_tile, row_stats, cols)
    return row_stats, None if col_stats is None or met is None else join(col_stats, met)


def derive_all(
    score: Score,
    scale: Float[Array, ""],
    row: Block,
    by_row: Outcome,
    cols: Block,
    by_col: Outcome,
    d_cols: PyTree[Array] | None,
) -> tuple[PyTree[Array], PyTree[Array] | None, Float[Array, ""]]:
    """Derivatives by the rows of one block, and those by the columns of all and by the scale.

    Args:
        score: whose `tile` gives the scores.
        scale: factor from scores to logits.
        row: a block of rows.
        by_row: what became of them.
        cols: stacked blocks of columns.
        by_col: what became of these.
        d_cols: the derivatives by the columns' factors to go on with; None where the columns are
            the rows again.
    """

    def one_tile(derivatives: tuple, numbered: tuple[Array, Block, Outcome]) -> tuple[tuple, None]:
        d_row, d_cols, d_scale = derivatives
        j, col, by_col = numbered
        more_row, more_col, more_scale = slopes(score, scale, row, by_row, col, by_col)
        d_row = jax.tree.map(jnp.add, d_row, more_row)
        if d_cols is not None:
            d_cols = jax.tree.map(lambda d, more: d.at[j].add(more), d_cols, more_col)
        return (d_row, d_cols, d_scale + jnp.sum(more_scale)), None

    start = no_slopes(row.factors), d_cols, zeros_as(scale)
    numbers = jnp.arange(cols.valid.shape[0])
    derivatives, _ = jax.lax.scan(one_tile, start, (numbers, cols, by_col))
    return derivatives
