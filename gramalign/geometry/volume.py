"""Volume of the parallelotope that a tuple of vectors spans: GRAM's measure of agreement.

    Vol(m1..mk) = sqrt(det G),  G = M M^T            (GRAM, arXiv 2412.11959)

For unit vectors 0 <= Vol <= 1: 0 when they are linearly dependent (all aligned, but also two equal,
opposite, or coplanar), 1 when they are orthonormal. At k = 2 it is |sin|. Computed by a sheared
Cholesky factorisation (`gramalign.geometry.basis`), not by a determinant, which in float32 has no
correct digit once the modalities are 1e-4 apart. The published code takes sqrt(|det|) and has a NaN
gradient at 0; here derivatives at linearly dependent tuples, where the volume has a kink, are 0.
"""

import jax
from jaxtyping import Array, Bool, Float

from gramalign.geometry.basis import orthonormal_basis


@jax.jit
def volume(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch"]:
    """Volume spanned by each tuple of k vectors.

    Args:
        vectors: `[..., k, d]`, of lengths 1e-18 to 1e18 in float32; unit vectors have a volume in
            [0, 1].
        present: which vectors are present, `[..., k]`; None: all.

    Returns:
        `[...]`, float32 or wider: the volume of the present vectors, 1 if there are none.

    Raises:
        ValueError: for shapes that do not match, or vectors that are not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> float(volume(jnp.eye(3)))
    1.0
    >>> float(volume(jnp.array([[1.0, 0.0], [1.0, 0.0]])))
    0.0
    """
    return orthonormal_basis(vectors, present).volume


@jax.jit
def log_volume(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None = None
) -> Float[Array, "*batch"]:
    """Logarithm of the volume; stays finite where the volume of many close vectors underflows.

    Args:
        vectors: `[..., k, d]`, of lengths as for `volume`.
        present: which vectors are present, `[..., k]`; None: all.

    Returns:
        `[...]`, float32 or wider; -inf, with derivative 0, for linearly dependent tuples.

    Raises:
        ValueError, TypeError: as `volume`.

    >>> import jax.numpy as jnp
    >>> round(float(log_volume(0.5 * jnp.eye(3))), 4)
    -2.0794
    """
    return orthonormal_basis(vectors, present).log_volume
