"""CentroBind: contrast of every modality with the centroid of all that an example has.

    L = mean over m of 1/2 [ CE_j(<m_i, c_j> / tau) + CE_j(<m_j, c_i> / tau) ]
    c = normalize(sum over m of m)

No modality is an anchor. The centroid is that of the given embeddings, augmented or not. It has
unit length, so that scores are cosines however well the modalities agree.

Source: Jeong et al., 2024, arXiv 2410.02086.
Needs: two modalities or more, none special; any k.
Cost: 2 k B^2 d flops forward, four times that with the gradient; memory O(B k d).
Singular set: modalities that sum to zero; the centroid and its derivative are 0 there.
Blind spot: a modality is part of its own centroid, so that k orthogonal ones still match it with
    1 / sqrt(k): where the examples are far apart, the loss is small without any alignment.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine, contrast
from gramalign.geometry.norms import at_least_float32
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.losses.participants import mean_over, participants
from gramalign.mesh import AxisName
from gramalign.scores import CosineScore, Side
from gramalign.scores.products import as_factor
from gramalign.scores.sides import centroid, whole
from gramalign.types import Embeddings, Groups, Present


@compiled(check=check_unit_rows)
def centrobind(
    embeddings: Embeddings,
    *,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """CentroBind loss of every example, the mean over the modalities that it has.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality; the centroid is that of those present.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, or rows that are neither of
            unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> loss = centrobind({"text": eye, "audio": eye}, temperature=1.0)
    >>> bool(jnp.allclose(loss, jnp.log(1 + jnp.exp(-1.0))))
    True
    """
    centre, _ = centroid(*whole(embeddings, present))
    taking_part = participants(embeddings, present)

    def one(name: str) -> Float[Array, " batch"]:
        score = CosineScore(name)
        rows = score.rows(embeddings, present)
        return contrast(
            score,
            rows,
            Side(as_factor(centre, embeddings[name].dtype), taking_part),
            jnp.sum(at_least_float32(rows.factors) * centre, axis=-1),
            scale=1 / temperature,
            label_smoothing=label_smoothing,
            groups=groups,
            axis_name=axis_name,
            engine=engine,
        )

    return mean_over(embeddings, one, embeddings, present)
