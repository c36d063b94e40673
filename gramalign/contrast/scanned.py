"""A block of rows against blocks of columns, tile after tile, as XLA compiles them."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from gramalign.contrast.blocks import Block
from gramalign.contrast.tile import Tile, no_slopes
from gramalign.mesh import zeros_as


def meet_all(
    tile: Tile,
    scale: Float[Array, ""],
    row: Block,
    row_stats: Any,
    cols: Block,
    col_stats: Any | None,
) -> tuple[Any, Any | None]:
    """Update the statistics of one block of rows, and those of all columns.

    Args:
        tile: the Score, and the statistic to gather.
        scale: factor from scores to logits.
        row: a block of rows.
        row_stats: their statistics so far.
        cols: stacked blocks of columns.
        col_stats: the columns' statistics so far; None if columns gather nothing.
    """

    def one_tile(row_stats: Any, col: Block) -> tuple[Any, Any | None]:
        by_row, by_col = tile.meet(scale, row, col, one_way=col_stats is None)
        return tile.statistic.join(row_stats, by_row), by_col

    row_stats, met = jax.lax.scan(one_tile, row_stats, cols)
    return row_stats, None if met is None else tile.statistic.join(col_stats, met)


def derive_all(
    tile: Tile,
    scale: Float[Array, ""],
    row: Block,
    by_row: Any,
    cols: Block,
    by_col: Any | None,
    d_cols: PyTree[Array] | None,
) -> tuple[PyTree[Array], PyTree[Array] | None, Float[Array, ""]]:
    """Derivatives by one block of rows, by all columns, and by the scale.

    Args:
        tile: the Score, and the statistic that was gathered.
        scale: factor from scores to logits.
        row: a block of rows.
        by_row: their outcome (`Statistic.outcome`).
        cols: stacked blocks of columns.
        by_col: the columns' outcome; None if columns gathered nothing.
        d_cols: derivatives by the columns' factors so far; None where the columns are the rows
            again.
    """

    def one_tile(derivatives: tuple, numbered: tuple[Array, Block, Any]) -> tuple[tuple, None]:
        d_row, d_cols, d_scale = derivatives
        j, col, by_col = numbered
        more_row, more_col, more_scale = tile.slopes(scale, row, by_row, col, by_col)
        d_row = jax.tree.map(jnp.add, d_row, more_row)
        if d_cols is not None:
            d_cols = jax.tree.map(lambda d, more: d.at[j].add(more), d_cols, more_col)
        return (d_row, d_cols, d_scale + jnp.sum(more_scale)), None

    start = no_slopes(row.factors), d_cols, zeros_as(scale)
    numbers = jnp.arange(cols.valid.shape[0])
    derivatives, _ = jax.lax.scan(one_tile, start, (numbers, cols, by_col))
    return derivatives
