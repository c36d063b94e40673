"""An orthonormal basis of each tuple's span, with the volume: sheared, preconditioned Cholesky.

The determinant of the k x k Gram matrix loses every float32 digit once the modalities are 1e-4
apart, which is where training leads. Two exact identities avoid this:

* shear: subtracting an earlier vector from a later one preserves the volume, and the difference of
  two close floats is exact, so later steps have differences to full relative precision, whichever
  vectors are close;
* precondition: vol(P S) = |det P| vol(S) for any constant P, and S and P S span the same space.
  P is the inverse Cholesky factor of S, found in two passes, the second on the vectors that
  the first made nearly orthonormal (CholeskyQR2; Yamamoto et al., 2015, ETNA 44, p. 306). This
  covers tuples that are coplanar without being close.

As the identities hold for every constant, the derivative treats shear, scales and P as constants.
What is left to differentiate is a tuple whose Gram matrix is I + E with E at rounding level. Of it
log-volume and an orthonormal basis are short polynomials in E, whose derivative is that of the
Cholesky factor: a few matrix products, well conditioned wherever the volume is not 0, and exact in
derivatives of every order.

Cost: O(k^2 d) per tuple. Singular set: tuples whose rank is below their number of vectors, where
the volume is 0 (to rounding: a vector within 16 machine epsilons of the span of those before it,
or of which two passes leave noise).
The volume has a kink there, or a flat spot if the rank is lower by 2 or more; derivatives are 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry.cholesky import eliminate
from gramalign.geometry.gram import identity_where_absent
from gramalign.geometry.norms import norm
from gramalign.geometry.saved import saved
from gramalign.geometry.tuples import (
    Rows,
    combine,
    identity,
    inner_products,
    multiply,
    take_apart,
)
from gramalign.mesh import split_as

# A row nearer than this many machine epsilons to the span of its predecessors is in that span.
RANK_TOLERANCE = 16

# Inner products of rows that should be orthonormal are off by less, or the later row is noise.
LARGEST_ERROR = 0.1


class Basis(NamedTuple):
    """A basis of a tuple's span, and its volume.

    Attributes:
        vectors: orthonormal rows `[..., k, d]`; zero rows where a modality is absent or adds
            nothing to the span.
        volume: of the present vectors, `[...]`; 0 where they are linearly dependent, 1 if none.
        log_volume: its logarithm, `[...]`, which does not underflow; -inf where the volume is 0.
    """

    vectors: Float[Array, "*batch k d"]
    volume: Float[Array, "*batch"]
    log_volume: Float[Array, "*batch"]


@jax.jit
def orthonormal_basis(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Basis:
    """Orthonormal basis of each tuple's span, and the volume that the tuple spans.

    Args:
        vectors: tuples of k vectors, `[..., k, d]`, with lengths whose squares are in range (1e-18
            to 1e18 in float32); bfloat16 is computed in float32.
        present: which vectors are present, `[..., k]`; None: all. Absent rows may hold anything.

    Returns:
        A `Basis`, in float32 or wider.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> basis = orthonormal_basis(jnp.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]]))
    >>> basis.vectors.round(3).tolist(), round(float(basis.volume), 6)
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 0.8)
    """
    rows = take_apart(vectors, present)
    kept = jnp.ones(vectors.shape[:-1], bool) if present is None else present
    kept = split_as(kept, vectors)
    rows, lengths = _shear(rows)
    heights, precondition = map(saved, _triangular(stop_gradient(rows), lengths > 0))
    independent = heights > 0
    rows = combine(precondition, rows)

    error = inner_products(rows) - identity(precondition)
    # What is left of several dependent rows may be noise that two passes do not orthogonalise.
    independent &= jnp.all(jnp.abs(jnp.tril(stop_gradient(error))) < LARGEST_ERROR, axis=-1)
    error = jnp.where(independent[..., :, None] & independent[..., None, :], error, 0)
    whitening, remaining = _whitening(error)
    basis = combine(jnp.where(independent[..., None], whitening, 0), rows)

    degenerate = jnp.any(kept & ~independent, axis=-1)
    # A comparison with NaN is False, so a tuple with a NaN looks degenerate; its volume is NaN, not
    # 0.
    zero = 0 * jnp.sum(lengths, axis=-1)
    heights = jnp.where(independent, heights * lengths, 1)
    log_volume = remaining + jnp.sum(jnp.log(heights), axis=-1)
    return Basis(
        vectors=jnp.stack(basis, axis=-2),
        volume=jnp.where(degenerate, zero, jnp.exp(remaining) * jnp.prod(heights, axis=-1)),
        log_volume=jnp.where(degenerate, zero - jnp.inf, log_volume),
    )


@jax.custom_jvp
def _whitening(
    error: Float[Array, "*batch k k"],
) -> tuple[Float[Array, "*batch k k"], Float[Array, "*batch"]]:
    """The inverse Cholesky factor M of I + E, for E at rounding level, and log det (I + E) / 2."""
    half = _half(error)
    # L = I + H - half(H H^T) + ..., and its inverse likewise.
    whitening = identity(error) - half + multiply(half, half) + _half(multiply(half, half.mT))
    return whitening, _trace(error / 2 - multiply(error, error) / 4)


@_whitening.defjvp
def _whitening_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple:
    """Of d(M (I + E) M^T) = 0, through M, and so right in every order where polynomials are not."""
    made = _whitening(*primals)
    change = multiply(multiply(made[0], tangents[0]), made[0].mT)
    return made, (-multiply(_half(change), made[0]), _trace(change) / 2)


def _half(x: Float[Array, "*batch k k"]) -> Float[Array, "*batch k k"]:
    """The lower triangle, with half the diagonal: H for which H + H^T is a symmetric matrix x."""
    return jnp.tril(x) - identity(x) * x / 2


def _trace(x: Float[Array, "*batch k k"]) -> Float[Array, "*batch"]:
    return jnp.trace(x, axis1=-2, axis2=-1)


def _shear(vectors: Rows) -> tuple[list[Float[Array, "*batch d"]], Float[Array, "*batch k"]]:
    """Unit rows of the same span, and their former lengths: volume = prod(lengths) * theirs."""
    inner = stop_gradient(inner_products(vectors))
    # Entry by entry: XLA would store the results of arithmetic on k x k matrices in a TPU's memory.
    squares = [inner[..., n, n] for n in range(len(vectors) - 1)]
    rows = [
        sheared(vector, vectors[:m], [inner[..., m, n] for n in range(m)], squares[:m])
        for m, vector in enumerate(vectors)
    ]
    lengths = [saved(stop_gradient(norm(row))) for row in rows]
    inverses = [1 / jnp.where(length > 0, length, 1) for length in lengths]
    rows = [inverse[..., None] * row for inverse, row in zip(inverses, rows, strict=True)]
    return rows, jnp.stack(lengths, axis=-1)


def sheared(
    vector: Float[Array, "*batch d"],
    others: Rows,
    products: Sequence[Float[Array, "*batch"]],
    squares: Sequence[Float[Array, "*batch"]],
) -> Float[Array, "*batch d"]:
    """A vector less its projection on the one of the others that explains most of it.

    If the coefficient is near 1 (or -1), exactly that other vector is subtracted, because then the
    subtraction is free of rounding.

    Args:
        vector: `[..., d]`.
        others: each `[..., d]`.
        products: the vector's inner product with each of the others, constants to the derivative.
        squares: the inner product of each of the others with itself, likewise.
    """
    base, times = jnp.zeros_like(vector), jnp.zeros_like(vector[..., 0])
    most = times  # how much of the vector's square another explains
    for other, product, square in zip(others, products, squares, strict=True):
        share = product / jnp.where(square > 0, square, 1)
        more = saved(share * product > most)
        base = jnp.where(more[..., None], other, base)
        times, most = jnp.where(more, share, times), jnp.where(more, share * product, most)
    near_one = (jnp.abs(times) > 0.75) & (jnp.abs(times) < 1.25)
    times = saved(jnp.where(near_one, jnp.sign(times), times))
    return vector - times[..., None] * base


def _triangular(
    rows: Rows, kept: Bool[Array, "*batch k"]
) -> tuple[Float[Array, "*batch k"], Float[Array, "*batch k k"]]:
    """Diagonal of the Cholesky factor L of the rows' Gram matrix, and the inverse of L.

    The diagonal is 0, and the row of the inverse zero, for rows not kept and for those that are
    linearly dependent on the rows before them.
    """
    epsilon = float(jnp.finfo(rows[0].dtype).eps)
    gram = identity_where_absent(inner_products(rows), kept)
    # Pivots of the first pass are kept above the rounding noise of its Gram matrix, so that the
    # second pass finds the true residual, measured on vectors, in a row that is short but not lost.
    least = jnp.full_like(gram[..., 0], (16 * epsilon) ** 0.5)
    first, inverse = eliminate(gram, least, drop=False)
    gram = identity_where_absent(inner_products(combine(inverse, rows)), kept)
    second, again = eliminate(gram, RANK_TOLERANCE * epsilon / first, drop=True)
    kept &= second > 0
    inverse = multiply(again, inverse)
    return jnp.where(kept, first * second, 0), jnp.where(kept[..., None], inverse, 0)
