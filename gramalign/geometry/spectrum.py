"""Singular values of tuples through the k x k eigenproblem, with derivatives that stay finite.

    Z = [z_1 .. z_k] = U S W^T,  G = Z^T Z = W S^2 W^T       (PMRL, arXiv 2507.17343)

`jnp.linalg.svd` of the d x k matrix works on d-dimensional factors (the published code forms U as d
x d), has no derivative for the full form, and NaN derivatives where singular values coincide. Here
W comes from `eigh` of the k x k Gram matrix; the vectors are rotated by it, and the singular values
are the lengths of the rotated vectors, which halves the digits that small ones lose in the Gram
matrix.

First derivatives d sigma_j = u_j^T dZ w_j need no gap between singular values. Singular set:
sigma_j = 0 (a kink; derivative 0 here), and repeated values, where single ones are not
differentiable but symmetric functions of the repeated ones are, and come out right.
"""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Bool, Float

from gramalign.geometry.gram import check_tuples, inner_products, only_present
from gramalign.geometry.norms import norm

# Eigenvalues closer than this many machine epsilons of the largest count as equal: the rotation
# between their eigenvectors is then arbitrary, and its derivative is taken as zero.
GAP_TOLERANCE = 32


def inverse_gaps(values: Float[Array, "*batch k"]) -> Float[Array, "*batch k k"]:
    """1 / (values_j - values_i) at [i, j], and 0 where the two are equal to rounding."""
    gaps = values[..., None, :] - values[..., :, None]
    largest = jnp.max(jnp.abs(values), axis=-1)[..., None, None]
    apart = jnp.abs(gaps) > GAP_TOLERANCE * jnp.finfo(values.dtype).eps * largest
    return jnp.where(apart, 1 / jnp.where(apart, gaps, 1), 0)


@jax.custom_jvp
def eigh(matrix: Float[Array, "*batch k k"]) -> tuple[Array, Array]:
    """Eigenvalues, largest first, and eigenvectors (columns) of symmetric matrices.

    As `jnp.linalg.eigh` but for the order and the derivative, which is finite at repeated
    eigenvalues.
    """
    values, vectors = jnp.linalg.eigh(matrix)
    return values[..., ::-1], vectors[..., ::-1]


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    values, vectors = eigh(*primals)
    change = jnp.einsum(
        "...ki,...kl,...lj->...ij", vectors, tangents[0], vectors, precision=Precision.HIGHEST
    )
    change = (change + jnp.swapaxes(change, -1, -2)) / 2
    turn = jnp.matmul(vectors, inverse_gaps(values) * change, precision=Precision.HIGHEST)
    return (values, vectors), (jnp.diagonal(change, axis1=-2, axis2=-1), turn)


def _rotated(vectors: Float[Array, "*batch k d"]) -> tuple[Array, Array]:
    """Rotation w [..., k, k] (columns) and the orthogonal rows w^T Z [..., k, d], longest first."""
    _, rotation = eigh(inner_products(vectors, vectors))
    rows = jnp.einsum("...kj,...kd->...jd", rotation, vectors, precision=Precision.HIGHEST)
    # Among eigenvalues below the rounding of the Gram matrix, the order that eigh gives is chance.
    order = jnp.argsort(-jax.lax.stop_gradient(norm(rows)), axis=-1)
    rotation = jnp.take_along_axis(rotation, order[..., None, :], axis=-1)
    return rotation, jnp.take_along_axis(rows, order[..., :, None], axis=-2)


@jax.custom_jvp
def _singular_values(vectors: Float[Array, "*batch k d"]) -> Float[Array, "*batch k"]:
    return norm(_rotated(vectors)[1])


@_singular_values.defjvp
def _singular_values_jvp(primals, tangents):
    # d sigma_j = u_j^T dZ w_j. Written without d w_j, whose 1 / gap would cancel only in exact
    # arithmetic; a second derivative passes through eigh's rule and does see the gaps.
    rotation, rows = _rotated(*primals)
    values = norm(rows)
    # A row at rounding level is a zero whose direction is noise.
    zero = values <= GAP_TOLERANCE * jnp.finfo(values.dtype).eps * values[..., :1]
    left = jnp.where(zero[..., None], 0, rows / jnp.where(zero, 1, values)[..., None])
    turned = jnp.einsum("...kj,...kd->...jd", rotation, tangents[0], precision=Precision.HIGHEST)
    return _singular_values(*primals), jnp.sum(left * turned, axis=-1)


def singular_values(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch k"]:
    """Singular values of each tuple, largest first.

    Args:
        vectors: `[..., k, d]`; for unit vectors the squares sum to k.
        present: which of them are there, `[..., k]`; None: all.

    Returns:
        `[..., k]`, float32 or wider; every absent modality adds a zero at the end. One value,
        sqrt(k), and zeros mean perfect alignment up to sign; k ones mean orthogonality.

    Raises:
        ValueError: if the shapes do not fit or the vectors are not floating point.

    >>> import jax.numpy as jnp
    >>> print(singular_values(jnp.array([[1.0, 0.0], [1.0, 0.0]])).round(4))
    [1.4142 0.    ]
    """
    check_tuples(vectors, present)
    return _singular_values(only_present(vectors, present))
