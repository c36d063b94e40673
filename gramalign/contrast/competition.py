"""Statistics of every row and column of a score matrix that is never stored.

The statistic (`gramalign.contrast.statistics`), such as a log-sum-exp or a sum of softplus, is of
the logits l_ij = scale * s_ij over the competitors j of row i (and the competitors i of column j).

The matrix is computed in tiles. The forward pass keeps a few numbers per example; the backward pass
recomputes every tile (`gramalign.contrast.tile`). So memory is O(rows + columns) for every Score,
the derivative costs one more forward pass and the Score's own transposes, and a new Score needs no
code here.

Where a side competes with itself under a symmetric Score, its columns are its rows: statistics are
gathered once, and as l_ij = l_ji, the derivative by the rows, taken with dl_ij + dl_ji, is the
whole derivative.

If there are more columns than examples, they come in rounds (`gramalign.contrast.rounds`).

On a mesh, the columns of all devices visit each device (`gramalign.contrast.exchange`), once in the
forward and once in the backward pass: between the two, a device keeps only its own columns.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gramalign.contrast import scanned
from gramalign.contrast.blocks import Block, check_groups, check_sides, own_numbers, split, unsplit
from gramalign.contrast.engine import Engine, Implementation
from gramalign.contrast.exchange import NOTHING, Axis, Collecting, choose, exchange, sums
from gramalign.contrast.rounds import Join, Rounds
from gramalign.contrast.statistics import LogSumExp, Statistic, Targets
from gramalign.contrast.tile import InBfloat16, Tile, no_slopes
from gramalign.geometry.norms import at_least_float32
from gramalign.geometry.saved import saved
from gramalign.mesh import AxisName, varying_as, zeros_as
from gramalign.scores import Side, Tiled


@dataclass(frozen=True)
class Walk:
    """What is gathered, how a block is computed, and where the columns are.

    Attributes:
        tile: the Score, and the statistic to gather.
        axis: the mesh axis that both sides are split over; None: one device.
        implementation: of the tiles.
        one_way: whether columns gather nothing.
        join: makes columns of parts and partners; None: columns are given as they are.
    """

    tile: Tile
    axis: Axis | None = None
    implementation: Implementation = "xla"
    one_way: bool = False
    join: Join | None = None

    @property
    def of_blocks(self):
        """The module that computes a block of rows."""
        if self.implementation == "xla":
            return scanned
        from gramalign.contrast import fused  # it takes as long to import as all the rest

        return fused


@dataclass(frozen=True)
class Candidates:
    """One side of a competition.

    Attributes:
        side: its factors, and which examples take part.
        groups: row i and column j compete if their groups differ.
        numbers: the examples' numbers, for rounds, or for a statistic that tells a group's other
            members from the match.
    """

    side: Side
    groups: Int[Array, " n"]
    numbers: Int[Array, " n"] | None = None

    def blocks(self, engine: Engine, axis: Axis | None) -> Block:
        """Stacked blocks `[blocks, tile, ...]`."""
        return split(
            self.side, self.groups, engine.tile_size(), axis, engine.multiple(), self.numbers
        )


def competition(
    score: Tiled,
    statistic: Statistic,
    rows: Candidates,
    cols: Candidates | None,
    scale: Float[Array, ""],
    *,
    axis_name: AxisName | None,
    engine: Engine,
    one_way: bool = False,
    partners: Candidates | None = None,
    join: Join | None = None,
) -> tuple[Any, Any]:
    """The statistic of each row over its competing columns, and of each column over its rows.

    Args:
        score: the Score of rows against columns.
        statistic: what to gather.
        rows: the row side.
        cols: the column side; None: the rows again, for a symmetric score.
        scale: factor from scores to logits (1 / temperature); inside `jax.shard_map` it varies over
            the mesh as the rows do.
        axis_name: inside `jax.shard_map`, the mesh axis that both sides are split over.
        engine: how pairs are computed.
        one_way: only rows gather; needs `cols`, whose number may then differ from the rows'.
        partners: of the same examples as `cols`, which are then only parts of columns: every part
            makes a column with every partner. Both need numbers, and groups from 0; requires
            `one_way`.
        join: makes columns of parts and partners, `gramalign.contrast.rounds.Join`.

    Returns:
        The finished statistic of the rows `[rows]`, and of the columns `[columns]` or None.

    Raises:
        ValueError: for a scale that is not one number.
    """
    if scale.ndim:
        raise ValueError(f"scale (1 / temperature) must be one number, got shape {scale.shape}")
    others = rows if cols is None else cols
    axis = choose(axis_name, engine.strategy, others.side.factors)
    score = score if engine.precision is None else InBfloat16(score)
    walk = Walk(Tile(score, statistic), axis, engine.implementation, one_way, join)
    blocks = (
        rows.blocks(engine, axis),
        None if cols is None else cols.blocks(engine, axis),
        None if partners is None else partners.blocks(engine, axis),
    )
    by_row, by_col = _competition(walk, *varying_as(blocks, scale), scale)
    by_row = unsplit(by_row, rows.side.valid.shape[0])
    return by_row, unsplit(by_col, others.side.valid.shape[0])


def among_themselves(
    score: Tiled,
    side: Side,
    scale: float,
    *,
    groups: Int[np.ndarray | Array, " n"] | None,
    axis_name: AxisName | None,
    engine: Engine,
) -> tuple[Float[Array, " n"], Targets]:
    """Log-sum-exp, and sum and number, of each example's logits with all others.

    Raises:
        ValueError: for an empty side, bad groups, or an axis that does not exist.
    """
    size, _ = check_sides(side, side, square=True, axis_name=axis_name)
    numbers = own_numbers(size, axis_name) if groups is None else check_groups(groups, size)
    like = at_least_float32(jax.tree.leaves(side.factors)[0].ravel()[0])
    gathered, _ = competition(
        score,
        LogSumExp("competitors"),
        Candidates(side, numbers),
        None,
        varying_as(jnp.asarray(scale, like.dtype), like),
        axis_name=axis_name,
        engine=engine,
    )
    assert gathered.targets is not None  # they were asked for
    return gathered.logsumexp, gathered.targets


def _start(walk: Walk, side: Block, scale: Float[Array, ""]) -> Any:
    zeros = varying_as(jnp.zeros(side.valid.shape, scale.dtype), scale)
    return walk.tile.statistic.start(zeros)


def _forward(walk, rows, cols, partners, scale):
    # The masks of tiles depend on fewer of these than logits do, and must not be known before them:
    # inside a differentiated loop, JAX would hoist the masks of all pairs out of it.
    rows, cols, partners, scale = jax.lax.optimization_barrier((rows, cols, partners, scale))
    mirrored, statistic = cols is None, walk.tile.statistic

    def meet(all_row_stats, cols, all_col_stats):
        def one_row_block(col_stats, row):
            row_stats, col_stats = walk.of_blocks.meet_all(walk.tile, scale, *row, cols, col_stats)
            return col_stats, row_stats

        whole = rows, all_row_stats
        all_col_stats, all_row_stats = jax.lax.scan(one_row_block, all_col_stats, whole)
        return all_row_stats, all_col_stats

    visit = meet if walk.join is None else Rounds(walk.join, partners, walk.axis).meeting(meet)
    gathering = Collecting(lambda cols: _start(walk, cols, scale), statistic.scatter)
    row_stats, col_stats = exchange(
        visit,
        _start(walk, rows, scale),
        rows if mirrored else cols,
        walk.axis,
        NOTHING if mirrored or walk.one_way else gathering,
    )
    by_row = jax.tree.map(saved, statistic.finish(row_stats))
    by_col = None
    if not walk.one_way:
        by_col = by_row if mirrored else jax.tree.map(saved, statistic.finish(col_stats))
    return (by_row, by_col), (rows, cols, partners, scale, by_row, by_col)


def _backward(walk, kept, cotangents):
    rows, cols, partners, scale, *finished = kept
    scale = jnp.asarray(scale)  # a constant of the program is saved as a literal of JAX's own
    mirrored = cols is None
    outcome = walk.tile.statistic.outcome
    if mirrored:
        cotangents = [jax.tree.map(_add, *cotangents)] * 2
    by_row, by_col = (
        None if x is None else outcome(x, dx) for x, dx in zip(finished, cotangents, strict=True)
    )

    def derive(derivatives, others, d_cols):
        def one_row_block(derivatives, row):
            d_rows, d_cols, d_scale = derivatives
            i, row, by_row = row
            d_row, d_cols, more = walk.of_blocks.derive_all(
                walk.tile, scale, row, by_row, *others, d_cols
            )
            d_rows = jax.tree.map(lambda d, more: d.at[i].add(more), d_rows, d_row)
            return (d_rows, d_cols, d_scale + more), None

        d_rows, d_scale = derivatives
        whole = jnp.arange(rows.valid.shape[0]), rows, by_row
        (d_rows, d_cols, d_scale), _ = jax.lax.scan(one_row_block, (d_rows, d_cols, d_scale), whole)
        return (d_rows, d_scale), d_cols

    visit, stay = derive, (no_slopes(rows.factors), zeros_as(scale))
    if walk.join is not None:
        visit = Rounds(walk.join, partners, walk.axis).deriving(derive)
        stay = stay, no_slopes(partners.factors)
    stay, d_cols = exchange(
        visit,
        stay,
        (rows if mirrored else cols, by_col),
        walk.axis,
        NOTHING if mirrored else sums(lambda others: no_slopes(others[0].factors)),
    )
    d_partners = None
    if walk.join is not None:
        stay, d_partners = stay
        d_partners = _narrowed(d_partners, partners)
    d_rows, d_scale = stay
    if mirrored:
        d_scale /= 2  # dl_ij + dl_ji met s_ij, and again s_ji
    d_cols = None if mirrored else _narrowed(d_cols, cols)
    return _narrowed(d_rows, rows), d_cols, d_partners, d_scale


def _add(x, y):
    # The cotangents of counts are float0, which cannot be added.
    return x if x.dtype == jax.dtypes.float0 else x + y


def _narrowed(slopes, side):
    """Derivatives in the dtype of the factors; masks have none."""
    factors = jax.tree.map(
        lambda x, d: None if d is None else d.astype(x.dtype), side.factors, slopes
    )
    return side._replace(factors=factors, valid=None, group=None, number=None)


_competition = jax.custom_vjp(lambda *arguments: _forward(*arguments)[0], nondiff_argnums=(0,))
_competition.defvjp(_forward, _backward)
