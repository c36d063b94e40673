"""Norms and roots at zero, at the ends of the range of floats, and in between."""

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import norm, normalize
from gramalign.geometry.norms import sqrt


def test_roots_have_no_slope_at_zero():
    x = jnp.array([-1.0, 0.0, 4.0, jnp.nan])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(sqrt)))(x)
    np.testing.assert_array_equal(values, [0, 0, 2, np.nan])
    np.testing.assert_array_equal(slopes, [0, 0, 0.25, np.nan])


def test_derivatives_of_length_and_direction():
    def everything(x):
        return jax.grad(norm)(x), jax.hessian(norm)(x), jax.jacobian(normalize)(x)

    x = np.array([1.0, -2.0, 0.5], np.float32)
    unit, length = x / np.linalg.norm(x), np.linalg.norm(x)
    turn = (np.eye(3) - np.outer(unit, unit)) / length
    found = jax.jit(jax.vmap(everything))(np.stack([x, 0 * x]))
    for (regular, at_zero), exact in zip(found, (unit, turn, turn), strict=True):
        np.testing.assert_allclose(regular, exact, atol=1e-6)
        np.testing.assert_array_equal(at_zero, 0)


def test_directions_at_both_ends_of_the_range():
    x = jnp.array([[3e30, 4e30], [3e-30, 4e-30], [3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(normalize(x), [[0.6, 0.8]] * 3 + [[0, 0]], rtol=1e-6)
    assert normalize(x.astype(jnp.bfloat16)).dtype == jnp.float32
