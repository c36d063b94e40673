"""Singular values against numpy's, and derivatives where values repeat or vanish."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import singular_values
from tests import reference, samples

K, D = 4, 8

values_of = jax.jit(singular_values)


@pytest.mark.parametrize("k", [1, 2, 4, 16])
def test_values(k):
    vectors = samples.unit(np.random.default_rng(k), 6, k, 12, dtype=np.float32)
    found = values_of(vectors)
    np.testing.assert_allclose(found, reference.singular_values(vectors), atol=1e-5)
    np.testing.assert_allclose(np.sum(np.square(found), axis=-1), k, rtol=1e-5)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 1e-4])
def test_close_tuples_largest_first(distance):
    vectors = samples.close(np.random.default_rng(0), 64, 4, 64, distance, np.float32)
    found, exact = np.asarray(values_of(vectors)), reference.singular_values(vectors)
    assert np.all(np.diff(found, axis=1) <= 0)
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=1e-6)
    # Small ones are known to the root of the rounding of the Gram matrix, in the worst case.
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_absent_modalities_add_zeros_at_the_end():
    masks = np.array(list(product([False, True], repeat=K)))
    vectors = samples.unit(np.random.default_rng(0), len(masks), K, D, dtype=np.float32)
    broken = np.where(masks[..., None], vectors, np.float32(np.nan))
    derivative = jax.vmap(jax.value_and_grad(lambda x, m: singular_values(x, m)[0]))
    largest, gradients = jax.jit(derivative)(jnp.asarray(broken), jnp.asarray(masks))
    found = np.asarray(values_of(jnp.asarray(broken), jnp.asarray(masks)))
    for i, mask in enumerate(masks):
        exact = reference.singular_values(vectors[i, mask]) if mask.any() else np.zeros(0)
        np.testing.assert_allclose(found[i, : mask.sum()], exact, atol=2e-6)
        np.testing.assert_array_equal(found[i, mask.sum() :], 0)
        np.testing.assert_array_equal(gradients[i][~mask], 0)
    np.testing.assert_allclose(largest, found[:, 0], rtol=1e-6)
    assert np.isfinite(gradients).all()


def weighted(x):
    """Any function of distinct values, and two that are smooth at repeated ones as well."""
    values = singular_values(x)
    return jnp.stack([jnp.vdot(values, jnp.array([3.0, -1, 2, 0.5], values.dtype)), values.sum()])


@jax.jit
@jax.vmap
def derivatives(x):
    return jax.jacrev(weighted)(x), jax.hessian(weighted)(x)


def exact_derivatives(x, entry):
    """U diag(weights) W^T, the derivative of weights . sigma."""
    left, values, right = np.linalg.svd(x, full_matrices=False)
    weights = np.array([3.0, -1, 2, 0.5]) if entry == 0 else np.ones(K)
    return (left * weights) @ right


def cases():
    rng = np.random.default_rng(0)
    basis = samples.orthonormal(rng, K, D)
    return {
        "generic": samples.unit(rng, K, D),
        "close": samples.close(rng, 1, K, D, 1e-2)[0],
        "orthonormal": basis,
        "repeated": samples.orthonormal(rng, K, K) @ (np.array([[2.0], [2], [1], [1]]) * basis),
        **samples.singular_tuples(K, D),
    }


def test_gradients_are_finite_differences(x64):
    found = dict(zip(cases(), zip(*derivatives(np.stack(list(cases().values()))), strict=True)))
    for name in ("generic", "close", "orthonormal", "repeated"):
        x, (gradient, _) = cases()[name], found[name]
        for entry in (1,) if name in ("orthonormal", "repeated") else (0, 1):
            np.testing.assert_allclose(gradient[entry], exact_derivatives(x, entry), atol=1e-9)

            def function(y, entry=entry):
                weights = np.array([3.0, -1, 2, 0.5]) if entry == 0 else np.ones(K)
                return reference.singular_values(y) @ weights

            step = 1e-7 if name == "close" else 1e-5
            np.testing.assert_allclose(
                gradient[entry], reference.gradient(function, x, step), atol=1e-7
            )


def test_second_derivatives_are_finite_differences_of_first(x64):
    found = derivatives(np.stack(list(cases().values())))[1][0]
    x = cases()["generic"]
    for entry in range(2):
        for place in np.ndindex(K, D):
            along = np.zeros((K, D))
            along[place] = 1
            exact = reference.directional_derivative(
                lambda y, entry=entry: exact_derivatives(y, entry), x, along
            )
            np.testing.assert_allclose(found[entry][place], exact, atol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite_everywhere(dtype):
    with jax.enable_x64(dtype == np.float64):
        gradients, hessians = derivatives(np.stack(list(cases().values())).astype(dtype))
    for name, gradient, hessian in zip(cases(), gradients, hessians, strict=True):
        assert np.isfinite(gradient).all() and np.isfinite(hessian).all(), name
        assert np.abs(hessian).max() < 1e4, name


def test_a_value_of_zero_has_derivative_zero():
    x = jnp.asarray(samples.singular_tuples(K, D, np.float32)["all alike"])
    of_each = jax.jit(jax.jacrev(singular_values))(x)
    np.testing.assert_allclose(of_each[0], np.asarray(x) / np.sqrt(K), atol=1e-6)
    np.testing.assert_array_equal(of_each[1:], 0)
