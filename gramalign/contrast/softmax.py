"""The contrastive loss of any Score: a softmax along its rows and one along its columns.

    L_i = 1/2 [ CE_j( s_ij / tau, target i ) + CE_j( s_ji / tau, target i ) ]

with label smoothing e spread over all candidates as in the usual cross-entropy. The matched scores,
which training drives to the limit of floating-point resolution, come from `Score.matched` to full
precision; only the competitors come from the tiles (`gramalign.contrast.competition`). Reverse-mode
derivatives of any order are supported; `jax.jvp` of a loss is not.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast.blocks import check_groups, check_matched, check_sides, own_numbers
from gramalign.contrast.competition import Candidates, competition
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.statistics import LogSumExp, LogSumExps
from gramalign.mesh import AxisName, varying_as
from gramalign.scores import Side, Tiled
from gramalign.types import Groups


def contrast(
    score: Tiled,
    rows: Side,
    cols: Side | None,
    matched: Float[Array, " batch"],
    *,
    scale: Float[Array, ""] | float,
    label_smoothing: float = 0.0,
    groups: Groups | None = None,
    supervised: bool = False,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Bidirectional softmax loss of row i against column i, every other valid pair a negative.

    Args:
        score: the Score to contrast; larger is better aligned.
        rows: the row side, `score.rows(...)`.
        cols: the column side, `score.cols(...)`, of the same batch; None: the rows again, for a
            symmetric score, which saves one of the backward pass's products and, on a ring, all
            traffic but that of the columns themselves.
        matched: scores of the matched pairs, `score.matched(...)`; for the logarithm of a volume,
            if the engine multiplies in bfloat16, computed under
            `gramalign.scores.products.in_bfloat16()`.
        scale: logits are scale * score; 1 / temperature.
        label_smoothing: e in [0, 1): the target is 1 - e for the match, plus e / n for each of n
            candidates.
        groups: examples with the same number are never each other's negatives (captions of one
            video, members of one class).
        supervised: treat members of a group as each other's positives instead: the target is spread
            evenly over the match and the group's other members, and all compete.
        axis_name: inside `jax.shard_map`, the mesh axis (or axes) that the batch is split over:
            negatives and gradients are then exactly those of the whole axis.
        engine: how pairs are computed; it changes results only by rounding.

    Returns:
        `[batch]`: the loss of each example; 0 for an example whose row or column is not valid,
        which takes no part: average over `rows.valid & cols.valid`. An example without competitors
        has loss 0.

    Raises:
        ValueError: for sizes that differ, empty sides, a label smoothing outside [0, 1) or beside
            `supervised`, bad groups, `supervised` without groups, or an axis that does not exist or
            does not split the batch.
    """
    others = rows if cols is None else cols
    size, _ = check_sides(rows, others, square=True, axis_name=axis_name)
    matched = check_matched(matched, size)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
    if supervised and (groups is None or label_smoothing):
        raise ValueError(
            "supervised needs groups and no label_smoothing, since it sets the target itself, got "
            f"{'no' if groups is None else 'some'} groups, label_smoothing={label_smoothing}"
        )
    numbers = own_numbers(size, axis_name)
    groups = numbers if groups is None else check_groups(groups, size)
    valid = rows.valid & others.valid
    factor = varying_as(jnp.asarray(scale, matched.dtype), matched)

    def candidates(side: Side) -> Candidates:
        return Candidates(Side(side.factors, valid), groups, numbers if supervised else None)

    targets = "group" if supervised else "competitors" if label_smoothing else None
    gathered = competition(
        score,
        LogSumExp(targets),
        candidates(rows),
        None if cols is None else candidates(cols),
        factor,
        axis_name=axis_name,
        engine=engine,
    )
    share = 1.0 if supervised else label_smoothing
    losses = [_cross_entropy(factor * matched, others, share) for others in gathered]
    return jnp.where(valid, (losses[0] + losses[1]) / 2, 0)


def _cross_entropy(
    matched: Float[Array, " n"], others: LogSumExps, share: float
) -> Float[Array, " n"]:
    """Cross-entropy of a target of 1 - share for the match, plus share spread over all summed.

    As softplus of the difference: log-sum-exp minus logit would cancel for a loss near 0.
    """
    loss = jax.nn.softplus(others.logsumexp - matched)
    if others.targets is None:
        return loss
    total, count = others.targets
    count = (count + 1).astype(matched.dtype)
    return loss + share * (matched - (total + matched) / count)
