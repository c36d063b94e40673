"""Supervised contrast: members of a group are each other's positives, by cosine or any Score.

    L_i = -1/|P_i| sum_{p in P_i} log softmax_j( s_ij / tau )[p],   P_i = the members of i's group

averaged over rows against columns and columns against rows; P_i contains i. The mean is outside the
logarithm, the paper's L_out. All valid examples compete, the group's own among them.

Source: Khosla et al., NeurIPS 2020, arXiv 2004.11362, equation 2.
Needs: groups (labels); an anchor, or all pairs; k >= 2.
Cost: that of the Score's softmax: for cosines 2 B^2 d flops forward per pair, four times that with
the gradient; memory O(B d).
Singular set: the Score's; cosines have none.
Blind spot: what sets the members of a group apart.
"""

from functools import partial

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine, contrast
from gramalign.losses.anchors import over_any
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import ScoreLike
from gramalign.types import Embeddings, Groups, Present


@compiled("score_of", check=check_unit_rows)
def supcon(
    embeddings: Embeddings,
    *,
    groups: Groups | None,
    anchor: str | None = "text",
    score_of: ScoreLike | None = None,
    temperature: Float[Array, ""] | float = 0.07,
    present: Present | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Supervised contrastive loss of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        groups: the label of each example.
        anchor: the modality that is compared with the others; None: all pairs, or every anchor.
        score_of: the Score of an anchor against the tuple of the others, by name or class, such as
            `VolumeScore`; None: cosines, pair by pair. Pass your own function as the same object at
            every call: a new one compiles a new program.
        temperature: of the softmax, a number or a learned scalar.
        present: which examples have which modality.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that has nothing to compare, which takes no part (`participants`
        says which).

    Raises:
        ValueError: without groups, for an unknown anchor, fewer than two modalities, shapes that
            differ, or, with cosines, rows that are neither of unit length nor zero (checked on
            concrete arrays only).

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)[jnp.array([0, 0, 1, 1])]
    >>> loss = supcon({"text": eye, "audio": eye}, groups=jnp.array([0, 0, 1, 1]), temperature=0.01)
    >>> bool(jnp.allclose(loss, jnp.log(2.0)))
    True
    """
    if groups is None:
        raise ValueError(
            "supcon needs groups, the label of each example: without them it is plain contrast"
        )
    loss = partial(
        contrast,
        scale=1 / temperature,
        groups=groups,
        supervised=True,
        axis_name=axis_name,
        engine=engine,
    )
    return over_any(score_of, loss, embeddings, anchor, present)
