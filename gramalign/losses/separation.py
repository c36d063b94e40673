"""Spectral separation: push the leading directions of different examples towards orthogonality.

    L_i = mean_{j != i} <u_i, u_j>^2,   u = leading direction of an example's tuple

The square needs no sign of u, which is arbitrary for an eigenvector: PMRL's instance term without
its random mixture of exp(c) and exp(-c), and without a temperature.

Source: SemMSA's separation term; the leading direction, Liu et al. (PMRL), 2025, arXiv 2507.17343.
Needs: k >= 2; no anchor.
Cost: two k x k eigenproblems per example and 6 B^2 d flops with the gradient; memory O(B k d).
Singular set: that of the leading direction, sigma_1 = sigma_2; gradients are finite.
Blind spot: how well matched modalities agree: it aligns nothing.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.contrast.competition import among_themselves
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.losses.participants import participants
from gramalign.mesh import AxisName
from gramalign.scores import DirectionScore
from gramalign.types import Embeddings, Groups, Present


@compiled(check=check_unit_rows)
def separation(
    embeddings: Embeddings,
    *,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Mean squared cosine of every example's leading direction with those of all others.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        present: which examples have which modality.
        groups: one integer per example; examples with equal integers are not compared.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how all pairs are computed.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which), or with no other to compare with.

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, or rows that are neither of
            unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> x = jnp.eye(2)
    >>> separation({"text": x, "audio": x}).tolist()
    [0.0, 0.0]
    """
    score = DirectionScore(signed=False)
    side = score.rows(embeddings, present)._replace(valid=participants(embeddings, present))
    _, (total, count) = among_themselves(
        score, side, 1.0, groups=groups, axis_name=axis_name, engine=engine
    )
    return total / jnp.maximum(count, 1).astype(total.dtype)
