"""Sums over the batch that are d x d matrices, in the place of all pairs of examples."""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from gramalign.mesh import AxisName


def moment(
    x: Float[Array, "batch d"], y: Float[Array, "batch e"], axis_name: AxisName | None
) -> Float[Array, "d e"]:
    """Sum over the whole batch of the outer products `x_i y_i^T`."""
    total = jnp.matmul(x.T, y, precision=Precision.HIGHEST)
    return total if axis_name is None else jax.lax.psum(total, axis_name)


def quadratic(
    x: Float[Array, "batch d"], matrix: Float[Array, "d e"], y: Float[Array, "batch e"]
) -> Float[Array, " batch"]:
    """`x_i^T matrix y_i` of every example."""
    return jnp.sum(jnp.matmul(x, matrix, precision=Precision.HIGHEST) * y, axis=-1)
