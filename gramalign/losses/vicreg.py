"""VICReg: matched embeddings close, every coordinate spread, no two coordinates alike.

    L_i = lambda mean over pairs (a, b) of |a_i - b_i|^2 / d
          + 2 mean over modalities m of (mu v_m + nu c_m)
    v = mean over coordinates of max(0, 1 - sqrt(variance + 1e-4))
    c = sum over two coordinates that differ of covariance^2, / d

all of embeddings divided by the standard deviation that coordinates should have. No two examples
are compared: what keeps the space from collapsing are variances and covariances of the whole batch,
unbiased, over the examples that take part. For two modalities it is the published loss; with more,
every pair is treated alike. For unit vectors, variances reach their targets only where all
directions are taken alike.

Source: Bardes et al., ICLR 2022, arXiv 2105.04906, algorithm 1; lambda = mu = 25, nu = 1, and a
deviation of 1, there. Their equations sum the invariance over coordinates, where the algorithm and
the code average it, as here; the code also halves the variance term, here as in both others.
Needs: k >= 2, no anchor.
Cost: k B d^2; memory O(B k d + k d^2).
Singular set: a deviation that is exactly the target, a kink; derivatives are 0 there.
Blind spot: mismatched examples: two that coincide cost nothing while the batch's variances and
covariances are right.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32
from gramalign.losses.compiled import compiled
from gramalign.losses.moments import moment
from gramalign.losses.participants import mean_over, mean_over_pairs, participants
from gramalign.mesh import AxisName, check_axis, varying_as
from gramalign.scores.sides import check_unit
from gramalign.types import Embeddings, Present

_SMALLEST = 1e-4  # added to a variance, as published


def _check(embeddings: Embeddings, settings: Mapping[str, Any]) -> None:
    if settings["deviation"] is None:
        check_unit(embeddings, settings["present"])


@compiled("deviation", check=_check)
def vicreg(
    embeddings: Embeddings,
    *,
    invariance: Float[Array, ""] | float = 25.0,
    variance: Float[Array, ""] | float = 25.0,
    covariance: Float[Array, ""] | float = 1.0,
    deviation: float | None = None,
    present: Present | None = None,
    axis_name: AxisName | None = None,
) -> Float[Array, " batch"]:
    """VICReg's three terms; those of variance and covariance are the value of every example.

    Args:
        embeddings: by modality, `[batch, dim]` each; two modalities or more. Unit rows, or any if
            `deviation` is given.
        invariance: weight of the distance between matched embeddings, at least 0.
        variance: weight of the coordinates' lack of spread, at least 0.
        covariance: weight of the coordinates' covariances, at least 0.
        deviation: standard deviation that each coordinate should have; None: `dim ** -0.5`, which
            unit rows have when they are spread evenly. The published loss has 1, for rows of any
            length.
        present: which examples have which modality.
        axis_name: the mesh axis (or axes) that the batch is split over, inside `jax.shard_map`.

    Returns:
        `[batch]`; 0 for an example with fewer than two modalities, which takes no part
        (`participants` says which).

    Raises:
        ValueError: for fewer than two modalities, shapes that differ, a negative weight, a
            deviation that is not positive or, without one, rows that are neither of unit length nor
            zero (checked on concrete arrays only).

    >>> import jax.numpy as jnp
    >>> x = jnp.eye(4)
    >>> vicreg({"text": x, "audio": -x}, variance=0.0, covariance=0.0).tolist()
    [100.0, 100.0, 100.0, 100.0]
    """
    dim = next(iter(embeddings.values())).shape[1]
    target = dim**-0.5 if deviation is None else deviation
    if not target > 0:
        raise ValueError(f"deviation must be positive, got {deviation}")
    if axis_name is not None:
        check_axis(axis_name, embeddings)
    scaled = {name: at_least_float32(x) / target for name, x in embeddings.items()}

    def apart(x: Array, y: Array, both: Array) -> Float[Array, " batch"]:
        difference = jnp.where(both[:, None], x - y, 0)
        return jnp.mean(difference * difference, axis=-1)

    def of_one(name: str) -> Float[Array, " batch"]:
        takes = participants(embeddings, present, name)
        matrix = _covariances(scaled[name], takes, axis_name)
        spread = jnp.sqrt(jnp.diagonal(matrix) + _SMALLEST)
        lack = jnp.mean(jax.nn.relu(1 - spread))
        alike = jnp.sum(jnp.where(jnp.eye(dim, dtype=bool), 0, matrix) ** 2) / dim
        return jnp.where(takes, variance * lack + covariance * alike, 0)

    near = mean_over_pairs(apart, scaled, present)
    return invariance * near + 2 * mean_over(embeddings, of_one, embeddings, present)


def _covariances(
    x: Float[Array, "batch d"], there: Bool[Array, " batch"], axis_name: AxisName | None
) -> Float[Array, "d d"]:
    """Unbiased covariances of the rows that are there; 0 if fewer than two are."""
    total = jnp.sum(jnp.where(there[:, None], x, 0), axis=0)
    number = varying_as(jnp.sum(there, dtype=jnp.int32), total)
    if axis_name is not None:
        total, number = jax.lax.psum((total, number), axis_name)
    count = number.astype(x.dtype)
    centred = jnp.where(there[:, None], x - (total / jnp.maximum(count, 1))[None], 0)
    return moment(centred, centred, axis_name) / jnp.maximum(count - 1, 1)
