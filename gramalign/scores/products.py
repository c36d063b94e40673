"""The matrix product that tiles are made of: factors as narrow as the embeddings, sums in float32.

Embeddings in bfloat16 are multiplied in bfloat16, at the full rate of an accelerator and half the
memory and traffic of float32 (where `Precision.HIGHEST` takes six such passes on a TPU). What is
rounded is the factors that a Score has computed from them, and the derivative with respect to a
tile: one part in 256, at random, so that their sums over the d dimensions err by far less. The
matched pairs never come from here (`Score.matched`). Wider embeddings lose nothing.
"""

import math

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, DTypeLike, Float

from gramalign.geometry.norms import at_least_float32


def as_factor(x: Float[Array, "*n d"], dtype: DTypeLike) -> Float[Array, "*n d"]:
    """A factor of tiles, in the dtype that goes with embeddings of this `dtype`.

    bfloat16 stays; float16, whose range is too small for derivatives, becomes float32.
    """
    return x.astype(dtype) if dtype == jnp.bfloat16 else at_least_float32(x)


def product(rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> Float[Array, "r c"]:
    """Inner products of all rows with all columns, `[r, c]` in at least float32."""
    if rows.dtype == cols.dtype == jnp.bfloat16:
        return _narrow(rows, cols)
    return _sums(at_least_float32(rows), at_least_float32(cols), (1, 1))


def rounding(rows: Float[Array, "r d"], cols: Float[Array, "c d"]) -> float:
    """Relative error of a `product` of unit vectors, from that of its factors."""
    if rows.dtype == cols.dtype == jnp.bfloat16:
        # The d entries err independently of each other, and so their sum less than any, by sqrt(d).
        return float(jnp.finfo(jnp.bfloat16).eps) / math.sqrt(rows.shape[1])
    return float(jnp.finfo(at_least_float32(rows).dtype).eps)


def _sums(x: Array, y: Array, along: tuple[int, int]) -> Array:
    dimensions = ((along[:1], along[1:]), ((), ()))
    if x.dtype == jnp.bfloat16:
        return jax.lax.dot_general(x, y, dimensions, preferred_element_type=jnp.float32)
    return jax.lax.dot_general(x, y, dimensions, precision=Precision.HIGHEST)


def _forward(rows: Array, cols: Array) -> tuple[Array, tuple[Array, Array]]:
    return _sums(rows, cols, (1, 1)), (rows, cols)


def _backward(factors: tuple[Array, Array], slope: Array) -> tuple[Array, Array]:
    # The transpose that JAX would derive multiplies float32 with bfloat16, at the rate of float32.
    rows, cols = factors
    slope = slope.astype(jnp.bfloat16)
    d_rows, d_cols = _sums(slope, cols, (1, 0)), _sums(slope, rows, (0, 0))
    return d_rows.astype(rows.dtype), d_cols.astype(cols.dtype)


_narrow = jax.custom_vjp(lambda rows, cols: _forward(rows, cols)[0])
_narrow.defvjp(_forward, _backward)
