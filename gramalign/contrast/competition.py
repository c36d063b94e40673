"""What every row and every column has to beat: log-sum-exps over a score matrix that never exists.

For logits l_ij = scale * s_ij, over the competitors j of row i (and the competitors i of column j):

    log sum exp(l_ij),   sum l_ij,   how many

The matrix is walked through in tiles. The forward pass keeps the two vectors of log-sum-exps; the
backward pass computes every tile again, gets the derivative with respect to it in closed form,

    dl_ij = g_row_i exp(l_ij - row_i) + g_col_j exp(l_ij - col_j) + (what comes through the sums),

and hands it to `jax.vjp(score.tile)`. So memory is O(rows + columns) for every Score, the
derivative's cost is one more forward pass and the Score's own transposes, and a new Score needs
nothing from here.

Where a side competes with itself under a symmetric Score, its columns are its rows: their
statistics are measured once, and as l_ij and l_ji have the same derivative, that with respect to
the rows is taken with dl_ij + dl_ji and is the whole of it.

On a mesh the columns of all devices come by (`gramalign.contrast.exchange`), once for the forward
and once for the backward pass: between the two, a device keeps no columns but its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from gramalign.contrast.blocks import Block, competing
from gramalign.contrast.exchange import NOTHING, Axis, Collecting, exchange, sums
from gramalign.mesh import AxisName, varying_as, zeros_as
from gramalign.scores import Score


class Competition(NamedTuple):
    """Per row (or per column): log-sum-exp of its competitors' logits, their sum, their number."""

    logsumexp: Float[Array, "*n"]
    total: Float[Array, "*n"]
    count: Int[Array, "*n"]


class _Running(NamedTuple):
    """A log-sum-exp under way: exp(largest) * sum, with the plain sum and the count beside it."""

    largest: Array
    sum: Array
    total: Array
    count: Array


def _start(side: Block, scale: Float[Array, ""]) -> _Running:
    shape = side.valid.shape
    zeros = jnp.zeros(shape, scale.dtype)
    start = _Running(jnp.full_like(zeros, -jnp.inf), zeros, zeros, jnp.zeros(shape, jnp.int32))
    return varying_as(start, scale)


def _measure(logits: Float[Array, "r c"], mask: Array, axis: int) -> _Running:
    largest = jnp.max(jnp.where(mask, logits, -jnp.inf), axis=axis)
    shift = jnp.expand_dims(jnp.where(jnp.isfinite(largest), largest, 0), axis)
    return _Running(
        largest,
        jnp.sum(jnp.where(mask, jnp.exp(logits - shift), 0), axis=axis),
        jnp.sum(jnp.where(mask, logits, 0), axis=axis),
        jnp.sum(mask, axis=axis, dtype=jnp.int32),
    )


def _join(a: _Running, b: _Running) -> _Running:
    largest = jnp.maximum(a.largest, b.largest)
    shift = jnp.where(jnp.isfinite(largest), largest, 0)
    total = a.sum * jnp.exp(a.largest - shift) + b.sum * jnp.exp(b.largest - shift)
    return _Running(largest, total, a.total + b.total, a.count + b.count)


def _finish(running: _Running) -> Competition:
    none = running.sum <= 0  # not > 0: NaN is no absence of competitors
    logsumexp = running.largest + jnp.log(jnp.where(none, 1, running.sum))
    return Competition(jnp.where(none, -jnp.inf, logsumexp), running.total, running.count)


def _scatter(everywhere: _Running, axis_name: AxisName) -> _Running:
    """Join what the columns have met on each device, on the device whose columns they are."""
    # Subtracting the same on all devices cancels out.
    largest = jax.lax.pmax(everywhere.largest, axis_name)
    finite = jnp.where(jnp.isfinite(largest), largest, 0)
    scaled = everywhere.sum * jnp.exp(everywhere.largest - finite)
    parts = scaled, everywhere.total, everywhere.count
    sums = jax.lax.psum_scatter(parts, axis_name, tiled=True)
    blocks = sums[0].shape[0]
    place = jax.lax.axis_index(axis_name) * blocks
    return _Running(jax.lax.dynamic_slice_in_dim(largest, place, blocks), *sums)


def competition(
    score: Score,
    rows: Block,
    cols: Block | None,
    scale: Float[Array, ""],
    axis: Axis | None = None,
) -> tuple[Competition, Competition]:
    """Competition that each row and each column meets.

    Args:
        score: whose `tile` fills the matrix.
        rows: stacked blocks `[blocks, tile, ...]` of the row side.
        cols: stacked blocks of the column side; None: the rows again, the score being symmetric.
        scale: factor from scores to logits (1 / temperature); inside `jax.shard_map` it varies over
            the mesh as the rows do.
        axis: the mesh axis that both sides are split over; None: there is only this device.

    Returns:
        For the rows and for the columns, each `[blocks, tile]`; a log-sum-exp is -inf where there
        is no competitor.
    """
    return _competition(score, axis, rows, cols, scale)


