"""PMRL: maximise every tuple's leading singular value, and keep the examples' directions apart.

    L^M_i  = -log softmax_j( sigma_j / tau1 )[1]          singular values of example i's tuple
    L^M'_i = -log softmax_m( <u_i, u_m> / tau2 )[i]       leading directions, over the batch
    L      = L^M + L^M'

No modality is an anchor. L^M is log k for orthogonal modalities and, when all are parallel,
log(1 + (k - 1) exp(-sqrt(k) / tau1)), which is 0 to rounding at the published tau1. As
<u_i, u_i> = 1, L^M' has a constant positive: it only spreads the examples, it aligns nothing.

The published code computes an SVD with d x d factors per example, contrasts the local batch only,
and leaves the sign of u arbitrary, which turns the exponentials of L^M' into random mixtures of
exp(c) and exp(-c). Here u points to the side of the modalities' mean. `signed=False` squares the
similarity instead, which needs no sign and pushes directions away from both c = 1 and c = -1.

Source: Liu et al., 2025, arXiv 2507.17343; tau1 = 0.05 and tau2 = 0.1 as published.
Needs: no anchor, all modalities are treated alike; k >= 2.
Cost: two k x k eigenproblems per example and 6 B^2 d flops with the gradient; memory O(B k d).
Singular set: sigma_1 = sigma_2, a kink of L^M, whose derivative there is that of one choice of the
two vectors. With orthonormal modalities, the derivative with respect to each is parallel to it, so
that normalised ones stay there. The derivative of u grows as 1 / gap nearby; at the kink it leaves
out the rotation of u. Also u orthogonal to the modalities' mean, across which its sign flips. That
of two at an obtuse angle always is, and points as the first by name does, so that other names are
another loss; `signed=False` needs no sign. Gradients are finite everywhere.
Blind spot: mismatched tuples: none is ever compared with a matched one. Signs, in L^M.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, DTypeLike, Float

from gramalign.contrast import DEFAULT_ENGINE, Engine, contrast
from gramalign.geometry import decompose, leading_direction, singular_values
from gramalign.losses.compiled import check_unit_rows, compiled
from gramalign.mesh import AxisName
from gramalign.scores import DirectionScore, Side
from gramalign.scores.products import as_factor
from gramalign.scores.sides import whole
from gramalign.types import Embeddings, Groups, Present


@compiled("signed", check=check_unit_rows)
def pmrl(
    embeddings: Embeddings,
    *,
    tau_alignment: Float[Array, ""] | float = 0.05,
    tau_instance: Float[Array, ""] | float = 0.1,
    signed: bool = True,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """PMRL loss of every example: alignment term plus instance term.

    Args:
        embeddings: unit rows by modality, `[batch, dim]` each; two modalities or more.
        tau_alignment: temperature of the softmax over singular values, tau1 (0.05 as published).
        tau_instance: temperature of the softmax over examples, tau2 (0.1 as published).
        signed: compare directions by their cosine; False: by its square.
        present: which examples have which modality.
        groups: one integer per example; equal ones are never each other's negatives.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.
        engine: how the scores of all pairs are computed.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, or rows that are neither of
            unit length nor zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> one = {"text": jnp.array([[1.0, 0, 0]]), "audio": jnp.array([[0, 1.0, 0]])}
    >>> bool(jnp.allclose(pmrl(one), jnp.log(2.0)))
    True
    """
    vectors, kept = whole(embeddings, present)
    values, directions = decompose(vectors, kept)
    instance = _instance(
        directions,
        vectors.dtype,
        kept,
        tau_instance,
        signed=signed,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )
    return _alignment(values, kept, tau_alignment) + instance


@compiled(check=check_unit_rows)
def pmrl_alignment(
    embeddings: Embeddings,
    *,
    temperature: Float[Array, ""] | float = 0.05,
    present: Present | None = None,
) -> Float[Array, " batch"]:
    """PMRL's L^M: softmax cross-entropy over a tuple's singular values, the first as the target.

    Absent modalities are left out of the softmax. Arguments and errors as in `pmrl`.
    """
    vectors, kept = whole(embeddings, present)
    return _alignment(singular_values(vectors, kept), kept, temperature)


@compiled("signed", check=check_unit_rows)
def pmrl_instance(
    embeddings: Embeddings,
    *,
    temperature: Float[Array, ""] | float = 0.1,
    signed: bool = True,
    present: Present | None = None,
    groups: Groups | None = None,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> Float[Array, " batch"]:
    """PMRL's L^M': contrast between the examples' leading directions.

    Arguments and errors as in `pmrl`.
    """
    vectors, kept = whole(embeddings, present)
    return _instance(
        leading_direction(vectors, kept),
        vectors.dtype,
        kept,
        temperature,
        signed=signed,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )


def _alignment(
    values: Float[Array, "batch k"],
    kept: Bool[Array, "batch k"],
    temperature: Float[Array, ""] | float,
) -> Float[Array, " batch"]:
    """L^M of singular values."""
    # Values are sorted in descending order, so those of absent modalities come last.
    number = jnp.sum(kept, axis=1, dtype=jnp.int32)
    exists = jax.lax.broadcasted_iota(jnp.int32, values.shape, 1) < number[:, None]
    behind = jnp.exp((values - values[:, :1]) / temperature)
    # log1p, because the loss of an aligned tuple is far below the rounding of a log-sum-exp.
    values = jnp.log1p(jnp.sum(jnp.where(exists, behind, 0)[:, 1:], axis=1))
    return jnp.where(number >= 2, values, 0)


def _instance(
    directions: Float[Array, "batch d"],
    dtype: DTypeLike,
    kept: Bool[Array, "batch k"],
    temperature: Float[Array, ""] | float,
    *,
    signed: bool,
    groups: Groups | None,
    axis_name: AxisName | None,
    engine: Engine,
) -> Float[Array, " batch"]:
    """L^M' of leading directions; `dtype` is that of the embeddings."""
    valid = jnp.sum(kept, axis=1, dtype=jnp.int32) >= 2
    return contrast(
        DirectionScore(signed),
        Side(as_factor(directions, dtype), valid),
        None,
        jnp.sum(directions * directions, axis=-1),
        scale=1 / temperature,
        groups=groups,
        axis_name=axis_name,
        engine=engine,
    )
