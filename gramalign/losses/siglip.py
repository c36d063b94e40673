"""SigLIP: classify every pair on its own as matched or not, by cosine or any Score.

    L = -1/B sum_ij log sigmoid( z_ij (s_ij / tau + b) ),   z_ij = 1 if i = j, else -1

Each pair's loss is halved between its two examples, which gives a value per example. Nothing is
normalised over the batch: the sum over negatives grows with it, and the bias makes up for that.

Source: Zhai et al., ICCV 2023, arXiv 2303.15343, equation 1; tau = 0.1 and b = -10 to start with.
Needs: an anchor, or all pairs; k >= 2. A Score other than the cosine needs its own bias.
Cost: that of the Score's tiles: for cosines 2 B^2 d flops forward per pair, four times that with
the gradient; memory O(B d).
Singular set: the Score's; cosines have none.
Blind spot: those of the Score.
"""

from functools import partial

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine, sigmoid_contrast
from gramalign.losses.anchors import over_any
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import ScoreLike
from gramalign.types import Embeddings, Groups, Present


@compiled("score_of", check=check_unit_rows)
def siglip(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    score_of: ScoreLike | None = None,
    temperature: Float[Array, ""] | float = 0.1,
    bias: Float[Array, ""] | float = -10.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Sigmoid loss of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the others; None: all pairs, or every anchor.
        score_of: the Score of an anchor against the tuple of the others, by name or class, such as
            `VolumeScore`; None: cosines, pair by pair. Pass your own function as the same object at
            every call: a new one compiles a new program.
        temperature: divides the scores; a number or a learned scalar.
        bias: added after the division; a number or a learned scalar.
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
    >>> one = {"text": jnp.eye(2)[:1], "audio": jnp.eye(2)[:1]}
    >>> bool(jnp.allclose(siglip(one, temperature=1.0, bias=-1.0), jnp.log(2.0)))
    True
    """
    loss = partial(
        sigmoid_contrast,
        scale=1 / temperature,
        bias=bias,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )
    return over_any(score_of, loss, embeddings, anchor, present)
