"""Singular values and leading direction of tuples, with derivatives that stay finite.

    Z = [z_1 .. z_k] = U S W^T,  G = Z^T Z = W S^2 W^T       (PMRL, arXiv 2507.17343)

`jnp.linalg.svd` of the d x k matrix works on d-dimensional factors (the published code forms U as d
x d), has no derivative for the full form, and NaN derivatives where singular values coincide. Here
W comes from the k x k eigenproblem of G, solved twice: the squares in G have lost singular values
below the root of the rounding error (3e-4 sigma_1 in float32), but the vectors rotated by W have
not, and the Gram matrix of all but the first holds the small squares alone. So every singular value
has an error at the rounding level of the largest. Lengths must be within 1e-18 to 1e18 in float32,
or their squares are out of range.

An eigenvector's sign is arbitrary; the published code leaves it so (its u_1 points along the
modalities' mean in half of the samples), so that cosines between the u_1 of two samples have random
signs. Here u_1 has a positive inner product with the modalities' mean or, where that is 0 (always
so for two unit vectors at an obtuse angle, whose u_1 is along their difference), with the first
modality that is not orthogonal to it.

First derivatives d sigma_j = u_j^T dZ w_j need no gap between singular values; that of u_1 has size
1 / (sigma_1 - sigma_2). Singular set: sigma_j = 0 (a kink; derivative 0 here); repeated values,
which are not differentiable one by one, though symmetric functions of them are, with correct first
derivatives (second ones miss the rotation of the repeated ones into each other); sigma_1 = sigma_2,
where u_1 is not unique (some unit vector of the leading subspace) and its derivative leaves out the
rotation within that subspace; tuples whose mean is orthogonal to u_1, across which its sign flips.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.jacobi import eigh
from gramalign.geometry.norms import sqrt
from gramalign.geometry.saved import saved
from gramalign.geometry.tuples import Rows, combine, inner_products, multiply, take_apart

# Eigenvalues closer than this many machine epsilons of the largest count as equal: the rotation
# between their eigenvectors is then arbitrary, and its derivative is taken as zero.
GAP_TOLERANCE = 32

_ALIKE = 1e-2  # lengths this close are of unit vectors that were rounded


def _noise_of(gram: Float[Array, "*batch k k"]) -> Float[Array, "*batch"]:
    """A sum of an eigenvector's entries below this, relative to their sizes, counts as 0.

    Vectors of unit length in half precision, or from there, have it only to their rounding, which
    would decide on which side of two at an obtuse angle their mean is.
    """
    lengths = sqrt(jnp.diagonal(gram, axis1=-2, axis2=-1))
    longest = jnp.max(lengths, axis=-1)
    shortest = jnp.min(jnp.where(lengths > 0, lengths, longest[..., None]), axis=-1)
    apart = 1 - shortest / jnp.where(longest > 0, longest, 1)
    rounded = jnp.where((longest > 0) & (apart < _ALIKE), apart, 0)
    return rounded + GAP_TOLERANCE * jnp.finfo(gram.dtype).eps


def towards_mean(
    weights: Float[Array, "*batch k"],
    gram: Float[Array, "*batch k k"],
    first: Float[Array, "*batch"],
    second: Float[Array, "*batch"],
) -> Float[Array, "*batch k"]:
    """A leading eigenvector of G, signed so that Z w points to the side of the modalities' mean.

    As Z^T u_1 = sigma_1 w_1, its entries are proportional to the modalities' inner products with
    u_1. Those below the noise, relative to the sum of all sizes, count as 0: rounding in G rotates
    w_1 by its ratio to the gap between the two largest eigenvalues.
    """
    noise = _noise_of(gram)[..., None]
    total = jnp.sum(weights, axis=-1, keepdims=True)
    size = jnp.abs(weights)
    gap = ((first - second) / jnp.where(first > 0, first, 1))[..., None]
    least = noise / jnp.maximum(gap, noise) * jnp.sum(size, axis=-1, keepdims=True)
    known = size > least
    entry = jnp.take_along_axis(weights, jnp.argmax(known, axis=-1, keepdims=True), axis=-1)
    # If no entry stands out, the mean decides, so that the order of the modalities does not.
    by_mean = (jnp.abs(total) > least) | ~jnp.any(known, axis=-1, keepdims=True)
    return jnp.where(jnp.where(by_mean, total, entry) < 0, -weights, weights)


@jax.custom_jvp
def _decompose(rows: Rows) -> tuple[Array, Array, Array]:
    """Singular values `[..., k]`, W^T `[..., k, k]` and u_1 `[..., d]`."""
    gram = inner_products(rows)
    squares, rotation = eigh(gram)
    second = squares[..., 1] if len(rows) > 1 else jnp.zeros_like(squares[..., 0])
    leading = towards_mean(rotation[..., 0, :], gram, squares[..., 0], second)[..., None, :]
    others = rotation[..., 1:, :]
    # A Rayleigh quotient, free of the rounding that many rotations add to the eigenvalue.
    largest = sqrt(multiply(multiply(leading, gram), leading.mT)[..., 0])
    values = largest
    if len(rows) > 1:
        squares, turn = eigh(inner_products(combine(others, rows)))
        others, small = multiply(turn, others), sqrt(squares)
        values = jnp.concatenate([jnp.maximum(largest, small[..., :1]), small], axis=-1)
    (direction,) = combine(leading / jnp.where(largest > 0, largest, 1)[..., None], rows)
    return values, jnp.concatenate([leading, others], axis=-2), direction


@_decompose.defjvp
def _decompose_jvp(primals, tangents):
    (rows,), (changes,) = primals, tangents
    values, rotation, direction = _decompose(rows)
    values, rotation = saved(values), saved(rotation)
    turned = multiply(rotation, multiply(inner_products(changes, rows), rotation.mT))

    # d sigma_j = u_j^T dZ w_j. Written without d w_j, whose 1 / gap would cancel only in exact
    # arithmetic. A value at rounding level counts as zero: its direction is noise.
    zero = values <= GAP_TOLERANCE * jnp.finfo(values.dtype).eps * values[..., :1]
    nonzero = jnp.where(zero, 1, values)
    d_values = jnp.where(zero, 0, jnp.diagonal(turned, axis1=-2, axis2=-1) / nonzero)

    d_rotation = multiply(_inverse_gaps(values * values) * (turned + turned.mT), rotation)

    (push,) = combine(rotation[..., :1, :], changes)
    (turn,) = combine(d_rotation[..., :1, :], rows)
    push += turn
    push -= jnp.sum(push * direction, axis=-1, keepdims=True) * direction
    d_direction = jnp.where(zero[..., :1], 0, push / nonzero[..., :1])
    return (values, rotation, direction), (d_values, d_rotation, d_direction)


def _inverse_gaps(values: Float[Array, "*batch k"]) -> Float[Array, "*batch k k"]:
    """1 / (values_i - values_j) at [i, j], and 0 where the two are equal to rounding."""
    gaps = values[..., :, None] - values[..., None, :]
    largest = jnp.max(jnp.abs(values), axis=-1)[..., None, None]
    apart = jnp.abs(gaps) > GAP_TOLERANCE * jnp.finfo(values.dtype).eps * largest
    return jnp.where(apart, 1 / jnp.where(apart, gaps, 1), 0)


@jax.jit
def decompose(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch d"]]:
    """Singular values and leading direction of each tuple, from one decomposition.

    Args:
        vectors: `[..., k, d]`, of lengths 1e-18 to 1e18 in float32.
        present: which vectors are present, `[..., k]`; None: all.

    Returns:
        What `singular_values` and `leading_direction` return, as a pair.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.
    """
    values, _, direction = _decompose(take_apart(vectors, present))
    return values, direction


@jax.jit
def singular_values(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch k"]:
    """Singular values of each tuple, largest first.

    Args:
        vectors: `[..., k, d]`, of lengths 1e-18 to 1e18 in float32; for unit vectors
            the squares sum to k.
        present: which vectors are present, `[..., k]`; None: all.

    Returns:
        `[..., k]`, float32 or wider; every absent modality adds a zero at the end. One value,
        sqrt(k), and zeros mean perfect alignment up to sign; k ones mean orthogonality.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> print(singular_values(jnp.array([[1.0, 0.0], [1.0, 0.0]])).round(4))
    [1.4142 0.    ]
    """
    return decompose(vectors, present)[0]
