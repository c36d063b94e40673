"""The contrastive loss of any Score: a softmax along its rows and one along its columns.

    L_i = 1/2 [ CE_j( s_ij / tau, target i ) + CE_j( s_ji / tau, target i ) ]

with label smoothing e spread over all candidates as in the usual cross-entropy. The matched scores,
which training drives to the limit of what floats resolve, come from `Score.matched` to full
precision; only the competitors come from the tiles (`gramalign.contrast.competition`). Derivatives
are those of reverse mode, of any order; `jax.jvp` of a loss is not defined.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramalign.contrast.blocks import check_groups, check_sides, split, tile_size, unsplit
from gramalign.contrast.competition import Competition, competition
from gramalign.mesh import varying_as
from gramalign.scores import Score, Side

DEFAULT_TILE = 1024


def contrast(
    score: Score,
    rows: Side,
    cols: Side | None,
    matched: Float[Array, " batch"],
    *,
    scale: Float[Array, ""] | float,
    label_smoothing: float = 0.0,
    groups: Int[Array, " batch"] | None = None,
    tile: int | None = None,
    axis_name: str | None = None,
) -> Float[Array, " batch"]:
    """Bidirectional softmax loss of row i against column i, every other valid pair a negative.

    Args:
        score: what fills the score matrix; larger is better aligned.
        rows: the row side, `score.rows(...)`.
        cols: the column side, `score.cols(...)`, of the same batch; None: the rows again, for a
            symmetric score, which saves one of the backward pass's products (without `axis_name`).
        matched: scores of the matched pairs, `score.matched(...)`.
        scale: logits are scale * score; 1 / temperature.
        label_smoothing: e in [0, 1): the target has 1 - e, plus e / n for each of n candidates.
        groups: examples with the same number are never each other's negatives (captions of one
            video, members of one class).
        tile: at most this many rows and columns of the matrix exist at a time.
        axis_name: inside `jax.shard_map`, the mesh axis that the batch is split over: negatives
            then come from the whole axis, exactly, and so do gradients. Columns are gathered.

    Returns:
        `[batch]`: the loss of each example; 0 where its row or its column is not valid, which takes
        no part: average over `rows.valid & cols.valid`. An example without competitors has loss 0.

    Raises:
        ValueError: for sizes that differ, empty sides, a label smoothing outside [0, 1) or bad
        groups.
    """
    others = rows if cols is None else cols
    size, _ = check_sides(rows, others, square=True)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    own = jnp.arange(size, dtype=jnp.int32)
    if axis_name is not None:
        own += jax.lax.axis_index(axis_name) * size
    group = own if groups is None else check_groups(groups, size)
    valid = rows.valid & others.valid
    rows, others = Side(rows.factors, valid), Side(others.factors, valid)
    tile = tile_size(tile, DEFAULT_TILE)
    factor = varying_as(jnp.asarray(scale, matched.dtype), matched)

    row_blocks = split(rows, group, tile)
    if axis_name is None:
        col_blocks = None if cols is None else split(others, group, tile)
        by_row, by_col = competition(score, row_blocks, col_blocks, factor)
        by_col = unsplit(by_col, size)
    else:
        others, group = jax.lax.all_gather((others, group), axis_name, tiled=True)
        by_row, by_col = competition(score, row_blocks, split(others, group, tile), factor)
        by_col = _joined(unsplit(by_col, group.shape[0]), axis_name)
    by_row = unsplit(by_row, size)

    logits = factor * matched
    losses = [_cross_entropy(logits, side, label_smoothing) for side in (by_row, by_col)]
    return jnp.where(valid, (losses[0] + losses[1]) / 2, 0)


def _cross_entropy(
    matched: Float[Array, " n"], others: Competition, label_smoothing: float
) -> Float[Array, " n"]:
    """Cross-entropy of the matched logit against itself and its competitors.

    As softplus of the difference, because a loss near 0 would cancel in log-sum-exp minus logit.
    """
    loss = jax.nn.softplus(others.logsumexp - matched)
    if label_smoothing == 0:
        return loss
    count = (others.count + 1).astype(matched.dtype)
    return loss + label_smoothing * (matched - (others.total + matched) / count)


def _joined(partial: Competition, axis_name: str) -> Competition:
    """What all devices' rows together mean to this device's columns."""
    largest = jax.lax.pmax(jax.lax.stop_gradient(partial.logsumexp), axis_name)
    shift = jnp.where(jnp.isfinite(largest), largest, 0)
    parts = jnp.exp(partial.logsumexp - shift), partial.total, partial.count
    sums, total, count = jax.lax.psum_scatter(parts, axis_name, tiled=True)
    size = sums.shape[0]
    shift = jax.lax.dynamic_slice_in_dim(shift, jax.lax.axis_index(axis_name) * size, size)
    none = sums <= 0  # not > 0: NaN is no absence of competitors
    logsumexp = jnp.where(none, -jnp.inf, shift + jnp.log(jnp.where(none, 1, sums)))
    return Competition(logsumexp, total, count)
