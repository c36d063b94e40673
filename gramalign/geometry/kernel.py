"""Tuples in the feature space of a Gaussian kernel: their volume, and how to orthonormalise them.

    <phi(x), phi(y)> = exp(-rate |x - y|^2),   |phi(x) - phi(y)|^2 = -2 expm1(-rate |x - y|^2)

Features have unit length and no coordinates: only their inner products are known. The Gram matrix
of close features has lost what tells them apart. That of the first one, phi_0, and of (phi_l -
phi_0) / length has not, and its determinant times the squared lengths is the same: its entries are
sums of squared distances, which `expm1` of squared differences gives to full relative precision.

Cost: O(k^2 d) per tuple. Singular set: two equal vectors, or features whose height above those
before them is lost in rounding (some 1e-3 of their distance in float32): the volume is 0, with
derivative 0.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry.cholesky import eliminate
from gramalign.geometry.gram import identity_where_absent
from gramalign.geometry.norms import sqrt
from gramalign.geometry.tuples import first_kept, squared_distances, take_apart

# Squared heights below this many machine epsilons of the squared length are rounding noise.
RANK_TOLERANCE = 16


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
    _, first = first_kept(rows, present)
    apart = -2 * jnp.expm1(-rate * squared_distances(rows))
    from_first = jnp.sum(jnp.where(first[..., None, :], apart, 0), axis=-1)
    # As scales of a determinant's rows, lengths are constants to the derivative.
    lengths = stop_gradient(sqrt(jnp.where(present & ~first, from_first, 1)))
    inverse = 1 / jnp.where(lengths > 0, lengths, 1)

    # With u_l = phi_l - phi_0: <u_l, u_n> = (|u_l|^2 + |u_n|^2 - |phi_l - phi_n|^2) / 2, and
    # <phi_0, u_n> = -|u_n|^2 / 2.
    left, right = from_first[..., :, None], from_first[..., None, :]
    gram = jnp.where(first[..., :, None], -right, left + right - apart) / 2
    gram = jnp.where(first[..., None, :], jnp.where(first[..., :, None], 1, -left / 2), gram)
    gram = identity_where_absent(gram * inverse[..., :, None] * inverse[..., None, :], present)
    least = (RANK_TOLERANCE * float(jnp.finfo(gram.dtype).eps)) ** 0.5
    heights, weights = eliminate(gram, jnp.full_like(lengths, least), drop=True)

    # From weights of (phi_l - phi_0) / length to those of phi_l.
    weights = jnp.where(present[..., None], weights * inverse[..., None, :], 0)
    taken = jnp.sum(jnp.where(first[..., None, :], 0, weights), axis=-1, keepdims=True)
    weights = jnp.where(first[..., None, :], weights - taken, weights)
    return Features(weights, jnp.prod(heights * lengths, axis=-1))
