"""Losses under second derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import reference, samples


def test_second_derivatives_are_finite_differences_of_first(x64):
    rng = np.random.default_rng(0)
    embeddings = samples.as_jax(samples.embeddings(rng, 5, 6, "ab", dtype=np.float64))
    along = samples.as_jax({m: rng.normal(size=x.shape) for m, x in embeddings.items()})

    def slope(x):
        gradient = jax.grad(lambda y: losses.clip(y, anchor="a", temperature=0.2).sum())(x)
        return sum(jnp.vdot(gradient[m], along[m]) for m in gradient)

    both = jax.jit(jax.value_and_grad(slope))
    _, second = both(embeddings)

    def moved(step):
        return both({m: x + step * along[m] for m, x in embeddings.items()})[0]

    exact = reference.directional_derivative(moved, 0.0, 1.0)
    found = sum(np.vdot(second[m], along[m]) for m in second)
    np.testing.assert_allclose(found, exact, rtol=1e-7)


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
