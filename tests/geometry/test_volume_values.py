"""Volumes that are known: shapes, sizes, dtypes, lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import log_volume, volume
from tests import reference, samples

volume_of = jax.jit(volume)


def agrees(vectors, rtol=2e-6):
    np.testing.assert_allclose(volume_of(vectors), reference.volume(vectors), rtol=rtol)


def test_two_unit_vectors_span_the_sine_of_their_angle():
    angle = np.linspace(0.01, np.pi - 0.01, 9)
    right, turned = np.eye(2)[[0] * 9], np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = volume_of(np.stack([right, turned], axis=1).astype(np.float32))
    np.testing.assert_allclose(found, np.sin(angle), rtol=1e-5)


@pytest.mark.parametrize("k", [1, 16])
def test_fewest_and_most_vectors(k):
    agrees(np.random.default_rng(0).normal(size=(5, k, 40)).astype(np.float32), rtol=1e-5)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_leading_dimensions(batch):
    vectors = samples.unit(np.random.default_rng(0), *batch, 3, 8, dtype=np.float32)
    assert volume_of(vectors).shape == batch
    agrees(vectors)


def test_no_tuples():
    assert volume_of(jnp.ones((0, 3, 8))).shape == (0,)


def test_more_vectors_than_dimensions_span_nothing():
    vectors = samples.unit(np.random.default_rng(0), 4, 4, 3, dtype=np.float32)
    np.testing.assert_array_equal(volume_of(vectors), 0)
    np.testing.assert_array_equal(jax.jit(log_volume)(vectors), -np.inf)


def test_lengths_multiply():
    rng = np.random.default_rng(0)
    lengths = 10.0 ** rng.uniform(-3, 3, size=(20, 4, 1))
    agrees((lengths * samples.unit(rng, 20, 4, 16)).astype(np.float32))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    vectors = jnp.asarray(samples.unit(np.random.default_rng(0), 6, 3, 32), dtype)
    found, gradient = jax.jit(jax.value_and_grad(lambda x: volume(x).sum()))(vectors)
    exact = reference.volume(np.asarray(vectors.astype(jnp.float32))).sum()
    assert found.dtype == jnp.float32 and gradient.dtype == dtype
    np.testing.assert_allclose(found, exact, rtol=1e-6)
