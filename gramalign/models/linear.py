"""A linear layer that may multiply in bfloat16, but never sums over the batch in it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

PRODUCT, HIDDEN = "product", "hidden"
"""Names for a `jax.checkpoint` policy: what a `Linear` makes; what a layer does, or what encoders
do before their first."""


class Linear(nnx.Linear):
    """`nnx.Linear` whose parameters' derivatives are summed in the parameters' dtype.

    They are sums over the batch, and so over devices. If each device's part were rounded to
    bfloat16, they would depend on the number of devices, and get worse with it.
    """

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch out"]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Maps every row."""
        bias = None if self.bias is None else self.bias[...]
        kernel = self.kernel[...]
        y = affine(x, kernel, bias, self.dtype or kernel.dtype, self.preferred_element_type)
        return checkpoint_name(y, PRODUCT)


def affine(
    x: Float[Array, "*batch features"],
    kernel: Float[Array, "features out"],
    bias: Float[Array, " out"] | None,
    dtype: DTypeLike,
    out: DTypeLike | None = None,
) -> Float[Array, "*batch out"]:
    """What `Linear` does.

    Args:
        x: the rows.
        kernel: what they are multiplied by.
        bias: what is added to each, if not None.
        dtype: what is multiplied in.
        out: dtype of the result; None: the same.
    """
    dtype = jnp.dtype(dtype)
    # Where nothing is rounded, JAX's own derivatives are the same, and include forward mode.
    function = _affine if kernel.dtype == dtype else _rounded
    return function(out or dtype, x.astype(dtype), kernel, bias)


def _affine(out: DTypeLike, x: Array, kernel: Array, bias: Array | None) -> Array:
    y = _product(x, kernel.astype(x.dtype), (x.ndim - 1,), (0,), out)
    return y if bias is None else y + jnp.expand_dims(bias.astype(out), range(y.ndim - 1))


def _forward(
    out: DTypeLike, x: Array, kernel: Array, bias: Array | None
) -> tuple[Array, tuple[Array, Array, Array | None]]:
    return _affine(out, x, kernel, bias), (x, kernel, bias)


def _backward(out: DTypeLike, inputs: tuple, slope: Array) -> tuple[Array, Array, Array | None]:
    x, kernel, bias = inputs
    narrow = slope.astype(x.dtype)
    d_x = _product(narrow, kernel.astype(x.dtype), (x.ndim - 1,), (1,), x.dtype)
    rows = tuple(range(x.ndim - 1))
    d_bias = None if bias is None else jnp.sum(slope, axis=rows, dtype=bias.dtype)
    return d_x, _product(x, narrow, rows, rows, kernel.dtype), d_bias


_rounded = jax.custom_vjp(_affine, nondiff_argnums=(0,))
_rounded.defvjp(_forward, _backward)


def _product(
    x: Array, y: Array, of_x: tuple[int, ...], of_y: tuple[int, ...], out: DTypeLike
) -> Array:
    """Sums over axes of both.

    Rows along several axes are not reshaped to one: a TPU would move all of them, wherever their
    number is no multiple of its tiles', and its compiler would not fuse what follows.
    """
    return jax.lax.dot_general(x, y, ((of_x, of_y), ((), ())), preferred_element_type=out)
