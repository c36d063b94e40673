"""Singular values against numpy's, and derivatives where values repeat or vanish."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import singular_values
from tests import reference, samples

K, D = 4, 8
# Of distinct values every function is smooth, of repeated ones only symmetric functions.
WEIGHTS = {"any": np.array([3.0, -1, 2, 0.5]), "symmetric": np.ones(K)}

values_of = jax.jit(singular_values)


@pytest.mark.parametrize("k", [1, 2, 16])
def test_values(k):
    """The largest to a few machine epsilons, however many rotations led to it."""
    vectors = samples.unit(np.random.default_rng(k), 64, k, 20, dtype=np.float32)
    found, exact = np.asarray(values_of(vectors)), reference.singular_values(vectors)
    np.testing.assert_allclose(found, exact, atol=1e-5)
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=3e-7)
    np.testing.assert_allclose(np.sum(np.square(found), axis=-1), k, rtol=1e-5)


@pytest.mark.parametrize("distance", [1, 1e-1, 1e-2, 1e-3, 1e-4])
def test_close_tuples_largest_first(distance):
    vectors = samples.close(np.random.default_rng(0), 64, 4, 64, distance, np.float32)
    found, exact = np.asarray(values_of(vectors)), reference.singular_values(vectors)
    assert np.all(np.diff(found, axis=1) <= 0)
    np.testing.assert_allclose(found[:, 0], exact[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_values_that_are_equal_are_in_order_too():
    """All but the last: of unit vectors at one obtuse angle to each other."""
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(400, 32, 4)))[0].mT
    vectors = np.linalg.cholesky(1.3 * np.eye(4) - 0.3) @ axes
    assert np.all(np.diff(values_of(vectors.astype(np.float32)), axis=1) <= 0)


def test_absent_modalities_add_zeros_at_the_end():
    masks = np.array(list(product([False, True], repeat=K)))
    vectors = samples.unit(np.random.default_rng(0), len(masks), K, D, dtype=np.float32)
    broken = np.where(masks[..., None], vectors, np.float32(np.nan))

    def value(x, mask):
        values = singular_values(x, mask)
        return values[0], values

    derivative = jax.jit(jax.vmap(jax.value_and_grad(value, has_aux=True)))
    (_, found), gradients = derivative(jnp.asarray(broken), jnp.asarray(masks))
    for i, mask in enumerate(masks):
        exact = np.zeros(K)
        if mask.any():
            exact[: mask.sum()] = reference.singular_values(vectors[i, mask])
        np.testing.assert_allclose(found[i], exact, atol=2e-6)
        np.testing.assert_array_equal(gradients[i][~mask], 0)
    assert np.isfinite(gradients).all()


def cases():
    rng = np.random.default_rng(0)
    basis, turn = samples.orthonormal(rng, K, D), samples.orthonormal(rng, K, K)
    return {
        "generic": samples.unit(rng, K, D),
        "close": samples.close(rng, 1, K, D, 1e-2)[0],
        "orthonormal": basis,
        "repeated": turn @ (np.array([[2.0], [2], [1], [1]]) * basis),
        **samples.singular_tuples(K, D),
    }


@cache
def derivatives(dtype):
    """Derivatives of every singular value, and the Hessians of both weighted sums, by name."""
    weights = np.stack(list(WEIGHTS.values())).astype(dtype)

    def everything(x):
        hessians = jax.hessian(lambda y: weights @ singular_values(y))(x)
        return jax.jacrev(singular_values)(x), hessians

    with jax.enable_x64(dtype == np.float64):
        found = jax.jit(jax.vmap(everything))(np.stack(list(cases().values())).astype(dtype))
        found = [np.asarray(x) for x in found]
    return dict(zip(cases(), zip(*found, strict=True), strict=True))


def exact_gradient(x, weights):
    """U diag(weights) W^T."""
    left, _, right = np.linalg.svd(x, full_matrices=False)
    return (left * weights) @ right


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("generic", "any"),
        ("generic", "symmetric"),
        ("close", "any"),
        ("orthonormal", "symmetric"),
        ("repeated", "symmetric"),
    ],
)
def test_gradients_are_finite_differences(name, kind):
    x, weights = cases()[name], WEIGHTS[kind]
    found = np.einsum("j,jkd->kd", weights, derivatives(np.float64)[name][0])
    step = 1e-7 if name == "close" else 1e-5
    exact = reference.gradient(lambda y: reference.singular_values(y) @ weights, x, step)
    np.testing.assert_allclose(found, exact, atol=1e-7)
    np.testing.assert_allclose(found, exact_gradient(x, weights), atol=1e-9)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_second_derivatives_are_finite_differences_of_first(kind):
    x = cases()["generic"]
    found = derivatives(np.float64)["generic"][1][list(WEIGHTS).index(kind)]
    steps = np.eye(K * D).reshape(K, D, K, D)
    exact = reference.directional_derivative(lambda y: exact_gradient(y, WEIGHTS[kind]), x, steps)
    np.testing.assert_allclose(found, exact, atol=1e-7)


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite_everywhere(name, dtype):
    of_each, hessians = derivatives(dtype)[name]
    assert np.isfinite(of_each).all()
    assert np.abs(hessians).max() < 1e4
    assert of_each.dtype == dtype


def test_a_value_of_zero_has_derivative_zero():
    of_each, _ = derivatives(np.float32)["all alike"]
    np.testing.assert_allclose(of_each[0], cases()["all alike"] / np.sqrt(K), atol=1e-6)
    np.testing.assert_array_equal(of_each[1:], 0)
