"""A missing vector is a mask: the same volume and gradient as of those present alone."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import gram_matrix, volume
from tests import reference, samples

K, D = 4, 16
MASKS = np.array(list(product([False, True], repeat=K)))


def masked_tuples():
    """Every mask once, garbage in the absent rows, and the tuples without it."""
    vectors = samples.unit(np.random.default_rng(0), len(MASKS), K, D, dtype=np.float32)
    garbage = np.where(np.arange(D) % 3 == 0, np.nan, np.inf).astype(np.float32)
    return np.where(MASKS[..., None], vectors, garbage), vectors


def test_values_and_gradients_are_those_of_the_subset():
    broken, vectors = masked_tuples()
    derivative = jax.vmap(jax.value_and_grad(volume))
    values, gradients = jax.jit(derivative)(jnp.asarray(broken), jnp.asarray(MASKS))
    for mask, tuple_, value, gradient in zip(MASKS, vectors, values, gradients, strict=True):
        np.testing.assert_allclose(value, reference.volume(tuple_[mask]), rtol=2e-6)
        np.testing.assert_array_equal(gradient[~mask], 0)
        exact = reference.volume_gradient(tuple_[mask])
        np.testing.assert_allclose(gradient[mask], exact, atol=2e-6)


def test_no_vector_present_is_volume_one():
    found = jax.jit(volume)(jnp.full((K, D), jnp.nan), jnp.zeros(K, bool))
    assert found == 1


def test_an_absent_row_of_the_gram_matrix_is_one_of_the_identity():
    broken, vectors = masked_tuples()
    found = np.asarray(jax.jit(gram_matrix)(jnp.asarray(broken), jnp.asarray(MASKS)))
    both = MASKS[:, :, None] & MASKS[:, None, :]
    exact = np.where(both, vectors @ np.swapaxes(vectors, 1, 2), np.eye(K))
    np.testing.assert_allclose(found, exact, atol=1e-6)
    determinants = np.sqrt(np.linalg.det(found.astype(np.float64)))
    np.testing.assert_allclose(
        determinants, jax.jit(volume)(jnp.asarray(broken), jnp.asarray(MASKS)), rtol=1e-5
    )
