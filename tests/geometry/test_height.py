"""Heights above spans: digits near them, the volume's factorisation, dependent others, slopes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from gramalign.geometry import height, volume
from tests import reference, samples

BATCH, DIM = 8, 16


def exact(vectors, others):
    pairs = zip(np.float64(vectors), np.float64(others), strict=True)
    return np.array([reference.height(x, m) for x, m in pairs])


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_it_is_what_least_squares_leave(k):
    vectors, others = np.split(
        samples.unit(np.random.default_rng(k), BATCH, k + 1, DIM, dtype=np.float32), [1], axis=1
    )
    found = height(jnp.asarray(3 * vectors[:, 0]), jnp.asarray(others))
    np.testing.assert_allclose(found, 3 * exact(vectors[:, 0], others), rtol=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-5])
def test_a_vector_near_one_of_the_others_keeps_its_digits(distance, sign):
    rng = np.random.default_rng(0)
    others = samples.unit(rng, BATCH, 3, DIM, dtype=np.float32)
    vectors = sign * others[:, 1] + distance * samples.unit(rng, BATCH, DIM)
    vectors = vectors.astype(np.float32)
    np.testing.assert_allclose(
        height(jnp.asarray(vectors), jnp.asarray(others)), exact(vectors, others), rtol=2e-5
    )


@pytest.mark.parametrize(("k", "distance"), [(3, 1e-5), (15, 1e-4)])
def test_the_slope_is_a_unit_vector_orthogonal_to_the_others_however_near_their_span(k, distance):
    rng = np.random.default_rng(0)
    others = samples.unit(rng, BATCH, k, DIM, dtype=np.float32)
    vectors = samples.normalized(np.sum(others, axis=1)) + distance * samples.unit(rng, BATCH, DIM)
    slopes = jax.jit(jax.vmap(jax.grad(height)))(vectors.astype(np.float32), others)
    np.testing.assert_allclose(np.linalg.norm(slopes, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.einsum("nkd,nd->nk", others, slopes), 0, atol=5e-7)


def test_whole_tuples_that_are_close_keep_their_digits():
    tuples = samples.close(np.random.default_rng(0), BATCH, 4, DIM, 1e-4, np.float32)
    np.testing.assert_allclose(
        height(jnp.asarray(tuples[:, 0]), jnp.asarray(tuples[:, 1:])),
        exact(tuples[:, 0], tuples[:, 1:]),
        rtol=1e-4,
    )


def test_a_volume_is_the_others_volume_times_the_height(x64):
    tuples = jnp.asarray(samples.unit(np.random.default_rng(0), BATCH, 4, DIM))
    product = volume(tuples[:, 1:]) * height(tuples[:, 0], tuples[:, 1:])
    np.testing.assert_allclose(product, volume(tuples), rtol=1e-12)


def test_vectors_within_the_span_are_at_height_0_with_slope_0():
    rng = np.random.default_rng(0)
    others = samples.unit(rng, BATCH, 3, DIM, dtype=np.float32)
    for within in (others[:, 2], -others[:, 0], np.float32(others[:, 0] - 0.7 * others[:, 1])):
        values, slopes = jax.vmap(jax.value_and_grad(height, argnums=(0, 1)))(within, others)
        for x in (values, *slopes):
            np.testing.assert_array_equal(x, 0)


def test_dependent_others_span_what_the_independent_ones_do():
    rng = np.random.default_rng(0)
    vectors = samples.unit(rng, BATCH, DIM, dtype=np.float32)
    others = samples.unit(rng, BATCH, 3, DIM, dtype=np.float32)
    expected = exact(vectors, others)
    twice = np.concatenate([others, others[:, :1], -others[:, 1:2]], axis=1)
    np.testing.assert_allclose(height(vectors, twice), expected, rtol=1e-5)
    slope = jax.grad(lambda x: jnp.sum(height(x, twice)))(jnp.asarray(vectors))
    for x, m, found in zip(vectors, others, slope, strict=True):
        residual = x - np.linalg.lstsq(m.T, x, rcond=None)[0] @ m
        np.testing.assert_allclose(found, residual / np.linalg.norm(residual), atol=1e-5)


def test_absent_others_do_not_count():
    rng = np.random.default_rng(0)
    vectors = samples.unit(rng, BATCH, DIM, dtype=np.float32)
    others = samples.unit(rng, BATCH, 3, DIM, dtype=np.float32)
    present = np.broadcast_to([True, False, True], (BATCH, 3))
    others[:, 1] = np.nan
    found = height(vectors, others, present)
    np.testing.assert_allclose(found, exact(vectors, others[:, ::2]), rtol=1e-5)
    np.testing.assert_allclose(height(vectors, others, np.zeros((BATCH, 3), bool)), 1, rtol=1e-6)


@pytest.mark.parametrize("which", ["vector", "others"])
def test_nan_is_not_hidden(which):
    vectors, others = np.ones((1, 4), np.float32), np.eye(4, dtype=np.float32)[None, :2]
    spoilt = {"vector": (vectors * np.nan, others), "others": (vectors, others * np.nan)}[which]
    assert np.isnan(height(*spoilt)).all()


@pytest.mark.parametrize("k", [1, 3])
def test_first_and_second_derivatives(k, x64):
    rng = np.random.default_rng(k)
    vector, others = samples.unit(rng, DIM), samples.unit(rng, k, DIM)
    check_grads(height, (jnp.asarray(vector), jnp.asarray(others)), order=2)


def test_half_precision_is_computed_in_float32():
    x = jnp.asarray(samples.unit(np.random.default_rng(0), BATCH, 4, DIM), jnp.bfloat16)
    found = height(x[:, 0], x[:, 1:])
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, exact(x[:, 0], x[:, 1:]), rtol=1e-5)


def test_bad_input(unchecked):
    vectors, others = jnp.ones((2, 4)), jnp.ones((2, 3, 4))
    with pytest.raises(ValueError, match="vectors must be floating point"):
        height(vectors, others.astype(int))
    for wrong in (vectors[:, :3], vectors[0], vectors.astype(int)):
        with pytest.raises(ValueError, match=r"vector must be floating point of shape \(2, 4\)"):
            height(wrong, others)
    with pytest.raises(TypeError, match="vector must be a JAX or NumPy array, got list"):
        height([vectors], others)
    with pytest.raises(ValueError, match="present must have the shape"):
        height(vectors, others, jnp.ones((2, 2), bool))
