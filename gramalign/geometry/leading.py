"""The leading direction of a tuple: the unit vector that its modalities share most.

    u_1 = Z w_1 / sigma_1,  w_1 the leading eigenvector of G      (PMRL, arXiv 2507.17343)

By default it comes from `gramalign.geometry.spectrum`, which documents its sign and singular set.
The power iteration here finds that alone, which is cheaper from about 16 modalities on.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import normalize
from gramalign.geometry.spectrum import GAP_TOLERANCE, decompose, towards_mean
from gramalign.geometry.tuples import combine, identity, inner_products, multiply, take_apart


@jax.custom_jvp
def leading_eigenvector(matrix: Float[Array, "*batch k k"]) -> Float[Array, "*batch k"]:
    """Leading eigenvector of symmetric positive semidefinite matrices by power iteration.

    The power is taken by repeated squaring, in matrix products only, so it needs no starting vector
    that might be orthogonal to the answer, and compiles to little on any accelerator. It is squared
    as often as the mantissa has bits: 2^23 steps in float32 (2^52 in float64) separate eigenvalues
    whose relative gap is a few machine epsilons, the limit of the dtype. Differentiated implicitly:
    (lambda_1 - G) dw = (1 - w w^T) dG w.
    """

    def square(_, power):
        power = multiply(power, power)
        return power / _trace_or_one(power)

    power = jax.lax.fori_loop(
        0, jnp.finfo(matrix.dtype).nmant, square, matrix / _trace_or_one(matrix)
    )
    longest = jnp.argmax(jnp.diagonal(power, axis1=-2, axis2=-1), axis=-1)
    return normalize(jnp.take_along_axis(power, longest[..., None, None], axis=-1)[..., 0])


def _trace_or_one(matrix: Float[Array, "*batch k k"]) -> Float[Array, "*batch 1 1"]:
    trace = jnp.trace(matrix, axis1=-2, axis2=-1)[..., None, None]
    return jnp.where(trace > 0, trace, 1)


@leading_eigenvector.defjvp
def _leading_eigenvector_jvp(primals, tangents):
    (matrix,), (change,) = primals, tangents
    vector = leading_eigenvector(matrix)

    def times(m, v):
        return multiply(m, v[..., None])[..., 0]

    value = jnp.sum(vector * times(matrix, vector), axis=-1)
    push = times(change, vector)
    push = push - jnp.sum(push * vector, axis=-1, keepdims=True) * vector
    # Adding lambda_1 w w^T makes lambda_1 - G invertible and changes nothing orthogonal to w.
    least = jnp.finfo(matrix.dtype).eps * stop_gradient(jnp.where(value > 0, value, 1))
    eye = identity(matrix)
    outer = vector[..., :, None] * vector[..., None, :]
    system = (value + least)[..., None, None] * eye - matrix + value[..., None, None] * outer
    # The inverse's norm is 1 / gap. If the gap is 0 to rounding, there is no derivative: the system
    # may be singular, and even unused values must be finite, or their transpose turns zeros into
    # NaN. Solved and not inverted, as the identity of `inv` is not split as the batch may be.
    size = jnp.linalg.norm(jnp.linalg.solve(stop_gradient(system), eye), axis=(-2, -1))
    wide = (size * GAP_TOLERANCE * least < 1)[..., None]
    inverse = jnp.linalg.solve(jnp.where(wide[..., None], system, eye), eye)
    return vector, jnp.where(wide, times(inverse, push), 0)


def _largest_two(
    matrix: Float[Array, "*batch k k"], vector: Float[Array, "*batch k"]
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """The two largest eigenvalues, given the eigenvector of the first."""

    def along(vector: Float[Array, "*batch k"]) -> Float[Array, "*batch"]:
        return multiply(multiply(vector[..., None, :], matrix), vector[..., :, None])[..., 0, 0]

    first = along(vector)
    outer = vector[..., :, None] * vector[..., None, :]
    return first, along(leading_eigenvector(matrix - first[..., None, None] * outer))


@partial(jax.jit, static_argnames="method")
def leading_direction(
    vectors: Float[Array, "*batch k d"],
    present: Bool[Array, "*batch k"] | None = None,
    *,
    method: Literal["eigh", "power"] = "eigh",
) -> Float[Array, "*batch d"]:
    """Leading left singular vector of each tuple, its sign fixed towards the modalities' mean.

    Args:
        vectors: `[..., k, d]`, of lengths 1e-18 to 1e18 in float32: scale a tuple of others.
        present: which vectors are present, `[..., k]`; None: all.
        method: "eigh" solves the whole k x k eigenproblem, "power" iteration finds the leading
            eigenvector alone, cheaper from about 16 modalities on. They agree to rounding.

    Returns:
        Unit vectors `[..., d]`, float32 or wider; 0 for a tuple of zeros.

    Raises:
        ValueError: if the shapes do not fit, the vectors are not floating point, or the method is
            unknown.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> leading_direction(jnp.array([[-0.6, 0.8], [-0.6, -0.8]])).round(3).tolist()
    [0.0, 1.0]
    """
    if method == "eigh":
        return decompose(vectors, present)[1]
    if method != "power":
        raise ValueError(f'method must be "eigh" or "power", got {method!r}')
    rows = take_apart(vectors, present)
    gram = inner_products(rows)
    # The eigenvector does not depend on the scale, but intermediate squares do.
    gram = gram / stop_gradient(_trace_or_one(gram))
    weights = leading_eigenvector(gram)
    two = stop_gradient(_largest_two(gram, weights))
    weights = towards_mean(weights, stop_gradient(gram), *two)
    (direction,) = combine(weights[..., None, :], rows)
    return normalize(direction)
