"""What code that also runs inside `jax.shard_map` has to say about its constants."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def varying_as(tree: PyTree[Array], like: Array) -> PyTree[Array]:
    """Mark constants as varying over the mesh axes that `like` varies over; a no-op elsewhere.

    The carry of a loop must have one type from start to end: if the body mixes in what differs from
    device to device, the start has to be declared to differ as well.
    """
    axes = tuple(getattr(jax.typeof(like), "vma", ()))
    return jax.tree.map(lambda x: jax.lax.pcast(x, axes, to="varying"), tree) if axes else tree


def zeros_as(tree: PyTree[Array]) -> PyTree[Array]:
    """Zeros of the same shapes, and varying over the same mesh axes, as the arrays of a tree."""
    return jax.tree.map(lambda x: varying_as(jnp.zeros(x.shape, x.dtype), x), tree)
