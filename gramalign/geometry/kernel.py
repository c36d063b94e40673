"""Tuples in the feature space of a Gaussian kernel: their volume, and how to orthonormalise them.

    K(x, y) = <phi(x), phi(y)> = exp(-rate |x - y|^2)

Features have unit length and no coordinates: only their inner products are known. The Gram matrix
of close features has lost what tells them apart. So from each feature the nearest one before it is
subtracted, if it is close: the determinant stays the same, and the inner products of differences
follow from those of the vectors' own, a = x - p and b = y - q, to full relative precision:

    <phi(x) - phi(p), phi(y) - phi(q)> = K(p, q) s t - K(x, y) expm1(-2 rate <a, b>)
    s = K(x, q) / K(p, q) - 1 = expm1(-rate (2 <p - q, a> + |a|^2)),   t likewise, with b

Cost: O(k^2 d) per tuple. Singular set: two equal vectors, or features whose height above those
before them is lost in rounding (some 1e-3 of their distance in float32): the volume is 0, with
derivative 0.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import argmin, broadcasted_iota, stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry.cholesky import eliminate
from gramalign.geometry.gram import identity_where_absent
from gramalign.geometry.norms import sqrt
from gramalign.geometry.tuples import (
    Rows,
    first_kept,
    identity,
    inner_products,
    multiply,
    squared_distances,
    take_apart,
)

# Squared heights below this many machine epsilons of the squared length are rounding noise.
RANK_TOLERANCE = 16
# Features are close if their squared distance, with the rate, is less: the kernel is above 0.6.
CLOSE = 0.5
# A larger exponent belongs to vectors whose kernel is 0, and would be infinite times 0.
_LARGEST = 40


class Features(NamedTuple):
    """Orthonormal combinations of a tuple's features, and their volume.

    Attributes:
        weights: W, lower triangular `[..., k, k]`, with W K W^T = 1 for the kernel matrix K; zero
            rows and columns where a modality is absent or adds nothing to the span.
        volume: sqrt(det K) of the present vectors, `[...]`, in [0, 1]; 1 if there are none.
    """

    weights: Float[Array, "*batch k k"]
    volume: Float[Array, "*batch"]


@partial(jax.jit, static_argnames="rate")
def orthonormal_features(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"], rate: float
) -> Features:
    """Orthonormal combinations of a tuple's features, and the volume of the features.

    Args:
        vectors: tuples of k vectors, `[..., k, d]`; bfloat16 is computed in float32.
        present: which vectors are present, `[..., k]`. Absent rows may hold anything.
        rate: of the kernel, exp(-rate |x - y|^2).

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> apart = jnp.array([[0.0], [1.0]])
    >>> there = jnp.ones(2, bool)
    >>> print(orthonormal_features(apart, there, rate=0.5).volume.round(4))
    0.7951
    """
    rows = take_apart(vectors, present)
    apart = rate * squared_distances(rows)
    near = _close_before(stop_gradient(apart), present)
    sheared = jnp.any(near, axis=-1, keepdims=True)
    bases = _chosen(near, rows)
    steps = [row - base for row, base in zip(rows, bases, strict=True)]

    # A feature that stays as it is has a step of 0, and itself for a base, of which it has all.
    inner = rate * inner_products(steps)
    square = jnp.diagonal(inner, axis1=-2, axis2=-1)[..., :, None]
    # <p - q, a> around one of the vectors: it does not matter how far they are from the origin.
    first, _ = first_kept(rows, present)
    bases = [base - stop_gradient(first) for base in bases]
    along = rate * inner_products(steps, bases)
    along = jnp.diagonal(along, axis1=-2, axis2=-1)[..., :, None] - along
    exponent = -2 * along - square
    share = jnp.where(sheared, jnp.expm1(jnp.minimum(exponent, _LARGEST)), 1)
    kernel = jnp.exp(-apart)
    near = near.astype(apart.dtype)
    chosen = jnp.where(sheared, near, identity(near))
    of_bases = multiply(multiply(chosen, kernel), jnp.swapaxes(chosen, -1, -2))
    gram = of_bases * share * jnp.swapaxes(share, -1, -2) - kernel * jnp.expm1(-2 * inner)
    gram = identity_where_absent(gram, present)
    # As scales of a determinant's rows, lengths are constants to the derivative.
    lengths = stop_gradient(sqrt(jnp.diagonal(gram, axis1=-2, axis2=-1)))
    inverse = 1 / jnp.where(lengths > 0, lengths, 1)
    gram = gram * inverse[..., :, None] * inverse[..., None, :]
    least = (RANK_TOLERANCE * float(jnp.finfo(gram.dtype).eps)) ** 0.5
    heights, weights = eliminate(gram, jnp.full_like(lengths, least), drop=True)

    # From weights of the scaled differences to those of features.
    weights = jnp.where(present[..., None], weights * inverse[..., None, :], 0)
    return Features(weights - multiply(weights, near), jnp.prod(heights * lengths, axis=-1))


def _chosen(near: Bool[Array, "*batch k k"], rows: Rows) -> list[Float[Array, "*batch d"]]:
    """The vector that is near each, or itself if none is."""
    chosen = []
    for n, row in enumerate(rows):
        for m, other in enumerate(rows[:n]):
            row = jnp.where(near[..., n, m, None], other, row)
        chosen.append(row)
    return chosen


def _close_before(
    apart: Float[Array, "*batch k k"], present: Bool[Array, "*batch k"]
) -> Bool[Array, "*batch k k"]:
    """The nearest vector before each, in its row, if one is close."""
    rows, cols = (broadcasted_iota(jnp.int32, apart.shape, apart.ndim + axis) for axis in (-2, -1))
    close = (apart < CLOSE) & (cols < rows) & present[..., None, :] & present[..., :, None]
    apart = jnp.where(close, apart, jnp.inf)
    return close & (cols == argmin(apart, apart.ndim - 1, jnp.int32)[..., None])
