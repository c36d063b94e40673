"""Dual softmax: a match should be the best for its query and the best for its column.

    s'_ij = log [ softmax_j(s_ij / tau) softmax_i(s_ij / tau) ]
          = 2 s_ij / tau - logsumexp_j(s_ij / tau) - logsumexp_i(s_ij / tau)

It lowers columns that fit every query (hubs). All queries must be known at once, because they
compete, so its figures do not describe a search with one query: they stand beside the plain ones,
never in their place. The score matrix is computed twice and never stored.

Sources: as a prior from the other direction, Cheng et al. (CAMoE), 2021, arXiv 2109.04290; the
product of both, Sun et al. (LoFTR), CVPR 2021, arXiv 2104.00680.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast.blocks import NOBODY, check_sides, own_numbers
from gramalign.contrast.competition import Candidates, competition
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.statistics import LogSumExp
from gramalign.mesh import AxisName, varying_as
from gramalign.scores import Side, Tiled


@dataclass(frozen=True)
class DualSoftmax:
    """A Score whose tiles are another's under the dual softmax; made by `dual_softmax`.

    Attributes:
        score: the other Score.
        temperature: tau.
    """

    score: Tiled
    temperature: float

    def tile(self, rows: Any, cols: Any) -> Float[Array, "r c"]:
        """The other Score's tile, less the two normalisers."""
        (row_factors, over_cols), (col_factors, over_rows) = rows, cols
        logits = self.score.tile(row_factors, col_factors) / self.temperature
        return 2 * logits - over_cols[:, None] - over_rows[None, :]


def dual_softmax(
    score: Tiled,
    rows: Side,
    cols: Side,
    temperature: float,
    *,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> tuple[DualSoftmax, Side, Side]:
    """A Score and sides for `ranks` or `top_k`, with every row and every column normalised.

    Args:
        score: the Score of rows against columns.
        rows: the queries.
        cols: the gallery.
        temperature: of both softmaxes; the lower, the more exclusively a column goes to its best
            query.
        axis_name: inside `jax.shard_map`, the mesh axis that both sides are split over.
        engine: how pairs are computed; it changes results only by rounding.

    Raises:
        ValueError: for a temperature that is not positive, empty sides, or sizes that differ.

    >>> import jax.numpy as jnp
    >>> from gramalign.contrast import ranks
    >>> from gramalign.scores import CosineScore
    >>> emb = {"a": jnp.array([[1.0, 0.0], [0.8, 0.6]]), "b": jnp.array([[1.0, 0.3], [0.5, 0.9]])}
    >>> score = CosineScore("a", "b")
    >>> plain = score, score.rows(emb), score.cols(emb)
    >>> ranks(*plain)[0].tolist(), ranks(*dual_softmax(*plain, 0.1))[0].tolist()
    ([0, 1], [0, 0])
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    size, _ = check_sides(rows, cols, square=True, axis_name=axis_name)
    numbers = own_numbers(size, axis_name)
    dtype = jax.eval_shape(score.tile, rows.factors, cols.factors).dtype
    # No column is in any row's group, so that all pairs count, matched ones too.
    over_cols, over_rows = competition(
        score,
        LogSumExp(),
        Candidates(rows, numbers),
        Candidates(cols, jnp.full_like(numbers, NOBODY)),
        varying_as(jnp.asarray(1 / temperature, dtype), numbers),
        axis_name=axis_name,
        engine=engine,
    )

    def with_normaliser(side: Side, normaliser: Float[Array, " n"]) -> Side:
        # Invalid examples have no normaliser.
        return Side((side.factors, jnp.where(side.valid, normaliser, 0)), side.valid)

    return (
        DualSoftmax(score, temperature),
        with_normaliser(rows, over_cols.logsumexp),
        with_normaliser(cols, over_rows.logsumexp),
    )
