"""The symmetric eigenproblem for many small matrices at once: Jacobi's method, across the batch.

LAPACK solves the matrices of a batch one after the other, and accelerators have no solver for a
million of size 4 x 4. Here every operation is elementwise over the whole batch: a rotation makes an
off-diagonal pair zero, and in k - 1 steps of k / 2 disjoint rotations each (a round-robin
tournament; Brent and Luk, 1985, doi 10.1137/0906007) each pair is met once. Such sweeps converge
quadratically. Their number is fixed, so that no matrix's result depends on the others in the batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramalign.geometry.norms import normalize
from gramalign.mesh import split_as, varying_as

# An entry of a Gram matrix smaller than this many machine epsilons of its two vectors' lengths is
# rounding. Rotating by it, in the plane of a repeated eigenvalue, would undo what is done.
ROUNDING = 4


def eigh(
    matrix: Float[Array, "*batch k k"],
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch k k"]]:
    """Eigenvalues, largest first, and eigenvectors (rows) of Gram matrices.

    An eigenvalue's error is at the rounding level of the largest vector that contributes to it, so
    nearly orthogonal vectors keep the digits of the short ones among them.
    """
    k = matrix.shape[-1]
    largest = jnp.max(jnp.abs(matrix), axis=(-2, -1))
    largest = jnp.where(largest > 0, largest, 1)
    # The batch axis last, so that every operation runs along it.
    matrix = jnp.moveaxis(matrix / largest[..., None, None], (-2, -1), (0, 1))
    batch = matrix.shape[2:]
    # A row of zeros makes an odd number even: no rotation changes it.
    size = k + k % 2
    matrix = jnp.pad(matrix, [(0, size - k)] * 2 + [(0, 0)] * len(batch))
    identity = jnp.eye(size, k, dtype=matrix.dtype).reshape(size, k, *[1] * len(batch))
    rotation = split_as(jnp.broadcast_to(identity, (size, k, *batch)), matrix)
    rotation = varying_as(rotation, matrix)

    # Enough for the hardest matrices tried: repeated eigenvalues, low rank, every entry the same,
    # and those that an evolutionary search for slow ones found (most need half of it).
    sweeps = 4 + (k + 1) // 2 + (2 if matrix.dtype == jnp.float64 else 0)
    turns = sweeps * (size - 1)  # then all are back in their places, the row of zeros last
    start = matrix, _diagonal(matrix), rotation
    matrix, _, rotation = jax.lax.fori_loop(0, turns, lambda _, state: _turn_pairs(*state), start)
    values = jnp.moveaxis(_diagonal(matrix)[:k], 0, -1) * largest[..., None]
    rotation = normalize(jnp.moveaxis(rotation[:k], (0, 1), (-2, -1)))
    order = jnp.argsort(-values, axis=-1)
    rotation = jnp.take_along_axis(rotation, order[..., :, None], axis=-2)
    return jnp.take_along_axis(values, order, axis=-1), rotation


def _diagonal(matrix: Float[Array, "k k ..."]) -> Float[Array, "k ..."]:
    return jnp.stack([matrix[i, i] for i in range(matrix.shape[0])])


def _turn_pairs(
    matrix: Float[Array, "k k ..."],
    squares: Float[Array, "k ..."],
    rotation: Float[Array, "k n ..."],
) -> tuple[Array, Array, Array]:
    """Make the entries between places i and i + k / 2 zero, then seat new pairs there.

    Args:
        matrix: as rotated so far by `rotation`.
        squares: of the lengths that each place's vector is made of.
        rotation: so far.
    """
    half = matrix.shape[0] // 2
    diagonal = _diagonal(matrix)
    gap = diagonal[half:] - diagonal[:half]
    lengths = jnp.sqrt(squares)
    link = jnp.stack([matrix[i, i + half] for i in range(half)])
    noise = ROUNDING * jnp.finfo(matrix.dtype).eps * lengths[:half] * lengths[half:]
    twice = jnp.where(jnp.abs(link) <= noise, 0, 2 * link)
    # The tangent of the smaller of the two angles, at most 1: else sweeps need not converge.
    below = jnp.abs(gap) + jnp.hypot(gap, twice)  # whose squares may be out of range
    tangent = jnp.where(gap < 0, -twice, twice) / jnp.where(below == 0, 1, below)
    cosine = jax.lax.rsqrt(1 + tangent * tangent)
    sine = tangent * cosine

    def turn(x: Array, c: Array, s: Array, sign: int = -1) -> Array:
        one, other = x[:half], x[half:]
        one, other = c * one + sign * s * other, s * one + c * other
        # Around the table of the tournament: the first keeps its seat, all others move by one.
        seats = [one[:1], other[:1], one[1:-1], other[1:], one[-1:]] if half > 1 else [one, other]
        return jnp.concatenate(seats)

    c, s = cosine[:, None], sine[:, None]
    matrix = jnp.swapaxes(turn(jnp.swapaxes(turn(matrix, c, s), 0, 1), c, s), 0, 1)
    squares = turn(squares, cosine * cosine, sine * sine, sign=1)
    return matrix, squares, turn(rotation, c, s)
