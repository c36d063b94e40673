"""GRAM: contrast on the volume that a tuple's embeddings span.

    L = 1/2 (L_D2A + L_A2D),  softmax over -Vol(a_i, m2_j .. mk_j) / tau along j and along i

The anchor of one tuple is compared with the other modalities of another, which stay together.
`anchor=None` averages over every modality as the anchor, so that none is special. The published
code holds k^2 B^2 numbers, and differs in three ways that are mistakes, not choices: it detaches
the gathered tuples (each modality gets half of its gradient), has NaN gradients at volume 0, and
forms Gram entries in half precision.

Other forms contrast Vol^2, log(Vol^2 + 1e-6) / 2 or Vol^(1/n). The floor in the logarithm counts
where modalities are many or close, as their volumes may be below 1e-3, matched or not.

Source: Cicchetti et al., ICLR 2025, arXiv 2412.11959.
Needs: an anchor, or each in turn; k >= 2.
Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, per anchor; memory
O(B k d).
Singular set: a matched or mismatched tuple of volume 0, which has a kink; derivatives are 0 there.
Blind spot: signs, and two modalities alike, which make any third fit: Vol(t, v, v) = 0.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import VolumeScore
from gramalign.scores.volume import Form
from gramalign.types import Embeddings, Groups, Present


@compiled("form", check=check_unit_rows)
def gram(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    form: Form = "volume",
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.1,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """GRAM loss of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        form: "volume" as published, or its square, its logarithm, or its n-th root for n modalities
            present, which has one scale for tuples of different sizes, but does not rank them
            fairly (`gramalign.scores.volume`). The logarithm tells volumes below 1e-3 hardly apart.
        temperature: of the softmax, a number or a learned scalar (0.07 as published).
        label_smoothing: 0.1 as in the published code; 0 for the formula of the paper.
        present: which examples have which modality; the volume is then that of those present.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or all the others, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for an unknown anchor or form, fewer than two modalities, shapes that differ, or
            rows that are neither of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> aligned = {"text": eye, "audio": eye}
    >>> shuffled = {"text": jnp.roll(eye, 1, axis=0), "audio": eye}
    >>> bool(gram(aligned).mean() < gram(shuffled).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_anchors(lambda name: VolumeScore(name, form), loss, embeddings, anchor, present)
