"""Losses under derivatives of derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses, normalize
from tests import reference, samples


@pytest.mark.parametrize(
    ("loss", "order"), [(losses.clip, 2), pytest.param(losses.gram, 3, marks=pytest.mark.slow)]
)
def test_higher_derivatives_are_finite_differences_of_lower(loss, order, x64):
    rng = np.random.default_rng(0)
    embeddings = samples.embeddings(rng, 4, 6, "abc"[:order], dtype=np.float64)
    along = {m: rng.normal(size=x.shape) for m, x in embeddings.items()}

    def lower(t):
        moved = {m: normalize(x + t * along[m]) for m, x in embeddings.items()}
        return loss(moved, anchor="a", temperature=0.2).sum()

    for _ in range(order - 1):
        lower = jax.grad(lower)
    lower, higher = jax.jit(lower), jax.jit(jax.grad(lower))
    exact = reference.directional_derivative(lower, 0.0, 1.0)
    np.testing.assert_allclose(higher(0.0), exact, rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.clip, losses.gram])
def test_second_derivatives_are_finite_where_a_match_is_far_above_its_competitors(loss):
    """Its exponential by theirs is infinite, and takes no part."""
    eye = jnp.eye(8)[:4]

    def steepness(x, temperature):
        slope = jax.grad(lambda y: loss(y, temperature=temperature).sum())(x)
        return sum(jnp.sum(jnp.abs(g)) for g in slope.values())

    by_embeddings, by_temperature = jax.grad(steepness, argnums=(0, 1))(
        {"text": eye, "audio": eye}, jnp.float32(0.01)
    )
    assert all(jnp.isfinite(x).all() for x in (*by_embeddings.values(), by_temperature))
