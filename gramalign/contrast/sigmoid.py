"""The sigmoid loss of any Score: every pair is classified on its own, as matched or not.

    L_i = -log sigmoid(l_ii) - 1/2 sum_j log sigmoid(-l_ij) - 1/2 sum_j log sigmoid(-l_ji),
    l_ij = scale * s_ij + bias

The sum over the batch counts every pair once, as in SigLIP (Zhai et al., ICCV 2023, arXiv
2303.15343, equation 1), whose loss is the mean of these values. It uses the same tiles as the
softmax (`gramalign.contrast.softmax`), and matched scores to full precision as there.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast.blocks import check_groups, check_matched, check_sides, own_numbers
from gramalign.contrast.competition import Candidates, competition
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.statistics import SoftplusSum
from gramalign.contrast.tile import scores_of
from gramalign.mesh import AxisName, varying_as
from gramalign.scores import Side, Tiled
from gramalign.types import Groups


class _Shifted(NamedTuple):
    factors: Any
    shift: Float[Array, " b"]


@dataclass(frozen=True)
class _Biased:
    """A Score plus a bias, which is part of the row factors so that it has a derivative."""

    score: Tiled

    def tile(self, rows: _Shifted, cols: Any) -> Float[Array, "r c"]:
        return scores_of(self.score, rows.factors, cols) + rows.shift[:, None]


def sigmoid_contrast(
    score: Tiled,
    rows: Side,
    cols: Side,
    matched: Float[Array, " batch"],
    *,
    scale: Float[Array, ""] | float,
    bias: Float[Array, ""] | float,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Sigmoid loss of row i against column i, every other valid pair a negative.

    Args:
        score: the Score to contrast; larger is better aligned.
        rows: the row side, `score.rows(...)`.
        cols: the column side, `score.cols(...)`, of the same batch.
        matched: scores of the matched pairs, `score.matched(...)`.
        scale: logits are scale * score + bias; not 0.
        bias: makes up for the large number of negatives; it is not adapted to the batch size.
        groups: examples with the same number are never each other's negatives.
        axis_name: inside `jax.shard_map`, the mesh axis (or axes) that the batch is split over.
        engine: how pairs are computed; it changes results only by rounding.

    Returns:
        `[batch]`: the loss of each example; 0 for an example whose row or column is not valid,
        which takes no part: average over `rows.valid & cols.valid`.

    Raises:
        ValueError: for sizes that differ, empty sides, bad groups, a scale or bias that is not one
            number, an axis that does not exist or does not split the batch.
    """
    size, _ = check_sides(rows, cols, square=True, axis_name=axis_name)
    matched = check_matched(matched, size)
    groups = own_numbers(size, axis_name) if groups is None else check_groups(groups, size)
    valid = rows.valid & cols.valid
    factor, offset = (varying_as(jnp.asarray(x, matched.dtype), matched) for x in (scale, bias))
    if offset.ndim:
        raise ValueError(f"bias must be one number, got shape {offset.shape}")
    shifted = _Shifted(rows.factors, jnp.broadcast_to(offset / factor, matched.shape))
    by_row, by_col = competition(
        _Biased(score),
        SoftplusSum(),
        Candidates(Side(shifted, valid), groups),
        Candidates(Side(cols.factors, valid), groups),
        factor,
        axis_name=axis_name,
        engine=engine,
    )
    positive = jax.nn.softplus(-(factor * matched + offset))
    return jnp.where(valid, positive + (by_row.sum + by_col.sum) / 2, 0)
