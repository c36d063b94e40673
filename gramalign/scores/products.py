"""The matrix product that tiles are made of: factors in the embeddings' dtype, sums in float32.

Embeddings in bfloat16 are multiplied in bfloat16, at the full rate of an accelerator and half the
memory and traffic of float32 (where `Precision.HIGHEST` takes six such passes on a TPU). This
rounds the factors that a Score computes from them, and the derivative with respect to a tile, by
random errors of one part in 256, so that sums over the d dimensions err by far less. Matched pairs
are never computed here (see `Score.matched`). Wider embeddings lose nothing, except under
`in_bfloat16`, which rounds the inputs of a product but not its output.
"""

import math
from contextlib import AbstractContextManager

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, DTypeLike, Float

from gramalign.geometry.norms import at_least_float32

# JAX's name for products of factors in bfloat16 with sums in float32.
_IN_BFLOAT16 = "BF16_BF16_F32"


def in_bfloat16() -> AbstractContextManager:
    """A context in which every `product`, and on accelerators JAX's own, rounds its factors.

    It is a JAX setting, so JAX retraces what was traced under another; set for a whole program, it
    applies to ranks and search too.
    """
    return jax.default_matmul_precision(_IN_BFLOAT16)


def as_factor(x: Float[np.ndarray | Array, "*n d"], dtype: DTypeLike) -> Float[Array, "*n d"]:
    """A factor of tiles, in the dtype used for embeddings of this `dtype`.

    bfloat16 stays; float16, whose range is too small for derivatives, becomes float32.
    """
    return jnp.asarray(x, dtype) if dtype == jnp.bfloat16 else at_least_float32(x)


def product(rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
    """Inner products of all rows with all columns, `[r, c]` in at least float32."""
    if _asked() or _given_in_bfloat16(rows, cols):
        return _rounded(rows, cols)
    return _sums(at_least_float32(rows), at_least_float32(cols), (1, 1))


def rounding(
    rows: Float[Array, "r d"], cols: Float[Array, "c d"], *, as_given: bool = False
) -> float:
    """Relative error of a `product` of unit vectors, due to the rounding of its factors.

    Args:
        rows: embeddings.
        cols: what a Score computed from embeddings, and rounded if it is bfloat16.
        as_given: these are embeddings too, which lose nothing if already bfloat16.
    """
    asked = _asked() and not _given_in_bfloat16(rows, cols)
    if not asked and (as_given or cols.dtype != jnp.bfloat16):
        return float(jnp.finfo(at_least_float32(rows).dtype).eps)
    # The d entries err independently, so their sum errs less than any of them, by sqrt(d). If both
    # sides are rounded here, the errors of close vectors are alike.
    return (2 if asked else 1) * float(jnp.finfo(jnp.bfloat16).eps) / math.sqrt(rows.shape[1])


def _asked() -> bool:
    asked = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return asked == _IN_BFLOAT16


def _given_in_bfloat16(rows: Array, cols: Array) -> bool:
    return rows.dtype == cols.dtype == jnp.bfloat16


def _sums(x: Array, y: Array, along: tuple[int, int]) -> Array:
    dimensions = ((along[:1], along[1:]), ((), ()))
    narrow = x.dtype == jnp.bfloat16
    return jax.lax.dot_general(
        x,
        y,
        dimensions,
        precision=Precision.DEFAULT if narrow else Precision.HIGHEST,
        preferred_element_type=jnp.float32 if narrow else None,
    )


def _forward(rows: Array, cols: Array) -> tuple[Array, tuple[Array, Array]]:
    sums = _sums(rows.astype(jnp.bfloat16), cols.astype(jnp.bfloat16), (1, 1))
    return sums.astype(at_least_float32(rows).dtype), (rows, cols)


def _backward(factors: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    # JAX's own transpose would multiply float32 by bfloat16, at the rate of float32.
    rows, cols = factors
    slope, x, y = (array.astype(jnp.bfloat16) for array in (slope, rows, cols))
    return _sums(slope, y, (1, 0)).astype(rows.dtype), _sums(slope, x, (0, 0)).astype(cols.dtype)


_rounded = jax.custom_vjp(lambda rows, cols: _forward(rows, cols)[0])
_rounded.defvjp(_forward, _backward)
