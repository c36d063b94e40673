"""The simplex whose corners are a tuple's vectors: its volume, and its affine hull.

    V(x_1..x_k) = sqrt(det D D^T) / (k - 1)!,   D = (x_2 - x_1, .., x_k - x_1)
    V <= sqrt(k^k / (k - 1)^(k - 1)) / (k - 1)!  for unit vectors, that of the regular simplex

Computed from each corner's difference to the nearest before it, which leaves det D D^T unchanged
and is accurate however close the corners are. Cost: O(k^2 d) per tuple.
Singular set: affinely dependent corners, where the volume is 0, with derivative 0.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from gramalign.geometry.basis import orthonormal_basis
from gramalign.geometry.tuples import first_kept, nearest_before, take_apart, unstack


class Hull(NamedTuple):
    """The affine hull of a tuple's vectors, and the volume that their differences span.

    Attributes:
        foot: the hull's point nearest to the origin, `[..., d]`.
        directions: an orthonormal basis of its directions, k - 1 times `[..., d]`; zeros where it
            has fewer.
        volume: of the parallelotope of their differences, `[...]`; 1 for a point.
    """

    foot: Float[Array, "*batch d"]
    directions: tuple[Float[Array, "*batch d"], ...]
    volume: Float[Array, "*batch"]


@jax.jit
def affine_hull(vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"]) -> Hull:
    """The affine hull of the present ones of k vectors.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

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
    return Hull(foot, directions, span.volume)


def regular_volume(corners: int) -> float:
    """Volume of the regular simplex of so many unit vectors, the largest there is.

    >>> [round(regular_volume(k), 3) for k in (2, 3, 4, 8)]
    [2.0, 1.299, 0.513, 0.001]
    """
    edges = corners - 1
    return math.sqrt(corners**corners / edges**edges) / math.factorial(edges)


def of_simplices(
    volume: Float[Array, "*batch"],
    corners: Integer[Array, "*batch"],
    *,
    most: int,
    scaled: bool = False,
) -> Float[Array, "*batch"]:
    """Volumes of simplices, from those of the parallelotopes of the same edges.

    Args:
        volume: of the parallelotopes.
        corners: of each simplex; 0 is taken for 1.
        most: the most corners there may be.
        scaled: as a share of `regular_volume`, which falls with the factorial of the corners.
    """
    units = [math.factorial(n) * (regular_volume(n + 1) if scaled else 1) for n in range(most)]
    units = np.minimum(units, float(jnp.finfo(volume.dtype).max))
    return volume / jnp.asarray(units, volume.dtype)[jnp.maximum(corners, 1) - 1]


@partial(jax.jit, static_argnames="scaled")
def simplex_volume(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"], *, scaled: bool = False
) -> Float[Array, "*batch"]:
    """Volume of the simplex whose corners are the present ones of k vectors; 1 for a point.

    Args:
        vectors: the corners.
        present: which there are.
        scaled: as a share of `regular_volume`.

    Raises:
        ValueError, TypeError: as `affine_hull`.

    >>> import jax.numpy as jnp
    >>> there = jnp.ones(3, bool)
    >>> print(simplex_volume(jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), there))
    0.5
    """
    corners = jnp.sum(present, axis=-1, dtype=jnp.int32)
    volume = affine_hull(vectors, present).volume
    return of_simplices(volume, corners, most=present.shape[-1], scaled=scaled)
