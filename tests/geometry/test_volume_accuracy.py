"""Float32 volumes against extended precision, on the very same float32 inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import orthonormal_basis
from tests import reference, samples

DISTANCES = (1e-1, 1e-2, 1e-3, 1e-4)
EACH = 32

basis_of = jax.jit(orthonormal_basis)


def close_tuples(k, d):
    rng = np.random.default_rng(k)
    return np.concatenate([samples.close(rng, EACH, k, d, x, np.float32) for x in DISTANCES])


def errors(vectors):
    """Relative errors [kinds, EACH] of stacked kinds of tuples [kinds * EACH, k, d]."""
    found = np.asarray(basis_of(vectors).volume)
    return np.abs(found / reference.volume(vectors) - 1).reshape(-1, EACH)


@pytest.mark.parametrize("k", range(2, 9))
def test_close_and_antipodal_tuples_keep_their_relative_accuracy(k):
    kinds = close_tuples(k, 64)
    signs = np.where(np.arange(k) % 2, -1, 1).astype(np.float32)[:, None]
    found = errors(np.concatenate([kinds, kinds * signs]))
    assert np.all(np.median(found, axis=1) <= 1e-6), np.median(found, axis=1)
    assert np.max(found) <= 1e-5


def test_the_published_size():
    found = errors(close_tuples(4, 512))
    assert np.all(np.median(found, axis=1) <= 1e-6), np.median(found, axis=1)


@pytest.mark.parametrize("k", [3, 6])
def test_coplanar_tuples_that_are_not_close(k):
    rng = np.random.default_rng(k)
    kinds = [samples.nearly_coplanar(rng, EACH, k, 64, x, np.float32) for x in DISTANCES]
    found = errors(np.concatenate(kinds))
    # Rounding the inputs alone moves the volume by about 1e-8 / distance.
    assert np.all(np.median(found, axis=1) <= 1e-8 / np.array(DISTANCES) + 2e-7)
    assert np.all(np.max(found, axis=1) <= 5e-8 / np.array(DISTANCES) + 1e-6)


def test_pairs_that_are_close_in_themselves_but_not_to_each_other():
    rng = np.random.default_rng(0)
    kinds = [
        np.concatenate([samples.close(rng, EACH, 2, 64, x) for _ in range(2)], axis=1)
        for x in DISTANCES
    ]
    found = errors(np.concatenate(kinds).astype(np.float32))
    assert np.max(found) <= 1e-3, np.max(found, axis=1)


def test_log_volume_is_as_accurate():
    vectors = close_tuples(4, 64)
    found = basis_of(vectors).log_volume
    np.testing.assert_allclose(found, np.log(reference.volume(vectors)), atol=2e-6, rtol=1e-6)


def test_log_volume_lives_on_where_the_volume_underflows():
    vectors = samples.close(np.random.default_rng(0), 4, 16, 64, 1e-4, np.float32)
    found = basis_of(vectors)
    exact = np.log(reference.volume(vectors))
    assert np.all(exact < np.log(1e-45)), "the volume would not underflow"
    np.testing.assert_array_equal(found.volume, 0)
    np.testing.assert_allclose(found.log_volume, exact, rtol=1e-5)


def test_float64_is_computed_in_float64(x64):
    rng = np.random.default_rng(0)
    kinds = [samples.close(rng, EACH, 4, 16, x) for x in (1e-1, 1e-3, 1e-6)]
    found = basis_of(np.concatenate(kinds)).volume
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, reference.volume(np.concatenate(kinds)), rtol=1e-12)


def test_determinant_and_plain_cholesky_have_no_digit_left_there():
    vectors = close_tuples(4, 64)[-EACH:]
    gram = vectors @ np.swapaxes(vectors, 1, 2)
    determinant = np.sqrt(np.abs(np.linalg.det(gram)))
    assert np.median(np.abs(determinant / reference.volume(vectors) - 1)) > 1
    assert np.isnan(jnp.linalg.cholesky(gram)).any()
