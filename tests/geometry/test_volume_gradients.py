"""Derivatives of the volume: right where they exist, finite everywhere."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import log_volume, volume
from gramalign.geometry.height import height
from tests import reference, samples

K, D = 4, 8

gradients = jax.jit(jax.vmap(jax.grad(volume)))


def regular_tuples():
    """Tuples of full rank, and how large a step finite differences may take beside each."""
    rng = np.random.default_rng(0)
    return {
        "generic": (samples.unit(rng, K, D), 1e-4),
        "other lengths": (rng.normal(size=(K, D)) * [[0.1], [3], [1], [10]], 1e-4),
        "orthonormal": (samples.orthonormal(rng, K, D), 1e-4),
        "close": (samples.close(rng, 1, K, D, 1e-2)[0], 1e-6),
        "antipodal": (samples.close(rng, 1, K, D, 1e-2)[0] * [[1], [-1], [-1], [1]], 1e-6),
        "nearly coplanar": (samples.nearly_coplanar(rng, 1, K, D, 1e-2)[0], 1e-6),
    }


@cache
def derivatives(dtype):
    """Volume, its gradient, that of its logarithm, and its Hessian, at every tuple by name."""
    tuples = {name: x for name, (x, _) in regular_tuples().items()} | samples.singular_tuples(K, D)

    def everything(x):
        return volume(x), jax.grad(volume)(x), jax.grad(log_volume)(x), jax.hessian(volume)(x)

    with jax.enable_x64(dtype == np.float64):
        found = jax.jit(jax.vmap(everything))(np.stack(list(tuples.values())).astype(dtype))
        found = [np.asarray(x) for x in found]
    return dict(zip(tuples, zip(*found, strict=True), strict=True))


@pytest.mark.parametrize("name", regular_tuples())
def test_they_are_finite_differences_where_the_volume_is_smooth(name):
    x, step = regular_tuples()[name]
    value, gradient, of_logarithm, hessian = derivatives(np.float64)[name]
    exact = reference.gradient(reference.volume, x, step)
    np.testing.assert_allclose(gradient, exact, atol=1e-6 * np.abs(exact).max())
    np.testing.assert_allclose(of_logarithm, gradient / value, rtol=1e-9)
    steps = np.eye(K * D).reshape(K, D, K, D)
    exact = reference.directional_derivative(reference.volume_gradient, x, steps, step)
    np.testing.assert_allclose(hessian, exact, atol=1e-6 * np.abs(exact).max())


def test_third_derivatives(x64):
    """Of the volume, and of a height, which depends on the basis: along a line, by the formula."""
    at, along = np.random.default_rng(0).normal(size=(2, 3, 5))

    def dense(x):
        return jnp.sqrt(jnp.linalg.det(x @ x.T))

    def third(f):
        return jax.grad(jax.grad(jax.grad(lambda t: f(at + t * along))))

    pairs = [volume, dense, lambda x: height(x[0], x[1:]), lambda x: dense(x) / dense(x[1:])]
    of_volume, exact, of_height, exact_height = jax.jit(lambda t: [third(f)(t) for f in pairs])(0.0)
    np.testing.assert_allclose(of_volume, exact, rtol=1e-9)
    np.testing.assert_allclose(of_height, exact_height, rtol=1e-9)


@pytest.mark.parametrize("name", samples.singular_tuples(K, D))
def test_dependent_tuples_have_none(name):
    for dtype in (np.float32, np.float64):
        for number in derivatives(dtype)[name]:
            assert number.dtype == dtype
            np.testing.assert_array_equal(number, 0)


@pytest.mark.parametrize("name", samples.singular_tuples(K, D))
def test_nor_do_finite_differences_see_one(name):
    """Across a kink |h| the central difference is 0 as well; at a lower rank the volume is flat."""
    x = samples.singular_tuples(K, D)[name]
    np.testing.assert_allclose(reference.gradient(reference.volume, x), 0, atol=1e-9)


def test_float32_gradients_of_close_tuples():
    rng = np.random.default_rng(0)
    kinds = [samples.close(rng, 8, K, D, x, np.float32) for x in (1e-1, 1e-2, 1e-3, 1e-4)]
    vectors = np.concatenate(kinds)
    exact = reference.volume_gradient(vectors)
    error = np.abs(gradients(vectors) - exact).max(axis=(1, 2)) / np.abs(exact).max(axis=(1, 2))
    assert np.max(error) < 1e-5, error.reshape(4, 8).max(axis=1)
