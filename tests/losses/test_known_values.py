"""Values that need no reference: chance, perfect alignment, orthogonality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign import losses
from tests import samples


@pytest.mark.parametrize("k", [2, 3, 4])
def test_alignment_of_orthogonal_and_of_parallel_modalities(k):
    names = "abcd"[:k]
    basis = samples.orthonormal(np.random.default_rng(0), k, 8, np.float32)
    orthogonal = {m: jnp.asarray(basis[i][None]) for i, m in enumerate(names)}
    parallel = {m: jnp.asarray((-1) ** i * basis[:1]) for i, m in enumerate(names)}
    alignment = jax.jit(losses.pmrl_alignment)
    np.testing.assert_allclose(alignment(orthogonal), np.log(k), rtol=1e-5)
    # Not 0 by rounding, as a log-sum-exp would say: exp(-sqrt(k) / 0.05), k - 1 times.
    exact = np.log1p((k - 1) * np.exp(-np.sqrt(k) / 0.05))
    np.testing.assert_allclose(alignment(parallel), exact, rtol=1e-4)


def test_the_instance_term_has_a_constant_positive():
    """Alike directions cost log(batch); orthogonal ones log(1 + (b - 1) exp(-1 / tau))."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 4, 8, np.float32))
    instance = jax.jit(losses.pmrl_instance)
    alike = jnp.broadcast_to(basis[:1], basis.shape)
    np.testing.assert_allclose(instance({"a": alike, "b": alike}), np.log(4), rtol=1e-5)
    exact = np.log1p(3 * np.exp(-10))
    np.testing.assert_allclose(instance({"a": basis, "b": basis}), exact, rtol=1e-5)


def test_a_loss_of_aligned_examples_keeps_its_digits():
    """Far below the rounding of a log-sum-exp: softplus of the difference, not a difference."""
    basis = jnp.asarray(samples.orthonormal(np.random.default_rng(0), 4, 8, np.float32))
    loss = jax.jit(lambda x: losses.clip(x, anchor="a", temperature=0.03))
    found = loss({"a": basis, "b": basis})
    np.testing.assert_allclose(found, np.log1p(3 * np.exp(-1 / 0.03)), rtol=1e-4)
