"""Alignment: how far the modalities of an example lie apart.

    L = mean over pairs (a, b) of |a_i - b_i|^p

No example is compared with another: on its own, the loss is minimal where everything collapses to
one point.

Source: Wang and Isola, ICML 2020, arXiv 2005.10242, section 4.1; p = 2 there.
Needs: k >= 2, all pairs.
Cost: k^2 B d; memory O(B k d).
Singular set: equal vectors, for p < 2 (for p = 1 a kink); derivatives are 0 there.
Blind spot: everything but matched pairs: a collapsed space is perfect.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.geometry.norms import norm
from gramalign.losses.compiled import compiled
from gramalign.losses.participants import mean_over_pairs
from gramalign.types import Embeddings, Present


@compiled("power", pairs=False)
def alignment(
    embeddings: Embeddings, *, power: float = 2.0, present: Present | None = None
) -> Float[Array, " batch"]:
    """Mean distance, to a power, between the modalities of every example.

    Args:
        embeddings: by modality, `[batch, dim]` each; two modalities or more.
        power: of the distance, at least 1.
        present: which examples have which modality.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, or a power below 1.

    >>> import jax.numpy as jnp
    >>> alignment({"text": jnp.eye(2), "audio": jnp.eye(2)[::-1]}).tolist()
    [2.0, 2.0]
    """
    if not power >= 1:
        raise ValueError(f"power must be at least 1, got {power}")

    def one(x: Array, y: Array, both: Array) -> Float[Array, " batch"]:
        difference = jnp.where(both[:, None], x - y, 0)
        if power == 2:  # skip a root that the square would undo
            return jnp.sum(difference * difference, axis=-1)
        distance = norm(difference)
        apart = distance > 0
        return jnp.where(apart, jnp.where(apart, distance, 1) ** power, distance)

    return mean_over_pairs(one, embeddings, present)
