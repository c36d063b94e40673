"""What is special to the centroid: it may vanish, and every modality is part of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import samples

BATCH = 4


@pytest.mark.parametrize("k", [2, 3, 4])
def test_orthogonal_modalities_match_their_centroid(k):
    """The blind spot: far from other examples, the loss is small and nothing is aligned."""
    basis = samples.orthonormal(np.random.default_rng(0), BATCH * k, 16, np.float32)
    x = {name: jnp.asarray(basis[i::k]) for i, name in enumerate("abcd"[:k])}
    exact = np.log1p((BATCH - 1) * np.exp(-1 / np.sqrt(k) / 0.07))
    np.testing.assert_allclose(losses.centrobind(x), exact, rtol=1e-3)


def test_modalities_that_sum_to_zero():
    """The centroid scores 0 with everything, and nothing is drawn anywhere through it."""
    x = {"a": jnp.asarray(samples.unit(np.random.default_rng(0), BATCH, 6, dtype=np.float32))}
    x["b"] = -x["a"]
    values, gradient = jax.value_and_grad(lambda x: losses.centrobind(x).sum())(x)
    np.testing.assert_allclose(values, BATCH * np.log(BATCH), rtol=1e-6)
    for rows in gradient.values():
        np.testing.assert_array_equal(rows, 0)


def test_one_vanishing_centroid_among_others():
    x = samples.embeddings(np.random.default_rng(0), BATCH, 6, "ab")
    x["b"][0] = -x["a"][0]
    gradient = jax.jit(jax.grad(lambda x: losses.centrobind(x, temperature=1e-3).sum()))
    assert all(np.isfinite(rows).all() for rows in gradient(samples.as_jax(x)).values())


def test_matched_scores_of_half_precision_embeddings_are_not_rounded():
    """Examples in dimensions of their own, so that tiles, which are rounded, are 0."""
    own = samples.unit(np.random.default_rng(0), 2, BATCH, 5)
    x = np.einsum("mid,ij->mijd", own, np.eye(BATCH)).reshape(2, BATCH, -1)
    half = {name: jnp.asarray(rows, jnp.bfloat16) for name, rows in zip("ab", x, strict=True)}
    wide = {name: rows.astype(jnp.float32) for name, rows in half.items()}
    np.testing.assert_allclose(losses.centrobind(half), losses.centrobind(wide), rtol=1e-6)
