"""Tuples lifted to the hyperboloid: their volume and span.

    pi(x) = (sqrt(1 + |x|^2), x),   <x, y>_L = -x_0 y_0 + x_1 y_1 + .. + x_d y_d
    V = sqrt(|det G_L|),  G_L: products <., .>_L of the lifted vectors

G_L is indefinite and has no Cholesky factor. But Lorentz boosts leave it unchanged, and the one
that takes b, the first of a tuple, to (1, 0, .., 0) turns the volume into the Euclidean volume of
the boosted others. Being linear, it takes the difference of two lifted vectors to

    boost(x) - boost(y) = d + ((b.d) / (1 + b_0) - d.(x + y) / (x_0 + y_0)) b,   d = x - y,

which keeps all digits for close vectors. As boost(b) = 0, and subtracting an earlier vector from a
later one preserves the volume, each is replaced by its difference from the nearest before it.

Cost: O(k^2 d) per tuple. Singular set: lifted vectors that are linearly dependent (two equal ones;
of unit vectors also four on a circle), where the volume is 0, with derivative 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.basis import orthonormal_basis
from gramalign.geometry.norms import at_least_float32
from gramalign.geometry.tuples import first_kept, nearest_before, take_apart, unstack


class LorentzSpan(NamedTuple):
    """A basis of lifted vectors: pi(base), and vectors orthonormal to it and to each other.

    Attributes:
        base: the first present vector, `[..., d]`.
        times: time coordinates of the others' basis, k - 1 times `[...]`, zero for an absent one.
        spaces: its space coordinates, k - 1 times `[..., d]`.
        volume: the tuple's volume, `[...]`; 1 for one vector or none.
    """

    base: Float[Array, "*batch d"]
    times: tuple[Float[Array, "*batch"], ...]
    spaces: tuple[Float[Array, "*batch d"], ...]
    volume: Float[Array, "*batch"]


def time(x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """The coordinate that lifts a vector: sqrt(1 + |x|^2), in at least float32.

    >>> import jax.numpy as jnp
    >>> print(time(jnp.array([2.0, 2.0])))
    3.0
    """
    x = at_least_float32(x)
    return jnp.sqrt(1 + jnp.sum(x * x, axis=-1))


@jax.jit
def lorentz_span(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"]
) -> LorentzSpan:
    """The span of the present ones of k vectors, lifted.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> there = jnp.ones(2, bool)
    >>> print(lorentz_span(jnp.array([[1.0, 0.0], [-1.0, 0.0]]), there).volume.round(4))
    2.8284
    """
    rows = take_apart(vectors, present)
    base, is_base = first_kept(rows, present)

    def boosted(x: Float[Array, "*batch d"], y: Float[Array, "*batch d"]) -> Array:
        apart = x - y
        later = jnp.sum(apart * (x + y), axis=-1) / (time(x) + time(y))
        along = jnp.sum(apart * base, axis=-1) / (1 + time(base))
        return apart + (along - later)[..., None] * base

    others = [boosted(x, y) for x, y in zip(rows, nearest_before(rows, present), strict=True)]
    span = orthonormal_basis(jnp.stack(others, axis=-2), present & ~is_base)
    # The first place in the basis is empty: that vector is the base, or absent.
    units = unstack(span.vectors, -2)[1:]
    times = tuple(jnp.sum(base * unit, axis=-1) for unit in units)
    # Boosted back.
    share = base / (1 + time(base))[..., None]
    spaces = tuple(unit + t[..., None] * share for unit, t in zip(units, times, strict=True))
    return LorentzSpan(base, times, spaces, span.volume)
