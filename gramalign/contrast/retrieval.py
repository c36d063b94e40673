"""Ranks and nearest neighbours under any Score, in tiles: the score matrix never exists.

A rank is a count of competitors that score at least as well as the match: nothing is sorted, and
ties count against the query, so that a space collapsed to one point ranks last, not first.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramalign.contrast.blocks import (
    Block,
    check_groups,
    check_sides,
    competing,
    split,
    tile_size,
    unsplit,
)
from gramalign.scores import Score, Side

DEFAULT_TILE = 1024


def ranks(
    score: Score,
    rows: Side,
    cols: Side,
    *,
    groups: Int[Array, " batch"] | None = None,
    tile: int | None = None,
) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
    """Rank of column i for row i, and of row i for column i: 0 is best.

    Args:
        score: what fills the score matrix.
        rows: the row side, `score.rows(...)`.
        cols: the column side of the same examples.
        groups: members of one group are left out of each other's competition.
        tile: at most this many rows and columns of the matrix exist at a time.

    Returns:
        Two `[batch]`: how many valid columns score row i at least as high as its match does, and
        how many valid rows do so for column i; -1 where the query or its match is not valid.

    Raises:
        ValueError: for sizes that differ, empty sides or bad groups.

    >>> import jax.numpy as jnp
    >>> from gramalign.scores import CosineScore
    >>> emb = {"a": jnp.eye(3), "b": jnp.eye(3)[jnp.array([0, 2, 1])]}
    >>> score = CosineScore("a", "b")
    >>> ranks(score, score.rows(emb), score.cols(emb))[0].tolist()
    [0, 2, 2]
    """
    size, _ = check_sides(rows, cols, square=True)
    own = jnp.arange(size, dtype=jnp.int32)
    group = own if groups is None else check_groups(groups, size)
    tile = tile_size(tile, DEFAULT_TILE)
    row_blocks, col_blocks = split(rows, group, tile), split(cols, group, tile)

    # The matches come from tiles too, so that a duplicate of one is rounded as it is, and ties. The
    # barrier keeps what follows out of the tile's own kernels, which might round it otherwise.
    def tile_of(row: Block, col: Block) -> Array:
        return jax.lax.optimization_barrier(score.tile(row.factors, col.factors))

    matches = jax.lax.map(lambda blocks: jnp.diagonal(tile_of(*blocks)), (row_blocks, col_blocks))

    def one_row_block(col_ranks: Array, row_and_match: tuple[Block, Array]) -> tuple[Array, Array]:
        row, row_match = row_and_match

        def one_tile(row_rank: Array, col_and_match: tuple[Block, Array]) -> tuple[Array, Array]:
            col, col_match = col_and_match
            scores = tile_of(row, col)
            mask = competing(row, col)
            # Not <, rather than >=: a NaN counts against the query as well.
            beaten = mask & ~(scores < row_match[:, None])
            outdone = mask & ~(scores < col_match[None, :])
            row_rank += jnp.sum(beaten, axis=1, dtype=jnp.int32)
            return row_rank, jnp.sum(outdone, axis=0, dtype=jnp.int32)

        start = jnp.zeros(row_match.shape, jnp.int32)
        row_rank, more = jax.lax.scan(one_tile, start, (col_blocks, matches))
        return col_ranks + more, row_rank

    start = jnp.zeros(matches.shape, jnp.int32)
    col_ranks, row_ranks = jax.lax.scan(one_row_block, start, (row_blocks, matches))
    matched = rows.valid & cols.valid
    row_ranks, col_ranks = unsplit((row_ranks, col_ranks), size)
    return jnp.where(matched, row_ranks, -1), jnp.where(matched, col_ranks, -1)


def top_k(
    score: Score, rows: Side, cols: Side, k: int, *, tile: int | None = None
) -> tuple[Float[Array, "rows k"], Int[Array, "rows k"]]:
    """The k best columns for every row.

    Args:
        score: what fills the score matrix.
        rows: the queries.
        cols: the gallery; its number of examples may differ from that of the queries.
        k: how many to return, at most the size of the gallery.
        tile: at most this many rows and columns of the matrix exist at a time.

    Returns:
        Scores, best first, and column numbers, `[rows, k]` each; -inf and -1 where the row is not
        valid or the gallery has fewer than k valid columns.

    Raises:
        ValueError: for empty sides, or k below 1 or above the size of the gallery.

    >>> import jax.numpy as jnp
    >>> from gramalign.scores import CosineScore
    >>> emb = {"a": jnp.eye(3), "b": jnp.eye(3)[jnp.array([0, 2, 1])]}
    >>> score = CosineScore("a", "b")
    >>> top_k(score, score.rows(emb), score.cols(emb), 1)[1].tolist()
    [[0], [2], [1]]
    """
    row_number, col_number = check_sides(rows, cols, square=False)
    if not 1 <= k <= col_number:
        raise ValueError(f"k must be from 1 to the gallery's size {col_number}, got {k}")
    tile = tile_size(tile, DEFAULT_TILE)
    row_blocks = split(rows, jnp.arange(row_number, dtype=jnp.int32), tile)
    # As group, every column brings its number along.
    col_blocks = split(cols, jnp.arange(col_number, dtype=jnp.int32), tile)

    def one_row_block(row: Block) -> tuple[Array, Array]:
        def one_tile(best: tuple[Array, Array], col: Block) -> tuple[tuple[Array, Array], None]:
            scores = score.tile(row.factors, col.factors)
            mask = row.valid[:, None] & col.valid[None, :]
            numbers = jnp.where(mask, jnp.broadcast_to(col.group[None, :], mask.shape), -1)
            scores = jnp.concatenate([best[0], jnp.where(mask, scores, -jnp.inf)], axis=1)
            numbers = jnp.concatenate([best[1], numbers], axis=1)
            scores, places = jax.lax.top_k(scores, k)
            return (scores, jnp.take_along_axis(numbers, places, axis=1)), None

        shape = (row.valid.shape[0], k)
        dtype = jax.eval_shape(
            score.tile, row.factors, jax.tree.map(lambda x: x[0], col_blocks.factors)
        ).dtype
        start = jnp.full(shape, -jnp.inf, dtype), jnp.full(shape, -1, jnp.int32)
        return jax.lax.scan(one_tile, start, col_blocks)[0]

    return unsplit(jax.lax.map(one_row_block, row_blocks), row_number)
