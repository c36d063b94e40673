"""What the benchmarks run: one batch of made-up embeddings, and loss with gradient in JAX."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision

from gramalign import losses

ANCHOR = "m0"

LOSSES = {
    "gram": lambda embeddings: losses.gram(embeddings, anchor=ANCHOR),
    "pmrl": losses.pmrl,
    "clip": lambda embeddings: losses.clip(embeddings, anchor=ANCHOR),
}
"""Objectives by name, with the published temperatures; the anchor is the first modality."""

_TILE = 1024  # as the engine's, so that the bare products run in the same shapes


def names(modalities: int) -> list[str]:
    """`m0`, `m1`, ...: the first is the anchor."""
    return [f"m{i}" for i in range(modalities)]


def made_up(batch: int, modalities: int, dim: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Unit rows `[batch, dim]` for each modality, half shared within a tuple and half noise.

    Matched pairs then have a cosine of about 0.5, as in the first part of a training run.
    """
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((batch, dim), dtype=np.float32)
    embeddings = {}
    for name in names(modalities):
        noisy = shared + rng.standard_normal((batch, dim), dtype=np.float32)
        embeddings[name] = noisy / np.linalg.norm(noisy, axis=1, keepdims=True)
    return embeddings


def step(objective: str) -> Callable:
    """The jitted function from embeddings to mean loss and gradients."""
    loss = LOSSES[objective]
    return jax.jit(jax.value_and_grad(lambda embeddings: jnp.mean(loss(embeddings))))


@jax.jit
def bare_products(embeddings: dict[str, jax.Array]) -> list[jax.Array]:
    """Nothing but the matrix products that GRAM's loss and gradient cannot do without.

    For each of k - 1 modalities besides the anchor four products of size B x B x d: the scores,
    the scores again for the backward pass, and one product for the gradient of each side. Scores
    stand in for their own gradients here: the numbers mean nothing, the time does.
    """

    def dot(x, y):
        return jnp.matmul(x, y, precision=Precision.HIGHEST)

    anchor, *others = embeddings.values()
    tile = math.gcd(len(anchor), _TILE)
    rows = anchor.reshape(-1, tile, anchor.shape[1])
    results = []
    for other in others:

        def block(total, row, other=other):
            return total + jnp.sum(dot(row, other.T), axis=0), None

        def block_with_gradient(d_other, row, other=other):
            scores = dot(row, other.T)
            return d_other + dot(scores.T, row), dot(scores, other)

        forward, _ = jax.lax.scan(block, jnp.zeros(len(other), other.dtype), rows)
        d_other, d_rows = jax.lax.scan(block_with_gradient, jnp.zeros_like(other), rows)
        results += [forward, d_other, d_rows]
    return results
