"""Gram matrices of tuples, and the convention for missing modalities."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramalign.geometry.tuples import identity, inner_products, take_apart


def identity_where_absent(
    gram: Float[Array, "*batch k k"], kept: Bool[Array, "*batch k"]
) -> Float[Array, "*batch k k"]:
    """Replace rows and columns that are not kept by those of the identity.

    The determinant is then that of the kept block alone.
    """
    both = kept[..., :, None] & kept[..., None, :]
    return jnp.where(both, gram, identity(gram))


@jax.jit
def gram_matrix(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch k k"]:
    """Inner products within each tuple; an absent modality is a row of the identity.

    Args:
        vectors: tuples of k vectors, `[..., k, d]`.
        present: which vectors are present, `[..., k]`; None: all.

    Returns:
        `[..., k, k]`, float32 or wider. Its determinant is the squared volume of the present
        vectors (GRAM, arXiv 2412.11959).

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> gram_matrix(jnp.array([[1.0, 0.0], [0.5, 0.5]])).tolist()
    [[1.0, 0.5], [0.5, 0.5]]
    """
    gram = inner_products(take_apart(vectors, present))
    return gram if present is None else identity_where_absent(gram, present)
