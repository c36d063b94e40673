"""Contrast on the height: GRAM with the distance of the anchor from the span of the others.

    L = 1/2 (L_rows + L_cols),  softmax over -h(a_i, m2_j .. mk_j) / tau along j and along i
    h(a, M) = Vol(a, M) / Vol(M)

GRAM's volume can also be made small by drawing the others of a tuple together, which makes that
tuple a near match of every anchor. The height leaves that factor out: only the anchor counts, and
tuples of different sizes have one scale.

Source: base times height, from GRAM: Cicchetti et al., ICLR 2025, arXiv 2412.11959.
Needs: an anchor, or each in turn; k >= 2 (at k = 2 it is GRAM).
Cost: 2 (k - 1) B^2 d flops forward and four times that with the gradient, per anchor; memory
O(B k d).
Singular set: an anchor within the span of the others, where the height is 0 and has a kink (none if
squared); derivatives are 0 there. Others that are dependent, where the height jumps; derivatives
are those above the smaller span.
Blind spot: signs, and whether the others agree with each other, unless each is the anchor in turn.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import HeightScore
from gramalign.types import Embeddings, Groups, Present


@compiled("squared", check=check_unit_rows)
def height(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    squared: bool = False,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.0,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """Contrast on the height, of every example.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        squared: contrast the squared height, which has no kink.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality; the span is then that of those present.
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
    >>> bool(height({"text": eye, "audio": eye}).mean() < height(shuffled).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)
    return over_anchors(lambda name: HeightScore(name, squared), loss, embeddings, anchor, present)
