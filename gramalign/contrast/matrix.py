"""Some rows of a score matrix in full, for computations that need a whole row at once."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast.blocks import Block, check_sides, own_numbers, split
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.tile import scores_of
from gramalign.scores import Side, Tiled


def score_matrix(
    score: Tiled, rows: Side, cols: Side, *, engine: Engine = DEFAULT_ENGINE
) -> Float[Array, "rows cols"]:
    """Scores of every row against every column, all in memory: pass few rows.

    A Score's intermediate arrays exist for one tile of columns at a time.

    Args:
        score: the Score of rows against columns.
        rows: the queries.
        cols: the gallery.
        engine: how pairs are computed; it changes results only by rounding.

    Returns:
        `[rows, cols]`, -inf where the row or the column is not valid.

    Raises:
        ValueError: for empty sides.
    """
    _, number = check_sides(rows, cols, square=False)

    def one_block(block: Block) -> Float[Array, "rows c"]:
        tile = scores_of(score, rows.factors, block.factors)
        return jnp.where(rows.valid[:, None] & block.valid[None, :], tile, -jnp.inf)

    tiles = jax.lax.map(one_block, split(cols, own_numbers(number), engine.tile_size()))
    return jnp.moveaxis(tiles, 0, 1).reshape(len(rows.valid), -1)[:, :number]
