"""Contrast on the volume of the simplex whose corners are the modalities; k = 3: TRIANGLE.

    V(x_1..x_k) = sqrt(det D D^T) / (k - 1)!,   D = (x_2 - x_1, .., x_k - x_1)
    L = 1/2 (L_rows + L_cols),  softmax over -V(a_i, m2_j .. mk_j) / tau along j and along i
    scaled: V is divided by that of the regular simplex, sqrt(k^k / (k - 1)^(k - 1)) / (k - 1)!

Unlike the volume of GRAM's parallelotope, it is 0 only where the points are affinely dependent:
opposite vectors are as far apart as can be.

Source: Cicchetti et al. (TRIANGLE), NeurIPS 2025, arXiv 2509.24734, for k = 3; Cayley and Menger's
simplex volume for any k.
Needs: an anchor, or each in turn; k >= 2. From k = 6 on, `scaled`: volumes are at most 0.03 there,
and 1e-5 at k = 10, so small beside a temperature that little or nothing can be learned.
Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, per anchor; memory
O(B k d).
Singular set: points in a flat of fewer than k - 1 dimensions, where the volume is 0 and has a kink
(none if squared); derivatives are 0 there.
Blind spot: flat tuples: parallel differences, or two modalities alike, whatever the others.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import SimplexScore
from gramalign.types import Embeddings, Groups, Present


@compiled("squared", "scaled", check=check_unit_rows)
def simplex(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    squared: bool = False,
    scaled: bool = False,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Contrast on the simplex volume, of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        squared: contrast the squared volume, which is smooth everywhere.
        scaled: contrast the volume's share of the largest that as many unit vectors have.
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
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, or rows
            that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> shuffled = {"text": jnp.roll(eye, 1, axis=0), "audio": eye}
    >>> bool(simplex({"text": eye, "audio": eye}).mean() < simplex(shuffled).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_anchors(
        lambda name: SimplexScore(name, squared, scaled), loss, embeddings, anchor, present
    )
