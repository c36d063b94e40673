"""A missing vector is a mask: the same volume and gradient as of those present alone."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import gram_matrix, orthonormal_basis
from tests import reference, samples

K, D = 4, 16
MASKS = np.array(list(product([False, True], repeat=K)))  # none present is among them


@jax.jit
@jax.vmap
def derivative(vectors, present):
    def value(x):
        found = orthonormal_basis(x, present)
        return found.volume, (found.log_volume, gram_matrix(x, present))

    return jax.value_and_grad(value, has_aux=True)(vectors)


def test_values_and_gradients_are_those_of_the_subset():
    vectors = samples.unit(np.random.default_rng(0), len(MASKS), K, D, dtype=np.float32)
    garbage = np.where(np.arange(D) % 3 == 0, np.nan, np.inf).astype(np.float32)
    broken = np.where(MASKS[..., None], vectors, garbage)
    (values, (logarithms, grams)), gradients = derivative(jnp.asarray(broken), jnp.asarray(MASKS))
    for i, mask in enumerate(MASKS):
        there = vectors[i, mask]
        np.testing.assert_allclose(values[i], reference.volume(there), rtol=2e-6)
        np.testing.assert_allclose(logarithms[i], np.log(reference.volume(there)), atol=2e-6)
        np.testing.assert_array_equal(gradients[i][~mask], 0)
        np.testing.assert_allclose(gradients[i][mask], reference.volume_gradient(there), atol=2e-6)
        identity = np.eye(K)
        identity[np.ix_(mask, mask)] = there @ there.T
        np.testing.assert_allclose(grams[i], identity, atol=1e-6)
