"""Ranks and nearest neighbours under any Score, in tiles: the score matrix never exists.

A rank is a count of competitors that score at least as well as the match: nothing is sorted, and
ties count against the query, so that a space collapsed to one point ranks last, not first.
"""

from numbers import Integral

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from gramalign.contrast.blocks import (
    NOBODY,
    Block,
    check_groups,
    check_sides,
    competing,
    own_numbers,
    split,
    unsplit,
)
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.exchange import choose, exchange, sums
from gramalign.contrast.tile import scores_of
from gramalign.mesh import AxisName, varying_as, zeros_as
from gramalign.scores import Side, Tiled
from gramalign.types import Groups


def ranks(
    score: Tiled,
    rows: Side,
    cols: Side,
    *,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> tuple[Int[Array, " batch"], Int[Array, " batch"]]:
    """Rank of column i for row i, and of row i for column i: 0 is best.

    Args:
        score: the Score of rows against columns.
        rows: the row side, `score.rows(...)`.
        cols: the column side of the same examples.
        groups: members of one group do not compete with each other.
        axis_name: inside `jax.shard_map`, the mesh axis that both sides are split over; ranks are
            then among the examples of all devices.
        engine: how pairs are computed; it changes results only by rounding.

    Returns:
        Two `[batch]`: for row i, the number of valid columns that score at least as high as its
        match; for column i, that of valid rows. -1 where the query or its match is not valid.

    Raises:
        ValueError: for sizes that differ, empty sides or bad groups.

    >>> import jax.numpy as jnp
    >>> from gramalign.scores import CosineScore
    >>> emb = {"a": jnp.eye(3), "b": jnp.eye(3)[jnp.array([0, 2, 1])]}
    >>> score = CosineScore("a", "b")
    >>> ranks(score, score.rows(emb), score.cols(emb))[0].tolist()
    [0, 2, 2]
    """
    size, _ = check_sides(rows, cols, square=True, axis_name=axis_name)
    axis = choose(axis_name, engine.strategy, cols.factors)
    group = own_numbers(size, axis_name) if groups is None else check_groups(groups, size)
    row_blocks, col_blocks = (split(side, group, engine.tile_size(), axis) for side in (rows, cols))

    # Matches come from tiles too, so that a duplicate of a match is rounded alike, and ties. A
    # branch has its own kernels, the same wherever a tile is computed; otherwise XLA would fuse
    # later operations into them, and hoist out what a loop does not change. The barrier hides from
    # XLA that the branch is always taken, as where nothing is absent.
    def tile_of(row: Block, col: Block) -> Array:
        def scores(factors: tuple[PyTree, PyTree]) -> Array:
            return scores_of(score, *factors)

        def nothing(factors: tuple[PyTree, PyTree]) -> Array:
            return zeros_as(jax.eval_shape(scores, factors))

        some = jax.lax.optimization_barrier(jnp.any(row.valid) & jnp.any(col.valid))
        return jax.lax.cond(some, scores, nothing, (row.factors, col.factors))

    matches = jax.lax.map(lambda blocks: jnp.diagonal(tile_of(*blocks)), (row_blocks, col_blocks))
    row_blocks, col_blocks = varying_as((row_blocks, col_blocks), matches)

    def visit(
        all_row_ranks: Array, cols: tuple[Block, Array], all_col_ranks: Array
    ) -> tuple[Array, Array]:
        def one_row_block(col_ranks: Array, row: tuple[Block, Array, Array]) -> tuple[Array, Array]:
            row_block, row_match, row_rank = row

            def one_tile(row_rank: Array, col: tuple[Block, Array]) -> tuple[Array, Array]:
                col_block, col_match = col
                scores = tile_of(row_block, col_block)
                mask = competing(row_block, col_block)
                # "Not <" instead of >=, so that a NaN counts against the query too.
                beaten = mask & ~(scores < row_match[:, None])
                outdone = mask & ~(scores < col_match[None, :])
                row_rank += jnp.sum(beaten, axis=1, dtype=jnp.int32)
                return row_rank, jnp.sum(outdone, axis=0, dtype=jnp.int32)

            row_rank, more = jax.lax.scan(one_tile, row_rank, cols)
            return col_ranks + more, row_rank

        whole = row_blocks, matches, all_row_ranks
        all_col_ranks, all_row_ranks = jax.lax.scan(one_row_block, all_col_ranks, whole)
        return all_row_ranks, all_col_ranks

    def no_ranks(cols: tuple[Block, Array]) -> Array:
        _, matches = cols
        return varying_as(jnp.zeros(matches.shape, jnp.int32), matches)

    cols_to_meet = col_blocks, matches
    row_ranks, col_ranks = exchange(
        visit, no_ranks(cols_to_meet), cols_to_meet, axis, sums(no_ranks)
    )
    matched = rows.valid & cols.valid
    row_ranks, col_ranks = unsplit((row_ranks, col_ranks), size)
    return jnp.where(matched, row_ranks, -1), jnp.where(matched, col_ranks, -1)


def top_k(
    score: Tiled,
    rows: Side,
    cols: Side,
    k: int,
    *,
    groups: tuple[Int[np.ndarray | Array, " rows"], Int[np.ndarray | Array, " cols"]] | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> tuple[Float[Array, "rows k"], Int[Array, "rows k"]]:
    """The k best columns for every row.

    Args:
        score: the Score of rows against columns.
        rows: the queries.
        cols: the gallery; its number of examples may differ from that of the queries.
        k: how many to return, at most the size of the gallery.
        groups: of the queries and of the gallery; no query finds members of its own group.
        axis_name: inside `jax.shard_map`, the mesh axis that queries and gallery are split over;
            the gallery is then that of all devices, its columns numbered consecutively.
        engine: how pairs are computed; it changes results only by rounding.

    Returns:
        Scores, best first, and column numbers, `[rows, k]` each; equal scores are in order of
        column number. -inf and -1 where the row is not valid or the gallery has fewer than k valid
        columns for it.

    Raises:
        ValueError: for empty sides, bad groups, or k below 1 or above the size of the gallery.

    >>> import jax.numpy as jnp
    >>> from gramalign.scores import CosineScore
    >>> emb = {"a": jnp.eye(3), "b": jnp.eye(3)[jnp.array([0, 2, 1])]}
    >>> score = CosineScore("a", "b")
    >>> top_k(score, score.rows(emb), score.cols(emb), 1)[1].tolist()
    [[0], [2], [1]]
    """
    row_number, col_number = check_sides(rows, cols, square=False, axis_name=axis_name)
    axis = choose(axis_name, engine.strategy, cols.factors)
    gallery = col_number * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    if not isinstance(k, Integral) or not 1 <= k <= gallery:
        raise ValueError(
            f"k must be a whole number from 1 to the gallery's size {gallery}, got {k!r}"
        )
    number = own_numbers(col_number, axis_name)
    row_group, col_group = jnp.full(row_number, NOBODY, jnp.int32), number
    if groups is not None:
        row_group, col_group = map(check_groups, groups, (row_number, col_number))
    row_blocks = split(rows, row_group, engine.tile_size())
    col_blocks = split(cols, col_group, engine.tile_size(), axis, numbers=number)

    ascending = axis is None or axis.strategy == "gather"

    def visit(
        best: tuple[Array, Array], cols: Block, nothing: None
    ) -> tuple[tuple[Array, Array], None]:
        def one_row_block(row: tuple[Block, tuple[Array, Array]]) -> tuple[Array, Array]:
            row_block, best = row

            def one_tile(best: tuple[Array, Array], col: Block) -> tuple[tuple[Array, Array], None]:
                scores = scores_of(score, row_block.factors, col.factors)
                mask = competing(row_block, col) & ~jnp.isnan(scores)
                # Of equal scores top_k takes the first; but it ranks 0 above -0.
                scores = jnp.where(scores == 0, jnp.zeros_like(scores), scores)
                scores = jnp.where(mask, scores, -jnp.inf)
                numbers = jnp.broadcast_to(col.numbers(), scores.shape)
                # Of -inf the first k, with -1, come before any column.
                if ascending:
                    return _first(k, *_beside(best, (scores, numbers))), None
                # Whatever the order in which columns arrive, equal scores are sorted by number: 2 k
                # of them, as sorting takes far longer than a tile's own best.
                own = _first(min(k, scores.shape[1]), scores, numbers)
                scores, numbers = _beside(best, own)
                least, numbers = jax.lax.sort((-scores, numbers), num_keys=2)
                return (-least[:, :k], numbers[:, :k]), None

            return jax.lax.scan(one_tile, best, cols)[0]

        return jax.lax.map(one_row_block, (row_blocks, best)), nothing

    first = jax.tree.map(lambda x: x[0], (row_blocks.factors, col_blocks.factors))
    scores = jax.eval_shape(score.tile, *first)
    shape = (*row_blocks.valid.shape, k)
    none = jnp.full(shape, -jnp.inf, scores.dtype), jnp.full(shape, -1, jnp.int32)
    row_blocks, col_blocks, none = varying_as((row_blocks, col_blocks, none), scores)
    best, _ = exchange(visit, none, col_blocks, axis)
    return unsplit(best, row_number)


def _beside(
    first: tuple[Array, Array], second: tuple[Array, Array]
) -> tuple[Float[Array, "r n"], Int[Array, "r n"]]:
    scores, numbers = (jnp.concatenate(both, axis=1) for both in zip(first, second, strict=True))
    return scores, numbers


def _first(
    k: int, scores: Float[Array, "r n"], numbers: Int[Array, "r n"]
) -> tuple[Float[Array, "r k"], Int[Array, "r k"]]:
    scores, places = jax.lax.top_k(scores, k)
    return scores, jnp.take_along_axis(numbers, places, axis=1)
