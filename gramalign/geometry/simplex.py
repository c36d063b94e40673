"""The simplex whose corners are a tuple's vectors: its volume, and the flat in which it lies.

    V(x_1..x_k) = sqrt(det D D^T) / (k - 1)!,   D = (x_2 - x_1, .., x_k - x_1)

Computed from the differences, of each corner to the nearest before it, which leaves det D D^T as it
is and is exact however close any of them are. Cost: O(k^2 d) per tuple.
Singular set: corners that lie in a flat of fewer dimensions, where the volume is 0, with
derivative 0.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.basis import orthonormal_basis
from gramalign.geometry.tuples import first_kept, nearest_before, take_apart, unstack


class Hull(NamedTuple):
    """The flat through a tuple's vectors, and the simplex in it.

    Attributes:
        foot: the flat's point nearest to the origin, `[..., d]`.
        directions: orthonormal ones along the flat, k - 1 times `[..., d]`; zeros for those that it
            lacks.
        volume: of the simplex, `[...]`; 1 for a point.
    """

    foot: Float[Array, "*batch d"]
    directions: tuple[Float[Array, "*batch d"], ...]
    volume: Float[Array, "*batch"]


@jax.jit
def affine_hull(vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"]) -> Hull:
    """The flat through the present ones of k vectors.

    Raises:
        ValueError: if the shapes do not fit or the vectors are not floating point.

    >>> import jax.numpy as jnp
    >>> there = jnp.ones(2, bool)
    >>> print(affine_hull(jnp.eye(2), there).foot.round(4))
    [0.5 0.5]
    """
    rows = take_apart(vectors, present)
    base, is_base = first_kept(rows, present)
    others = present & ~is_base
    sides = [x - y for x, y in zip(rows, nearest_before(rows, present), strict=True)]
    span = orthonormal_basis(jnp.stack(sides, axis=-2), others)
    # The first of them is the base, or absent: the hull of n points has n - 1 directions.
    directions = tuple(unstack(span.vectors, -2)[1:])
    foot = base - sum(jnp.sum(base * q, axis=-1, keepdims=True) * q for q in directions)
    factorials = jnp.asarray([math.factorial(n) for n in range(len(rows))], foot.dtype)
    return Hull(foot, directions, span.volume / factorials[jnp.sum(others, -1, dtype=jnp.int32)])


@jax.jit
def simplex_volume(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"]
) -> Float[Array, "*batch"]:
    """Volume of the simplex with the present ones of k vectors for corners: 1 for a point.

    Raises:
        ValueError: as `affine_hull`.

    >>> import jax.numpy as jnp
    >>> there = jnp.ones(3, bool)
    >>> print(simplex_volume(jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), there))
    0.5
    """
    return affine_hull(vectors, present).volume
