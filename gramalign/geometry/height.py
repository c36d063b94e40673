"""Height of a vector above the span of others: the last factor of the volume that all of them span.

    Vol(a, m_1..m_n) = Vol(m_1..m_n) h,   h = |a - Q^T Q a|

for an orthonormal basis Q of the others' span. For a unit vector h is the sine of its angle to the
span, in [0, 1]; at n = 1 it is GRAM's volume. What is projected is the vector less the one of the
others that explains most of it, so that h has all its digits however close the vector is to that
one; projecting twice takes away what the rounding of the first time left along the basis.

Cost: O(k^2 d) per tuple. Singular set: a vector within the span (to rounding: within 16 machine
epsilons of it), where h is 0, with a kink; the derivative is 0 there. Dependent others, where h
jumps, as their span loses a dimension; the derivative is that of the height above the smaller span.
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry.basis import RANK_TOLERANCE, orthonormal_basis, sheared
from gramalign.geometry.norms import at_least_float32, check_array, norm
from gramalign.geometry.tuples import combine, inner_products, take_apart, unstack


@jax.jit
def height(
    vector: Float[Array, "*batch d"],
    others: Float[Array, "*batch k d"],
    present: Bool[Array, "*batch k"] | None = None,
) -> Float[Array, "*batch"]:
    """Distance of each vector from the span of k others.

    Args:
        vector: `[..., d]`; bfloat16 is computed in float32.
        others: `[..., k, d]`, of lengths as for `orthonormal_basis`.
        present: which of the others are present, `[..., k]`; None: all. Absent rows may hold
            anything.

    Returns:
        `[...]`, float32 or wider; the vector's length if no other is present.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> float(height(jnp.array([0.0, 3.0, 4.0]), jnp.eye(3)[:2]))
    4.0
    """
    rows = take_apart(others, present)
    check_array("vector", vector)
    wanted = (*others.shape[:-2], others.shape[-1])
    if vector.shape != wanted or not jnp.issubdtype(vector.dtype, jnp.floating):
        raise ValueError(
            f"vector must be floating point of shape {wanted}, as others are {others.shape}, got "
            f"{vector.dtype} of shape {vector.shape}"
        )
    vector = at_least_float32(vector)
    basis = unstack(orthonormal_basis(others, present).vectors, -2)
    constants = stop_gradient(vector), [stop_gradient(row) for row in rows]
    products = unstack(jnp.squeeze(inner_products(constants[:1], constants[1]), -2), -1)
    squares = [jnp.sum(row * row, axis=-1) for row in constants[1]]
    short = outside = sheared(vector, rows, products, squares)
    for _ in range(2):
        (along,) = combine(inner_products([outside], basis), basis)
        outside = outside - along
    noise = RANK_TOLERANCE * float(jnp.finfo(vector.dtype).eps)
    within = stop_gradient(norm(outside) <= noise * norm(short))
    return norm(jnp.where(within[..., None], 0, outside))