def _forward(score, axis, rows, cols, scale):
    mirrored = cols is None

    def visit(all_row_stats, cols, all_col_stats):
        def one_row_block(col_stats, row):
            def one_tile(row_stats, col):
                logits = scale * score.tile(row.factors, col.factors)
                mask = competing(row, col)
                row_stats = _join(row_stats, _measure(logits, mask, axis=1))
                return row_stats, None if mirrored else _measure(logits, mask, axis=0)

            row, row_stats = row
            row_stats, measured = jax.lax.scan(one_tile, row_stats, cols)
            return None if measured is None else _join(col_stats, measured), row_stats

        whole = rows, all_row_stats
        all_col_stats, all_row_stats = jax.lax.scan(one_row_block, all_col_stats, whole)
        return all_row_stats, all_col_stats

    row_stats, col_stats = exchange(
        visit,
        _start(rows, scale),
        rows if mirrored else cols,
        axis,
        NOTHING if mirrored else Collecting(lambda cols: _start(cols, scale), _scatter),
    )
    by_row = _finish(row_stats)
    by_col = by_row if mirrored else _finish(col_stats)
    return (by_row, by_col), (rows, cols, scale, by_row.logsumexp, by_col.logsumexp)


def _backward(score, axis, saved, cotangents):
    rows, cols, scale, row_lse, col_lse = saved
    by_row, by_col = ((side.logsumexp, side.total) for side in cotangents)
    mirrored = cols is None
    if mirrored:
        by_row = by_col = jax.tree.map(jnp.add, by_row, by_col)

    def visit(derivatives, others, d_cols):
        def one_row_block(derivatives, row):
            def one_tile(derivatives, col):
                d_row, d_cols, d_scale = derivatives
                j, (col, col_lse, by_col) = col
                scores, transpose = jax.vjp(score.tile, row.factors, col.factors)
                logits = scale * scores
                d_logits = _share(logits, row_lse[:, None]) * by_row[0][:, None]
                d_logits += _share(logits, col_lse[None, :]) * by_col[0][None, :]
                d_logits += by_row[1][:, None] + by_col[1][None, :]
                d_logits = jnp.where(competing(row, col), d_logits, 0)
                more_row, more_col = transpose(scale * d_logits)
                d_row = jax.tree.map(jnp.add, d_row, more_row)
                if not mirrored:
                    d_cols = jax.tree.map(lambda d, more: d.at[j].add(more), d_cols, more_col)
                return (d_row, d_cols, d_scale + jnp.sum(d_logits * scores)), None

            i, (row, row_lse, by_row) = row
            d_rows, d_cols, d_scale = derivatives
            start = zeros_as(row.factors), d_cols, d_scale
            (d_row, d_cols, d_scale), _ = jax.lax.scan(one_tile, start, _numbered(others))
            d_rows = jax.tree.map(lambda d, more: d.at[i].add(more), d_rows, d_row)
            return (d_rows, d_cols, d_scale), None

        d_rows, d_scale = derivatives
        start, whole = (d_rows, d_cols, d_scale), _numbered((rows, row_lse, by_row))
        (d_rows, d_cols, d_scale), _ = jax.lax.scan(one_row_block, start, whole)
        return (d_rows, d_scale), d_cols

    (d_rows, d_scale), d_cols = exchange(
        visit,
        (zeros_as(rows.factors), zeros_as(scale)),
        (rows if mirrored else cols, col_lse, by_col),
        axis,
        NOTHING if mirrored else sums(lambda others: others[0].factors),
    )
    no_derivative = dict(valid=None, group=None)
    d_rows = rows._replace(factors=d_rows, **no_derivative)
    if mirrored:
        return d_rows, None, d_scale / 2  # dl_ij + dl_ji has met s_ij, and again s_ji
    return d_rows, cols._replace(factors=d_cols, **no_derivative), d_scale


def _numbered(blocks: PyTree[Array]) -> tuple[Int[Array, " blocks"], PyTree[Array]]:
    """Stacked blocks with the place of each beside it."""
    return jnp.arange(jax.tree.leaves(blocks)[0].shape[0]), blocks


def _share(logits: Float[Array, "r c"], logsumexp: Array) -> Float[Array, "r c"]:
    """exp(logits - logsumexp), harmless where there is no competitor and the latter is -inf."""
    return jnp.exp(jnp.minimum(logits - jnp.where(jnp.isfinite(logsumexp), logsumexp, 0), 0))


def _primal(
    score: Score, axis: Axis | None, rows: Block, cols: Block | None, scale: Float[Array, ""]
) -> tuple[Competition, Competition]:
    return _forward(score, axis, rows, cols, scale)[0]


_competition = jax.custom_vjp(_primal, nondiff_argnums=(0, 1))
_competition.defvjp(_forward, _backward)
