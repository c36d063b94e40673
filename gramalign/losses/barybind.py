"""BaryBind: contrast on the volume that a barycentre and its differences to the modalities span.

    L = 1/2 (L_B2M + L_M2B),  softmax over -Vol(b_i, b_i - m1_j, .., b_i - mk_j) / tau

Subtracting b from the others is a shear, which preserves the volume: Vol(b, b - m1, ..) = Vol(b,
m1, ..). So this is GRAM with the barycentre as the anchor, and is computed as such. The paper's
further terms are left out.

Source: BaryBind, NeurIPS 2026; GRAM: Cicchetti et al., ICLR 2025, arXiv 2412.11959.
Needs: a barycentre (in the paper a learned map of one modality), or two modalities or more, whose
    centroid it then is; any k.
Cost: 2 k B^2 d flops forward, four times that with the gradient; memory O(B k d).
Singular set: that of the volume: a barycentre within the span of the modalities, or dependent
    modalities; the volume and its derivative are 0. Every matched tuple is there if the barycentre
    is the centroid.
Blind spot: signs, as for the volume. With the centroid, whether modalities agree at all: it lies
    in their span, so every matched volume is 0 (to rounding) whatever they are, and the loss drives
    mismatched tuples apart, no more.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.geometry.norms import at_least_float32
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.losses.gram import gram
from gramalign.losses.participants import participants
from gramalign.mesh import AxisName
from gramalign.scores.sides import centroid, check_modality, whole
from gramalign.types import Embeddings, Groups, Present

CENTROID = "centroid"


@compiled("barycentre", check=check_unit_rows)
def barybind(
    embeddings: Embeddings,
    *,
    barycentre: str | None = None,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.1,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """BaryBind loss of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two entries or more.
        barycentre: the name of the entry that is the barycentre; None: the normalised mean of the
            modalities that an example has.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which entry; the volume is then that of those present.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the barycentre or all other entries, or, with the
        centroid, has fewer than two modalities (`participants` says which).

    Raises:
        ValueError: for an unknown barycentre, fewer than two entries, or shapes that differ; for a
            modality named "centroid" if the centroid is to be computed; for rows that are neither
            of unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> emb = {"video": eye, "audio": eye, "text to all": eye}
    >>> loss = barybind(emb, barycentre="text to all")
    >>> bool((loss == gram(emb, anchor="text to all")).all())
    True
    """
    if barycentre is not None:
        check_modality("barycentre", barycentre, embeddings)
    else:
        barycentre = CENTROID
        embeddings, present = _with_centroid(embeddings, present)
    return gram(
        embeddings,
        anchor=barycentre,
        temperature=temperature,
        label_smoothing=label_smoothing,
        present=present,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )


def _with_centroid(embeddings: Embeddings, present: Present | None) -> tuple[Embeddings, Present]:
    """Add the centroid in float32, and widen the rest: rounded, it would leave their span."""
    if CENTROID in embeddings:
        raise ValueError(
            f"embeddings has an entry {CENTROID!r}, the name of the barycentre to be computed: "
            f"rename it, or give barycentre={CENTROID!r} if it is one"
        )
    centre, _ = centroid(*whole(embeddings, present))
    wide = {name: at_least_float32(x) for name, x in embeddings.items()}
    there = dict(present or {}) | {CENTROID: participants(embeddings, present)}
    return wide | {CENTROID: centre}, there
