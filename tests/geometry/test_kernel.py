"""Weights that make a kernel's features orthonormal, with vectors absent, equal and close."""

import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry.kernel import orthonormal_features
from tests import reference, samples

RATE, BANDWIDTH = 0.5, 1.0


def kernel(vectors):
    apart = ((vectors[..., :, None, :] - vectors[..., None, :, :]) ** 2).sum(-1)
    return np.exp(-RATE * apart)


@pytest.mark.parametrize("distance", [1, 1e-2])
def test_any_vectors_may_be_absent(distance, x64):
    rng = np.random.default_rng(0)
    vectors = samples.close(rng, 16, 4, 8, distance)
    present = (np.arange(16)[:, None] >> np.arange(4)) % 2 == 1
    hidden = np.where(present[..., None], vectors, np.nan)
    weights, volume = orthonormal_features(jnp.asarray(hidden), jnp.asarray(present), RATE)
    found = weights @ kernel(vectors) @ np.swapaxes(weights, -1, -2)
    np.testing.assert_allclose(found, present[..., None] * np.eye(4), atol=1e-10)
    np.testing.assert_array_equal(weights, np.tril(weights))
    np.testing.assert_array_equal(np.swapaxes(weights, -1, -2)[~present], 0)
    exact = reference.kernel_volume(vectors, BANDWIDTH, present)
    np.testing.assert_allclose(volume, exact, rtol=1e-10)


def test_an_equal_vector_adds_nothing(x64):
    vectors = samples.unit(np.random.default_rng(0), 4, 8)
    vectors[2] = vectors[0]
    weights, volume = orthonormal_features(jnp.asarray(vectors), jnp.ones(4, bool), RATE)
    found = weights @ kernel(vectors) @ weights.T
    np.testing.assert_allclose(found, np.diag([1, 1, 0, 1]), atol=1e-12)
    assert volume == 0
