"""VAST: contrast of an anchor with one embedding that fuses all other modalities.

    L = 1/2 [ CE_j(<a_i, f_j> / tau) + CE_j(<a_j, f_i> / tau) ],   f = normalize(W [m_2; ..; m_k])

f is an entry of the embeddings like any other, made by `gramalign.models.FusionHead`; the loss is
that of CLIP between the two. The paper adds it up over several sets of fused modalities, each with
a head of its own, beside losses of matching and captioning. The published code detaches what it
gathers from other devices; here gradients are whole.

Source: Chen et al., NeurIPS 2023, arXiv 2305.18500.
Needs: an anchor and a fused embedding of the others; any k.
Cost: 2 B^2 d flops forward, four times that with the gradient; memory O(B d).
Singular set: none; smooth everywhere.
Blind spot: the modalities themselves, which it compares neither with the anchor nor with each
    other: a fusion that listens to one of them and ignores the rest is as good as any.
"""

from jaxtyping import Array, Float, Int

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.clip import clip
from gramalign.mesh import AxisName
from gramalign.scores.sides import check_embeddings, check_modality, only
from gramalign.types import Embeddings, Present


def vast(
    embeddings: Embeddings,
    *,
    anchor: str = "text",
    fused: str = "fused",
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.1,
    present: Present | None = None,
    groups: Int[Array, " batch"] | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """VAST loss of every example.

    Args:
        embeddings: unit rows `[batch, dim]` by name; those of the anchor and of the fused entry
            are used, others may be there.
        anchor: the modality that is compared with the fused embedding.
        fused: the name of the fused embedding.
        temperature: of the softmax, a number or a scalar that is learned (0.07 as published).
        label_smoothing: as published, 0.1.
        present: which examples have which entry; a `FusionHead` says where its own is.
        groups: examples with one number are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are gone through.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or the fused embedding and so takes no
        part.

    Raises:
        ValueError: for an unknown anchor or fused entry, shapes that differ, or rows of either that
            are neither of unit length nor zero (if called on numbers, not traced).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> loss = vast({"text": eye, "fused": eye}, temperature=1.0, label_smoothing=0.0)
    >>> bool(jnp.allclose(loss, jnp.log(1 + jnp.exp(-1.0))))
    True
    """
    check_embeddings(embeddings, present)
    check_modality("anchor", anchor, embeddings)
    check_modality("fused", fused, embeddings)
    two, masks = only(embeddings, present, (anchor, fused))
    return clip(
        two,
        anchor=anchor,
        temperature=temperature,
        label_smoothing=label_smoothing,
        present=masks,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )
