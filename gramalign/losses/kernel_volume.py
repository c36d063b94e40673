"""Contrast on the volume in an RBF kernel's feature space.

    V = sqrt(det K),   K_mn = exp( -|x_m - x_n|^2 / (2 s^2) )
    L = 1/2 (L_rows + L_cols),  softmax over -V(a_i, m2_j .. mk_j) / tau along j and along i

Every modality is a unit vector in feature space, and only nearby ones are correlated there: s sets
how near. Opposite vectors count as orthogonal, not as parallel.

Source: kernel Gram matrix after SemMSA; the contrast, after Cicchetti et al. (GRAM), ICLR 2025,
arXiv 2412.11959.
Needs: an anchor, or each in turn; k >= 2; a bandwidth.
Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, and some k^2 B^2
elementwise, per anchor; memory O(B k d).
Singular set: two modalities alike, where the volume is 0 and has a kink; derivatives are 0 there.
Blind spot: two modalities alike, which make any third fit; and differences at distances far beyond
s.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import compiled
from gramalign.mesh import AxisName
from gramalign.scores import KernelVolumeScore
from gramalign.types import Embeddings, Groups, Present


@compiled("bandwidth")
def kernel_volume(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    bandwidth: float = 1.0,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Contrast on the kernel volume, of every example.

    Args:
        embeddings: rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        bandwidth: the kernel's s, positive.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality; the volume is then that of those present.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or all the others, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, or a
            bandwidth that is not positive.

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> opposite = {"text": -eye, "audio": eye}
    >>> aligned = {"text": eye, "audio": eye}
    >>> bool(kernel_volume(aligned).mean() < kernel_volume(opposite).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_anchors(
        lambda name: KernelVolumeScore(name, bandwidth), loss, embeddings, anchor, present
    )
