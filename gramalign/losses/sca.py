"""SCA: contrast of an anchor with the others, each weighted by how well it fits the anchor.

    s_ij = <a_i, z> / |z|,   z = sum_m w_m z_m,j,   w = softmax_m( <a_i, z_m,j> / tau_w )
    L = 1/2 (L_rows + L_cols),  softmax over s_ij / tau along j and along i

Source: SCA / SCALAR, weighted aggregation; tau_w = 0.1 as published.
Needs: an anchor, or each in turn; k >= 2 (at k = 2 it is CLIP).
Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, and some k^2 B^2
elementwise, per anchor; memory O(B k d).
Singular set: a weighted sum of the others that vanishes; score and derivatives are 0 there.
Blind spot: a modality that fits nothing is weighted away: one good modality is enough.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import AggregateScore
from gramalign.types import Embeddings, Groups, Present


@compiled("weight_temperature", check=check_unit_rows)
def sca(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    weight_temperature: float = 0.1,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """SCA's contrast with the weighted others, of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        weight_temperature: of the softmax that weights the others (0.1 as published).
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or all the others, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, a
            weight_temperature that is not positive, or rows that are neither of unit length nor
            zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> shuffled = {"text": jnp.roll(eye, 1, axis=0), "audio": eye}
    >>> bool(sca({"text": eye, "audio": eye}).mean() < sca(shuffled).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_anchors(
        lambda name: AggregateScore(name, weight_temperature), loss, embeddings, anchor, present
    )
