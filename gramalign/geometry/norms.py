"""Roots and norms whose derivative at zero is zero, not NaN, and the dtype geometry works in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def check_array(name: str, x: Any) -> None:
    """Raise `TypeError` for anything but an array: a list is a tree to JAX, of many arrays."""
    if not isinstance(x, (jax.Array, np.ndarray)):
        raise TypeError(f"{name} must be a JAX or NumPy array, got {type(x).__name__}")


def at_least_float32(x: Float[np.ndarray | Array, "..."]) -> Float[Array, "..."]:
    """Widen bfloat16 and float16 to float32; leave float32 and float64 as they are."""
    x = jnp.asarray(x)
    return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x


def sqrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Square root that is 0, with derivative 0, for every x <= 0.

    Both branches of a `where` are differentiated, so the argument is made harmless first: the
    derivative of `jnp.sqrt` at 0 is infinite, and infinite times the masked zero would be NaN.
    """
    # Not x > 0 and its negation: NaN satisfies neither comparison, and must stay NaN, not become 0.
    zero = x <= 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


@jax.jit
def norm(x: Float[Array, "*batch d"]) -> Float[Array, "*batch"]:
    """Euclidean length of the last axis, in at least float32; its derivative at zero is zero.

    Squares must be in range: in float32, lengths below 1e-18 become 0, and beyond 1e18 infinite.

    Raises:
        ValueError: for an array that is not floating point.
        TypeError: for anything but an array, such as a list.
    """
    x = _wide(x)
    return sqrt(jnp.sum(x * x, axis=-1))


@jax.jit
def normalize(x: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    """Scale the last axis to unit length, in at least float32.

    A zero row stays zero, with derivative zero.

    Raises:
        ValueError: for an array that is not floating point.
        TypeError: for anything but an array, such as a list.

    >>> import jax.numpy as jnp
    >>> normalize(jnp.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    x = _wide(x)
    # Dividing by the largest entry first keeps the squares of very small or large rows in range.
    # It is a constant to the derivative: the result does not depend on it.
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=-1, keepdims=True, initial=0.0))
    x = x / jnp.where(largest > 0, largest, 1)
    length = norm(x)[..., None]
    zero = length <= 0
    return jnp.where(zero, 0, x / jnp.where(zero, 1, length))


def _wide(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    check_array("x", x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x must be floating point, got {x.dtype}: convert it, .astype('float32')")
    return at_least_float32(x)
