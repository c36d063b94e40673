"""CLIP: contrast on cosine similarity, pair by pair, or on any Score of an anchor and the others.

    L = mean over pairs (a, b) of 1/2 [ CE_j(<a_i, b_j> / tau) + CE_j(<a_j, b_i> / tau) ]

With an anchor, every other modality is pulled to it, as in ImageBind (arXiv 2305.05665); without,
the pairs are all k (k - 1) / 2. Another Score takes the cosine's place as GRAM's volume does: of an
anchor, or of each in turn, against the tuple of the others.

Source: Radford et al., 2021, arXiv 2103.00020.
Needs: an anchor, or all pairs; k >= 2.
Cost: that of the Score's softmax: for cosines 2 B^2 d flops forward per pair, four times that with
the gradient; memory O(B d).
Singular set: the Score's; cosines have none.
Blind spot: the Score's; of cosines, tuples as such: with an anchor the others are never compared.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_any, softmax
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import ScoreLike
from gramalign.types import Embeddings, Groups, Present


@compiled("score_of", check=check_unit_rows)
def clip(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    score_of: ScoreLike | None = None,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """CLIP loss of every example, the mean over its pairs of modalities or, with a Score, anchors.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the others; None: all pairs, or every anchor.
        score_of: the Score of an anchor against the tuple of the others, by name or class, such as
            `VolumeScore`; None: cosines, pair by pair. Pass your own function as the same object at
            every call: a new one compiles a new program.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that has nothing to compare, which takes no part (`participants`
        says which).

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, or, with
            cosines, rows that are neither of unit length nor zero (checked on concrete arrays
            only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(2)
    >>> loss = clip({"text": eye, "audio": eye}, temperature=1.0)
    >>> bool(jnp.allclose(loss, jnp.log(1 + jnp.exp(-1.0))))
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_any(score_of, loss, embeddings, anchor, present)
