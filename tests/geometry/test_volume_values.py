"""Volumes that are known: shapes, sizes, dtypes, lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import log_volume, norm, volume
from tests import reference, samples


def test_two_unit_vectors_span_the_sine_of_their_angle():
    angle = np.linspace(0.01, np.pi - 0.01, 9)
    vectors = np.stack(
        [np.stack([np.ones(9), np.zeros(9)], 1), np.stack([np.cos(angle), np.sin(angle)], 1)], 1
    )
    np.testing.assert_allclose(volume(jnp.asarray(vectors, jnp.float32)), np.sin(angle), rtol=1e-6)


def test_one_vector_spans_its_length():
    vectors = np.random.default_rng(0).normal(size=(5, 1, 7)).astype(np.float32)
    np.testing.assert_allclose(volume(vectors), norm(vectors[:, 0]), rtol=1e-6)


def test_sixteen_vectors():
    vectors = samples.unit(np.random.default_rng(0), 4, 16, 64, dtype=np.float32)
    np.testing.assert_allclose(volume(vectors), reference.volume(vectors).astype(float), rtol=2e-6)


def test_more_vectors_than_dimensions_span_nothing():
    vectors = samples.unit(np.random.default_rng(0), 4, 4, 3, dtype=np.float32)
    np.testing.assert_array_equal(volume(vectors), 0)
    np.testing.assert_array_equal(log_volume(vectors), -np.inf)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_leading_dimensions(batch):
    vectors = samples.unit(np.random.default_rng(0), *batch, 3, 8, dtype=np.float32)
    found = volume(vectors)
    assert found.shape == batch
    np.testing.assert_allclose(found, reference.volume(vectors).astype(float), rtol=1e-6)


def test_empty_batch():
    assert volume(jnp.ones((0, 3, 8))).shape == (0,)


def test_lengths_multiply():
    rng = np.random.default_rng(0)
    lengths = 10.0 ** rng.uniform(-3, 3, size=(20, 4, 1))
    vectors = (lengths * samples.unit(rng, 20, 4, 16)).astype(np.float32)
    np.testing.assert_allclose(volume(vectors), reference.volume(vectors).astype(float), rtol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(dtype):
    vectors = jnp.asarray(samples.unit(np.random.default_rng(0), 6, 3, 32), dtype)
    found = volume(vectors)
    assert found.dtype == jnp.float32
    exact = reference.volume(np.asarray(vectors.astype(jnp.float32))).astype(float)
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    assert jax.grad(lambda x: volume(x).sum())(vectors).dtype == dtype


def test_order_of_magnitude_beyond_squares_is_loud_or_zero():
    """Lengths whose squares float32 cannot hold are outside the contract; never a wrong number."""
    assert np.isnan(volume(1e25 * jnp.eye(3)))
    assert volume(1e-25 * jnp.eye(3)) == 0
