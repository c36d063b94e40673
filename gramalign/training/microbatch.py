"""Embedding a large batch in the memory of a small one, exactly.

A contrastive loss needs all embeddings at once, so gradient accumulation does not apply. But
embeddings are small; what is large is the activations that a tower keeps for its backward pass.
Here they are kept for one microbatch at a time, and recomputed in the backward pass (GradCache; Gao
et al., 2021, arXiv 2101.06983): one more forward pass of the towers, for memory that no longer
grows with the batch.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


def microbatched(
    encode: Callable[[PyTree[Array]], PyTree[Array]], size: int
) -> Callable[[PyTree[Array]], PyTree[Array]]:
    """The same function of a batch, computed at most `size` examples at a time.

    Args:
        encode: maps arrays `[batch, ...]` to arrays `[batch, ...]`, each row by itself. It may be
            given rows of zeros, which pad the last microbatch.
        size: of a microbatch.

    Returns:
        `encode`, whose value and derivatives are the same to rounding.

    Raises:
        ValueError: a size below 1; when called, an empty batch.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")

    def call(batch: PyTree[Array]) -> PyTree[Array]:
        rows = jax.tree.leaves(batch)[0].shape[0]
        if rows == 0:
            raise ValueError("the batch is empty")
        number = -(-rows // size)
        each = -(-rows // number)

        # Every microbatch takes each n-th row, so if the batch is split over devices, each device
        # has its share of every microbatch.
        def cut(x: Array) -> Array:
            x = jnp.pad(x, [(0, number * each - rows)] + [(0, 0)] * (x.ndim - 1))
            return jnp.moveaxis(x.reshape(each, number, *x.shape[1:]), 1, 0)

        def joined(x: Array) -> Array:
            return jnp.moveaxis(x, 0, 1).reshape(number * each, *x.shape[2:])[:rows]

        parts = jax.lax.map(jax.checkpoint(encode, prevent_cse=False), jax.tree.map(cut, batch))
        return jax.tree.map(joined, parts)

    return call
