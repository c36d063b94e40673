"""Contrast on the leading singular value: PMRL's quantity, used as GRAM uses the volume.

    L = 1/2 (L_rows + L_cols),  softmax over sigma_1([a_i, m2_j .. mk_j]) / tau along j and along i

PMRL maximises sigma_1 of matched tuples and never compares it with mismatched ones. Here it is the
similarity: mismatched tuples share less of one direction.

Source: sigma_1 as similarity, Liu et al. (PMRL), 2025, arXiv 2507.17343; the contrast, after
Cicchetti et al. (GRAM), ICLR 2025, arXiv 2412.11959.
Needs: an anchor, or each in turn; k >= 2.
Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, and some 20 k B^2
elementwise, per anchor; memory O(B k d).
Singular set: sigma_1 = sigma_2, a kink; a subgradient is returned. First derivatives only: second
ones raise a `NotImplementedError`.
Blind spot: signs; and an anchor orthogonal to others that agree changes nothing.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import SpectralScore
from gramalign.types import Embeddings, Groups, Present


@compiled(check=check_unit_rows)
def spectral(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Contrast on the leading singular value, of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
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
    >>> bool(spectral({"text": eye, "audio": eye}).mean() < spectral(shuffled).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_anchors(SpectralScore, loss, embeddings, anchor, present)
