"""CLIP: contrast on cosine similarity, pair by pair, with one anchor or between all modalities.

    L = mean over pairs (a, b) of 1/2 [ CE_j(<a_i, b_j> / tau) + CE_j(<a_j, b_i> / tau) ]

With an anchor, every other modality is pulled to it, as in ImageBind (arXiv 2305.05665); without,
the pairs are all k (k - 1) / 2.

Source: Radford et al., 2021, arXiv 2103.00020.
Needs: an anchor, or all pairs; k >= 2.
Cost: 2 B^2 d flops forward per pair, four times that with the gradient; memory O(B d).
Singular set: none; smooth everywhere.
Blind spot: tuples as such: with an anchor the others are never compared with each other.
"""

from jaxtyping import Array, Float, Int

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_pairs, pairs_of, softmax
from gramalign.losses.compiled import compiled, unit_rows
from gramalign.mesh import AxisName
from gramalign.types import Embeddings, Present


@compiled(check=unit_rows)
def clip(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Int[Array, " batch"] | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """CLIP loss of every example, the mean over the pairs of modalities that it has.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality with which the others are compared, one by one; None: all pairs.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that has no such pair and so takes no part (`participants`
        says which).

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, or rows
            that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> loss = clip({"text": eye, "audio": eye}, temperature=1.0)
    >>> bool(jnp.allclose(loss, jnp.log(1 + jnp.exp(-1.0))))
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_pairs(loss, embeddings, pairs_of(embeddings, anchor), present)
