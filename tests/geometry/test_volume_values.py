"""Volumes that are known: shapes, sizes, dtypes, lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import orthonormal_basis, volume
from tests import reference, samples

basis_of = jax.jit(orthonormal_basis)


def test_two_unit_vectors_span_the_sine_of_their_angle():
    angle = np.linspace(0.01, np.pi - 0.01, 9)
    right, turned = np.eye(2)[[0] * 9], np.stack([np.cos(angle), np.sin(angle)], axis=1)
    found = basis_of(np.stack([right, turned], axis=1).astype(np.float32)).volume
    np.testing.assert_allclose(found, np.sin(angle), rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "rtol"), [((5, 1, 40), 1e-6), ((2, 2, 16, 40), 1e-5), ((3, 8), 1e-6)]
)
def test_any_number_of_vectors_of_any_length_in_any_batch(shape, rtol):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=shape) * 10.0 ** rng.uniform(-2, 2, size=(*shape[:-1], 1))
    vectors = vectors.astype(np.float32)
    found = basis_of(vectors)
    assert found.vectors.shape == shape and found.volume.shape == shape[:-2]
    np.testing.assert_allclose(
        found.log_volume, np.log(reference.volume(vectors)), rtol=rtol, atol=rtol
    )
    np.testing.assert_allclose(found.volume, reference.volume(vectors), rtol=rtol)


def test_no_tuples():
    assert basis_of(jnp.ones((0, 3, 8))).volume.shape == (0,)


def test_more_vectors_than_dimensions_span_nothing():
    vectors = samples.unit(np.random.default_rng(0), 4, 4, 3, dtype=np.float32)
    found = basis_of(vectors)
    np.testing.assert_array_equal(found.volume, 0)
    np.testing.assert_array_equal(found.log_volume, -np.inf)


def test_half_precision_is_computed_in_float32():
    vectors = jnp.asarray(samples.unit(np.random.default_rng(0), 6, 3, 32), jnp.bfloat16)
    found, gradient = jax.jit(jax.value_and_grad(lambda x: volume(x).sum()))(vectors)
    exact = reference.volume(np.asarray(vectors.astype(jnp.float32))).sum()
    assert found.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(found, exact, rtol=1e-6)
