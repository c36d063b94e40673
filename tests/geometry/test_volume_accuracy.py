"""Float32 volumes against extended precision, on the very same float32 inputs."""

import jax
import numpy as np
import pytest

from gramalign.geometry import log_volume, orthonormal_basis, volume
from tests import reference, samples

DISTANCES = (1e-1, 1e-2, 1e-3, 1e-4)
EACH = 32

jitted_volume = jax.jit(volume)


def errors(vectors):
    """Relative errors [kinds, EACH] of stacked kinds of tuples [kinds * EACH, k, d]."""
    exact = reference.volume(vectors)
    return np.asarray(np.abs(jitted_volume(vectors) / exact - 1)).reshape(-1, EACH)


def close_tuples(k, d):
    rng = np.random.default_rng(k)
    return np.concatenate([samples.close(rng, EACH, k, d, x, np.float32) for x in DISTANCES])


@pytest.mark.parametrize("k", range(2, 9))
def test_close_tuples_keep_their_relative_accuracy(k):
    kinds = close_tuples(k, 64)
    signs = np.where(np.arange(k) % 2, -1, 1).astype(np.float32)[:, None]
    found = errors(np.concatenate([kinds, kinds * signs]))
    assert np.all(np.median(found, axis=1) <= 1e-6), np.median(found, axis=1)
    assert np.max(found) <= 1e-5


def test_published_size():
    found = errors(close_tuples(4, 512))
    assert np.all(np.median(found, axis=1) <= 1e-6), np.median(found, axis=1)


@pytest.mark.parametrize("k", [3, 6])
def test_coplanar_tuples_that_are_not_close(k):
    rng = np.random.default_rng(k)
    kinds = [samples.nearly_coplanar(rng, EACH, k, 64, x, np.float32) for x in DISTANCES]
    found = errors(np.concatenate(kinds))
    assert np.max(found) <= 1e-4
    assert np.all(np.median(found, axis=1) <= 1e-8 / np.array(DISTANCES) + 2e-7)


def test_pairs_close_within_but_not_between():
    rng = np.random.default_rng(0)
    kinds = [
        np.concatenate([samples.close(rng, EACH, 2, 64, x) for _ in range(2)], axis=1)
        for x in DISTANCES
    ]
    found = errors(np.concatenate(kinds).astype(np.float32))
    assert np.max(found) <= 1e-3
    assert np.all(np.median(found[:3], axis=1) <= 1e-5)


def test_log_volume_is_as_accurate():
    vectors = close_tuples(5, 64)
    exact = np.log(reference.volume(vectors))
    np.testing.assert_allclose(jax.jit(log_volume)(vectors), exact, atol=1e-5, rtol=1e-6)


def test_log_volume_outlives_the_volume():
    rng = np.random.default_rng(0)
    vectors = samples.close(rng, 4, 16, 64, 1e-3, np.float32)
    found = jax.jit(orthonormal_basis)(vectors)
    exact = np.log(reference.volume(vectors))
    assert np.all(exact < np.log(np.finfo(np.float32).smallest_subnormal)), "a weak test"
    np.testing.assert_array_equal(found.volume, 0)
    np.testing.assert_allclose(found.log_volume, exact, rtol=1e-5)


def test_float64_is_computed_in_float64(x64):
    vectors = np.concatenate(
        [samples.close(np.random.default_rng(0), EACH, 4, 16, x) for x in (1e-1, 1e-4, 1e-8)]
    )
    found = jitted_volume(vectors)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.asarray(reference.volume(vectors), float), rtol=1e-13)


def test_determinant_and_plain_cholesky_fail_where_this_does_not():
    vectors = samples.close(np.random.default_rng(0), EACH, 4, 64, 1e-4, np.float32)
    exact = np.asarray(reference.volume(vectors), np.float64)
    gram = vectors @ np.swapaxes(vectors, 1, 2)
    determinant = np.sqrt(np.abs(np.linalg.det(gram)))
    cholesky = jax.numpy.linalg.cholesky(gram)
    assert np.median(np.abs(determinant / exact - 1)) > 1
    assert np.isnan(np.asarray(cholesky)).any()
    np.testing.assert_allclose(jitted_volume(vectors), exact, rtol=1e-5)
