"""What every row and every column has to beat: log-sum-exps over a score matrix that never exists.

For logits l_ij = scale * s_ij, over the competitors j of row i (and the competitors i of column j):

    log sum exp(l_ij),   sum l_ij,   how many

The matrix is walked through in tiles. The forward pass keeps the two vectors of log-sum-exps; the
backward pass computes every tile again (`gramalign.contrast.tile`). So memory is O(rows + columns)
for every Score, the derivative's cost is one more forward pass and the Score's own transposes, and
a new Score needs nothing from here.

Where a side competes with itself under a symmetric Score, its columns are its rows: their
statistics are measured once, and as l_ij and l_ji have the same derivative, that with respect to
the rows is taken with dl_ij + dl_ji and is the whole of it.

On a mesh the columns of all devices come by (`gramalign.contrast.exchange`), once for the forward
and once for the backward pass: between the two, a device keeps no columns but its own.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast import tiles
from gramalign.contrast.blocks import Block
from gramalign.contrast.engine import Implementation
from gramalign.contrast.exchange import NOTHING, Axis, Collecting, exchange, sums
from gramalign.contrast.statistics import Competition, finish, scatter, start
from gramalign.contrast.tile import Outcome, no_slopes
from gramalign.mesh import zeros_as
from gramalign.scores import Score


@dataclass(frozen=True)
class Walk:
    """The Score that is walked through, what computes a block, and where the columns are.

    Attributes:
        score: whose `tile` fills the matrix.
        axis: the mesh axis that both sides are split over; None: there is only this device.
        implementation: of the tiles.
    """

    score: Score
    axis: Axis | None = None
    implementation: Implementation = "xla"

    @property
    def of_blocks(self):
        """The module that goes through a block of rows."""
        if self.implementation == "xla":
            return tiles
        from gramalign.contrast import fused  # which takes as long to import as all the rest

        return fused


def competition(
    walk: Walk, rows: Block, cols: Block | None, scale: Float[Array, ""]
) -> tuple[Competition, Competition]:
    """Competition that each row and each column meets.

    Args:
        walk: through which scores, and how.
        rows: stacked blocks `[blocks, tile, ...]` of the row side.
        cols: stacked blocks of the column side; None: the rows again, the score being symmetric.
        scale: factor from scores to logits (1 / temperature); inside `jax.shard_map` it varies over
            the mesh as the rows do.

    Returns:
        For the rows and for the columns, each `[blocks, tile]`; a log-sum-exp is -inf where there
        is no competitor.
    """
    return _competition(walk, rows, cols, scale)


def _forward(walk, rows, cols, scale):
    mirrored = cols is None

    def visit(all_row_stats, cols, all_col_stats):
        def one_row_block(col_stats, row):
            row_stats, col_stats = walk.of_blocks.meet_all(walk.score, scale, *row, cols, col_stats)
            return col_stats, row_stats

        whole = rows, all_row_stats
        all_col_stats, all_row_stats = jax.lax.scan(one_row_block, all_col_stats, whole)
        return all_row_stats, all_col_stats

    row_stats, col_stats = exchange(
        visit,
        start(rows, scale),
        rows if mirrored else cols,
        walk.axis,
        NOTHING if mirrored else Collecting(lambda cols: start(cols, scale), scatter),
    )
    by_row = finish(row_stats)
    by_col = by_row if mirrored else finish(col_stats)
    return (by_row, by_col), (rows, cols, scale, by_row.logsumexp, by_col.logsumexp)


def _backward(walk, saved, cotangents):
    rows, cols, scale, *logsumexps = saved
    mirrored = cols is None
    slopes = [(side.logsumexp, side.total) for side in cotangents]
    if mirrored:
        slopes = [jax.tree.map(jnp.add, *slopes)] * 2
    by_row, by_col = (Outcome(x, *dx) for x, dx in zip(logsumexps, slopes, strict=True))

    def visit(derivatives, others, d_cols):
        def one_row_block(derivatives, row):
            d_rows, d_cols, d_scale = derivatives
            i, row, by_row = row
            d_row, d_cols, more = walk.of_blocks.derive_all(
                walk.score, scale, row, by_row, *others, d_cols
            )
            d_rows = jax.tree.map(lambda d, more: d.at[i].add(more), d_rows, d_row)
            return (d_rows, d_cols, d_scale + more), None

        d_rows, d_scale = derivatives
        whole = jnp.arange(rows.valid.shape[0]), rows, by_row
        (d_rows, d_cols, d_scale), _ = jax.lax.scan(one_row_block, (d_rows, d_cols, d_scale), whole)
        return (d_rows, d_scale), d_cols

    (d_rows, d_scale), d_cols = exchange(
        visit,
        (no_slopes(rows.factors), zeros_as(scale)),
        (rows if mirrored else cols, by_col),
        walk.axis,
        NOTHING if mirrored else sums(lambda others: no_slopes(others[0].factors)),
    )
    if mirrored:
        return _narrowed(d_rows, rows), None, d_scale / 2  # dl_ij + dl_ji met s_ij, and again s_ji
    return _narrowed(d_rows, rows), _narrowed(d_cols, cols), d_scale


def _narrowed(slopes, side):
    """Derivatives in the dtype of what they are with respect to; there are none by the masks."""
    factors = jax.tree.map(lambda d, x: d.astype(x.dtype), slopes, side.factors)
    return side._replace(factors=factors, valid=None, group=None)


_competition = jax.custom_vjp(lambda *arguments: _forward(*arguments)[0], nondiff_argnums=(0,))
_competition.defvjp(_forward, _backward)
