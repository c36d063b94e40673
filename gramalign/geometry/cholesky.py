"""Cholesky factors of small matrices, with their inverses: one column at a time, over the batch.

They control what happens to a pivot that is lost in rounding, where `jnp.linalg.cholesky` returns
NaN for the whole matrix.
"""

import jax
import jax.numpy as jnp
from jax.lax import broadcasted_iota
from jaxtyping import Array, Float

from gramalign.geometry.tuples import identity
from gramalign.mesh import varying_as


def eliminate(
    gram: Float[Array, "*batch k k"], least: Float[Array, "*batch k"], *, drop: bool
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch k k"]]:
    """Cholesky: the diagonal of L and the inverse of L, column by column over the whole batch.

    Diagonal entries below `least` are raised to it, and what is beside them, noise as well, is left
    there: divided by so little it would grow from row to row. With `drop`, they become 0 together
    with their row of the inverse, as if those rows were not there.
    """
    number = broadcasted_iota(jnp.int32, least.shape, least.ndim - 1)

    def column(j: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        gram, inverse, diagonal = state

        def pick(x: Array, axis: int) -> Array:
            return jax.lax.dynamic_index_in_dim(
                x, j, axis, keepdims=False, allow_negative_indices=False
            )

        below = pick(gram, -1)
        square, floor = pick(below, -1), pick(least, -1) ** 2
        enough = square > floor
        pivot = jnp.sqrt(jnp.where(enough, square, 1 if drop else floor))
        keep = (enough if drop else jnp.ones_like(enough))[..., None]
        below = jnp.where((number > j) & enough[..., None], below, 0) / pivot[..., None]
        row = jnp.where(keep, pick(inverse, -2), 0) / pivot[..., None]
        gram = gram - below[..., :, None] * below[..., None, :]
        inverse = jnp.where(
            (number == j)[..., None],
            row[..., None, :],
            inverse - below[..., :, None] * row[..., None, :],
        )
        diagonal = jnp.where(number == j, jnp.where(keep, pivot[..., None], 0), diagonal)
        return gram, inverse, diagonal

    start = gram, varying_as(identity(gram), gram), varying_as(jnp.zeros_like(least), gram)
    _, inverse, diagonal = jax.lax.fori_loop(0, gram.shape[-1], column, start)
    return diagonal, inverse
