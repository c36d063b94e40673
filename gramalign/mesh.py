"""What code that also runs inside `jax.shard_map` has to say about its constants."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def varying_as(tree: PyTree[Array], like: Array) -> PyTree[Array]:
    """Mark arrays as varying over the mesh axes that `like` varies over; a no-op elsewhere.

    The carry of a loop must have one type from start to end: if the body mixes in what differs from
    device to device, the start has to be declared to differ as well.
    """

    def vary(x: Array) -> Array:
        axes = jax.typeof(like).mat.varying - jax.typeof(x).mat.varying
        return jax.lax.pcast(x, tuple(axes), to="varying") if axes else x

    return jax.tree.map(vary, tree)


def zeros_as(tree: PyTree[Array]) -> PyTree[Array]:
    """Zeros of the same shapes, and varying over the same mesh axes, as the arrays of a tree."""
    return jax.tree.map(lambda x: varying_as(jnp.zeros(x.shape, x.dtype), x), tree)
