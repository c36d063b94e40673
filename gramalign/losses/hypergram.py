"""HyperGRAM: contrast on a mix of the hyperbolic and the Euclidean volume of a tuple.

    V = (1 - m) V_hyp + m V_euc,   V_hyp = sqrt |det G_L|
    <x, y>_L = -x0 y0 + sum_i x_i y_i,   x0 = sqrt(1 + |x|^2)
    L = 1/2 (L_rows + L_cols),  softmax over -V(a_i, m2_j .. mk_j) / tau along j and along i

The embeddings are lifted to the hyperboloid, where the volume sees signs. G_L is indefinite, so the
volume is computed in the Lorentz complement of one vector, where the metric is definite
(`gramalign.scores.hyperbolic`). Its scale differs from the Euclidean volume's: for k orthonormal
vectors it is sqrt(2 k - 1) instead of 1. The paper learns m, starting at 0.5 and clipped to [0, 1],
and adds a matching loss, which is left out here.

Source: HyperGRAM, CVPR 2026.
Needs: an anchor, or each in turn; k >= 2; lengths up to about 30 (see the Score).
Cost: 4 (k - 1) B^2 d flops forward and four times that with the gradient, per anchor; memory
O(B k d).
Singular set: modalities that are linearly dependent, as they are or lifted: a kink of the Euclidean
or of the hyperbolic volume, whose derivative is 0 there.
Blind spot: two modalities alike, which make any third fit.
"""

from jaxtyping import Array, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine
from gramalign.losses.anchors import over_anchors, softmax
from gramalign.losses.compiled import compiled
from gramalign.mesh import AxisName
from gramalign.scores import HyperbolicVolumeScore, MixedScore, Score, VolumeScore
from gramalign.types import Embeddings, Groups, Present


@compiled()
def hypergram(
    embeddings: Embeddings,
    *,
    anchor: str | None = "text",
    mix: Float[Array, ""] | float = 0.5,
    temperature: Float[Array, ""] | float = 0.07,
    label_smoothing: float = 0.1,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """HyperGRAM loss of every example.

    Args:
        embeddings: rows by modality, `[batch, dim]` each; two modalities or more.
        anchor: the modality that is compared with the tuple of the others; None: the mean over all.
        mix: share m of the Euclidean volume, a number or a scalar that is learned.
        temperature: of the softmax, a number or a learned scalar.
        label_smoothing: in [0, 1).
        present: which examples have which modality; the volumes are then those of the present ones.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example that lacks the anchor or all the others, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for an unknown anchor, fewer than two modalities, shapes that differ, or
            (checked on concrete arrays only) a share outside [0, 1].

    >>> import jax.numpy as jnp
    >>> eye = jnp.eye(4)
    >>> opposite = {"text": -eye, "audio": eye}
    >>> bool(hypergram({"text": eye, "audio": eye}).mean() < hypergram(opposite).mean())
    True
    """
    loss = softmax(temperature, label_smoothing, groups, axis_name, engine)

    def score_of(name: str) -> Score:
        return MixedScore((HyperbolicVolumeScore(name), VolumeScore(name)), (0.5, 0.5))

    return over_anchors(score_of, loss, embeddings, anchor, present, weights=(1 - mix, mix))
