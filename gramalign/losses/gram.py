"""GRAM: contrast on the volume that a tuple's embeddings span.

    L = 1/2 (L_D2A + L_A2D),  softmax over -Vol(a_i, m2_j .. mk_j) / tau along j and along i
                                   (Cicchetti et al., ICLR 2025, arXiv 2412.11959)

The anchor of one tuple is compared with the others of another, which always move together.
`anchor=None` averages over every modality in the anchor's place, so that none is special.

Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, per anchor; memory O(B k
d). The published code needs k^2 B^2 numbers, and differs in three ways that are mistakes, not
choices: it detaches the gathered tuples (each modality gets half of its gradient), has NaN
gradients at volume 0, and forms Gram entries in half precision. Singular set and blind spots: those
of the volume (`gramalign.scores.volume`); gradients are finite everywhere.
"""

import jax
from jaxtyping import Array, Float, Int

from gramalign.contrast import DEFAULT_ENGINE, Engine, contrast
from gramalign.losses.anchors import mean_over
from gramalign.mesh import AxisName
from gramalign.scores import VolumeScore
from gramalign.scores.sides import check_embeddings, check_modality
from gramalign.types import Embeddings, Present


def gram(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.1,
    present: Present | None = None,
    groups: Int[Array, " batch"] | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """GRAM loss of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        temperature: of the softmax, a number or a scalar that is learned (0.07 as published).
        label_smoothing: as published, 0.1.
        present: which examples have which modality; the volume is then that of those present.
        groups: examples with one number are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are gone through.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or everything else and so takes no
        part (`participants` says which).

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, or shapes that differ.

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> aligned = {"text": eye, "audio": eye}
    >>> shuffled = {"text": jnp.roll(eye, 1, axis=0), "audio": eye}
    >>> bool(gram(aligned).mean() < gram(shuffled).mean())
    True
    """
    check_embeddings(embeddings, present)
    if anchor is not None:
        check_modality("anchor", anchor, embeddings)
    anchors = list(embeddings) if anchor is None else [anchor]
    # A matched tuple's volume is the same from every anchor.
    matched = jax.checkpoint(VolumeScore(anchors[0]).matched)(embeddings, present)

    def one(name: str) -> Float[Array, " batch"]:
        score = VolumeScore(name)
        return contrast(
            score,
            score.rows(embeddings, present),
            jax.checkpoint(score.cols)(embeddings, present),
            matched,
            scale=1 / temperature,
            label_smoothing=label_smoothing,
            groups=groups,
            axis_name=axis_name,
            engine=engine,
        )

    return mean_over(anchors, one, embeddings, present)
