"""Modality gap: how far the modalities' centres lie apart.

    L = mean over pairs (a, b) of | mean_i a_i - mean_i b_i |

over the examples that have both. A gap is one number for the whole batch: an example's value is the
mean over the pairs it has.

Source: Liang et al., NeurIPS 2022, arXiv 2203.02053.
Needs: k >= 2, all pairs.
Cost: k^2 B d; memory O(B k d).
Singular set: equal centres, a kink; derivatives are 0 there.
Blind spot: everything but centres: shuffled modalities have the same gap.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.geometry.norms import norm
from gramalign.losses.compiled import compiled
from gramalign.losses.participants import mean_over_pairs
from gramalign.mesh import AxisName, check_axis, varying_as
from gramalign.types import Embeddings, Present


@compiled(pairs=False)
def modality_gap(
    embeddings: Embeddings, *, present: Present | None = None, axis_name: AxisName | None = None
) -> Float[Array, " batch"]:
    """Distance between the modalities' centres, as the value of every example.

    Args:
        embeddings: by modality, `[batch, dim]` each; two modalities or more.
        present: which examples have which modality.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, or shapes that differ.

    >>> import jax.numpy as jnp
    >>> x = jnp.eye(2)
    >>> modality_gap({"text": x, "audio": x[::-1]}).tolist()
    [0.0, 0.0]
    """
    if axis_name is not None:
        check_axis(axis_name, embeddings)

    def one(x: Array, y: Array, both: Array) -> Float[Array, " batch"]:
        total = jnp.sum(jnp.where(both[:, None], x - y, 0), axis=0)
        number = varying_as(jnp.sum(both, dtype=jnp.int32), total)
        if axis_name is not None:
            total, number = jax.lax.psum((total, number), axis_name)
        gap = norm(total / jnp.maximum(number, 1).astype(total.dtype))
        return jnp.where(both, gap, 0)

    return mean_over_pairs(one, embeddings, present)
