"""Norms and roots at zero, at the ends of the range of floats, and in between."""

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import norm, normalize
from gramalign.geometry.norms import sqrt


def test_roots_have_no_slope_at_zero():
    values, slopes = jax.vmap(jax.value_and_grad(sqrt))(jnp.array([-1.0, 0.0, 4.0, jnp.nan]))
    np.testing.assert_array_equal(values, [0, 0, 2, np.nan])
    np.testing.assert_array_equal(slopes, [0, 0, 0.25, np.nan])


def test_norm_and_direction_of_nothing_have_no_slope():
    zero = jnp.zeros(3)
    np.testing.assert_array_equal(jax.grad(norm)(zero), 0)
    np.testing.assert_array_equal(jax.hessian(norm)(zero), 0)
    np.testing.assert_array_equal(normalize(zero), 0)
    np.testing.assert_array_equal(jax.jacobian(normalize)(zero), 0)


def test_directions_at_both_ends_of_the_range():
    x = jnp.array([[3e30, 4e30], [3e-30, 4e-30], [3.0, 4.0]])
    np.testing.assert_allclose(normalize(x), [[0.6, 0.8]] * 3, rtol=1e-6)
    assert normalize(x.astype(jnp.bfloat16)).dtype == jnp.float32


def test_the_derivative_of_a_direction():
    x = np.array([1.0, -2.0, 0.5], np.float32)
    unit, length = x / np.linalg.norm(x), np.linalg.norm(x)
    exact = (np.eye(3) - np.outer(unit, unit)) / length
    np.testing.assert_allclose(jax.jacobian(normalize)(jnp.asarray(x)), exact, atol=1e-6)
