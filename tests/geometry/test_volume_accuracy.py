"""Float32 volumes against extended precision, on the very same float32 inputs."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import orthonormal_basis
from tests import reference, samples

DISTANCES = np.array([1e-1, 1e-2, 1e-3, 1e-4])
EACH = 32

basis_of = jax.jit(orthonormal_basis)


def close_tuples(k, d):
    rng = np.random.default_rng(k)
    return np.concatenate([samples.close(rng, EACH, k, d, x, np.float32) for x in DISTANCES])


@cache
def measured(k, d=64):
    """By kind of tuple: relative error of the volume, error of its logarithm [distances, EACH]."""
    rng = np.random.default_rng(k)
    pairs = [samples.close(rng, EACH, k, d, x) for x in DISTANCES]
    strangers = [samples.close(rng, EACH, k, d, x) for x in DISTANCES]
    halves = np.arange(k)[:, None] < k // 2
    kinds = {
        "close": close_tuples(k, d),
        "antipodal": close_tuples(k, d) * np.where(np.arange(k) % 2, -1, 1)[:, None],
        "coplanar": [samples.nearly_coplanar(rng, EACH, k, d, x) for x in DISTANCES],
        "two bundles": np.where(halves, np.concatenate(pairs), np.concatenate(strangers)),
    }
    vectors = np.concatenate([np.reshape(x, (-1, k, d)) for x in kinds.values()])
    vectors = vectors.astype(np.float32)
    found, exact = basis_of(vectors), reference.volume(vectors)
    shape = (len(kinds), len(DISTANCES), EACH)
    relative = np.abs(np.asarray(found.volume) / exact - 1).reshape(shape)
    logarithm = np.abs(np.asarray(found.log_volume) - np.log(exact)).reshape(shape)
    return dict(zip(kinds, zip(relative, logarithm, strict=True), strict=True))


@pytest.mark.parametrize("k", [2, 3, 4, 8])
def test_close_and_antipodal_tuples_keep_their_relative_accuracy(k):
    for kind in ("close", "antipodal"):
        relative, logarithm = measured(k)[kind]
        assert np.all(np.median(relative, axis=1) <= 1e-6), np.median(relative, axis=1)
        assert np.max(relative) <= 1e-5
        assert np.max(logarithm) <= 2e-5


def test_the_published_size():
    relative, _ = measured(4, 512)["close"]
    assert np.all(np.median(relative, axis=1) <= 1e-6), np.median(relative, axis=1)


@pytest.mark.parametrize("k", [3, 8])
def test_coplanar_tuples_that_are_not_close(k):
    relative, _ = measured(k)["coplanar"]
    # Rounding the inputs alone moves the volume by about 1e-8 / distance.
    assert np.all(np.median(relative, axis=1) <= 1e-8 / DISTANCES + 2e-7)
    assert np.all(np.max(relative, axis=1) <= 5e-8 / DISTANCES + 1e-6)


@pytest.mark.parametrize("k", [4, 8])
def test_two_bundles_that_are_close_only_in_themselves(k):
    relative, _ = measured(k)["two bundles"]
    assert np.max(relative) <= 1e-5


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
