"""Gram matrices of tuples, and the convention for modalities that are missing from them."""

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32


def check_tuples(vectors: Float[Array, "*batch k d"], present: Array | None) -> None:
    """Raise `ValueError` unless `vectors` is `[..., k, d]` and `present` is `[..., k]`."""
    if vectors.ndim < 2:
        raise ValueError(
            f"vectors must be [..., k, d] (k modalities of dimension d), got shape {vectors.shape}"
        )
    if not jnp.issubdtype(vectors.dtype, jnp.floating):
        raise ValueError(f"vectors must be floating point, got {vectors.dtype}")
    if vectors.shape[-2] == 0 or vectors.shape[-1] == 0:
        raise ValueError(
            f"vectors must hold at least one vector of length >= 1, got {vectors.shape}"
        )
    if present is not None and present.shape != vectors.shape[:-1]:
        raise ValueError(
            f"present must have the shape of vectors without its last axis, {vectors.shape[:-1]}, "
            f"got {present.shape}"
        )


def only_present(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None
) -> Float[Array, "*batch k d"]:
    """The vectors in at least float32, with zero rows (whatever they held) where absent."""
    vectors = at_least_float32(vectors)
    return vectors if present is None else jnp.where(present[..., None], vectors, 0)


def inner_products(
    left: Float[Array, "*batch k d"], right: Float[Array, "*batch m d"]
) -> Float[Array, "*batch k m"]:
    """All inner products between the rows of two stacks, to full precision on every backend."""
    return jnp.einsum("...kd,...md->...km", left, right, precision=Precision.HIGHEST)


def combine(
    weights: Float[Array, "*batch m k"], rows: Float[Array, "*batch k d"]
) -> Float[Array, "*batch m d"]:
    """Weighted sums of the rows of small stacks, to full precision on every backend."""
    return jnp.einsum("...mk,...kd->...md", weights, rows, precision=Precision.HIGHEST)


def multiply(
    left: Float[Array, "*batch k m"], right: Float[Array, "*batch m n"]
) -> Float[Array, "*batch k n"]:
    """Products of matrices as small as k x k, elementwise.

    A batched matrix product of that size is nothing but overhead, on every backend.
    """
    return jnp.sum(left[..., :, :, None] * right[..., None, :, :], axis=-2)


def identity_where_absent(
    gram: Float[Array, "*batch k k"], kept: Bool[Array, "*batch k"]
) -> Float[Array, "*batch k k"]:
    """Replace rows and columns that are not kept by those of the identity.

    The determinant is then that of the kept block alone.
    """
    both = kept[..., :, None] & kept[..., None, :]
    identity = jnp.broadcast_to(jnp.eye(gram.shape[-1], dtype=gram.dtype), gram.shape)
    return jnp.where(both, gram, identity)


def gram_matrix(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch k k"]:
    """Inner products within each tuple; an absent modality is a row of the identity.

    Args:
        vectors: tuples of k vectors, `[..., k, d]`.
        present: which of them are there, `[..., k]`; None: all.

    Returns:
        `[..., k, k]`, float32 or wider. Its determinant is the squared volume of the present
        vectors (GRAM, arXiv 2412.11959).

    >>> import jax.numpy as jnp
    >>> gram_matrix(jnp.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [[1.0, 0.5], [0.5, 0.5]]
    """
    check_tuples(vectors, present)
    vectors = only_present(vectors, present)
    gram = inner_products(vectors, vectors)
    return gram if present is None else identity_where_absent(gram, present)
