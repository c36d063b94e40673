"""The leading direction: by both methods, its sign, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import leading_direction
from tests import reference, samples

METHODS = ("eigh", "power")
K, D = 3, 8


@jax.jit
def directions(vectors, present=None):
    return jnp.stack([leading_direction(vectors, present, method=m) for m in METHODS])


def test_both_methods_give_the_leading_singular_vector():
    rng = np.random.default_rng(0)
    kinds = [samples.unit(rng, 8, K, D)]
    kinds += [samples.close(rng, 8, K, D, x) for x in (1, 1e-1, 1e-2, 1e-4)]
    vectors = np.concatenate(kinds).astype(np.float32)
    for found in directions(vectors):
        np.testing.assert_allclose(found, reference.leading_direction(vectors), atol=5e-5)
        np.testing.assert_allclose(found[8:], reference.leading_direction(vectors)[8:], atol=2e-6)


def test_it_points_towards_the_mean():
    vectors = samples.close(np.random.default_rng(0), 64, K, D, 1.0, np.float32)
    for found in directions(vectors):
        assert np.all(np.sum(found * vectors.mean(axis=1), axis=-1) > 0)
    for found, turned in zip(directions(vectors), directions(-vectors), strict=True):
        np.testing.assert_allclose(turned, -found, atol=1e-5)


def test_order_decides_nothing_where_there_is_a_mean():
    vectors = samples.close(np.random.default_rng(0), 16, K, D, 0.5, np.float32)
    np.testing.assert_allclose(directions(vectors), directions(vectors[:, ::-1]), atol=2e-6)


def test_without_a_mean_along_it_it_points_as_the_first_modality_does():
    """Two vectors at an obtuse angle lead along their difference, to which their mean is square."""
    angle = np.linspace(1.7, 3.1, 8)
    first, second = (np.stack([np.cos(x), np.sin(x), 0 * x], axis=1) for x in (0 * angle, angle))
    found = directions(np.stack([first, second], axis=1).astype(np.float32))
    exact = samples.normalized(first - second)
    np.testing.assert_allclose(found, np.stack([exact, exact]), atol=1e-5)


def test_absent_modalities_do_not_count():
    vectors = samples.close(np.random.default_rng(0), 3, K, D, 0.5, np.float32)
    present = np.array([[True, False, True], [False, True, False], [False, False, False]])
    broken = np.where(present[..., None], vectors, np.float32(np.nan))
    for found in directions(jnp.asarray(broken), jnp.asarray(present)):
        exact = reference.leading_direction(vectors[0, [0, 2]])
        np.testing.assert_allclose(found[0], exact, atol=1e-5)
        np.testing.assert_allclose(found[1], vectors[1, 1], atol=1e-6)
        np.testing.assert_array_equal(found[2], 0)


def repeated(rng, number, values):
    """Tuples with the given singular values, in general position, as float32."""
    right = np.linalg.qr(rng.normal(size=(number, D, K)))[0]
    left = np.linalg.qr(rng.normal(size=(number, K, K)))[0]
    return np.einsum("nij,j,ndj->nid", left, np.array(values), right).astype(np.float32)


def test_repeated_values_give_some_unit_vector_of_the_leading_space():
    rng = np.random.default_rng(0)
    vectors = np.concatenate([repeated(rng, 32, x) for x in ([1, 1, 1], [1, 1, 0.3])])
    leading = np.linalg.svd(vectors.astype(np.float64), full_matrices=False)[2]
    space = np.concatenate([leading[:32], leading[32:] * np.array([[1], [1], [0]])])
    for found in directions(vectors):
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-5)
        inside = np.linalg.norm(np.einsum("nkd,nd->nk", space, found), axis=-1)
        np.testing.assert_allclose(inside, 1, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_finite_where_values_repeat(method):
    """In a few per cent of these, lambda_1 - G is singular to the last bit."""
    rng = np.random.default_rng(0)
    vectors = np.concatenate([repeated(rng, 500, x) for x in ([1, 1, 1], [1, 1, 0.3])])

    def first(x):
        return leading_direction(x, method=method)[0]

    gradients = jax.jit(jax.vmap(jax.grad(first)))(vectors)
    assert np.isfinite(gradients).all()
    assert np.abs(gradients).max() < 10


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_finite_differences(method, x64):
    rng = np.random.default_rng(0)
    vectors = np.stack([samples.unit(rng, K, D), samples.close(rng, 1, K, D, 0.3)[0]])
    target, along = samples.unit(rng, D), samples.unit(rng, K, D)

    def share(x):
        return leading_direction(x, method=method) @ target

    def both(x):
        return jax.grad(share)(x), jax.jvp(jax.grad(share), (x,), (along,))[1]

    gradients, seconds = jax.jit(jax.vmap(both))(vectors)
    for x, gradient, second in zip(vectors, gradients, seconds, strict=True):

        def exact(y):
            return reference.leading_direction(y) @ target

        def exact_gradient(y):
            return reference.gradient(exact, y, 1e-4)

        np.testing.assert_allclose(gradient, reference.gradient(exact, x), atol=1e-8)
        change = reference.directional_derivative(exact_gradient, x, along, 1e-4)
        np.testing.assert_allclose(second, change, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_finite_everywhere(dtype):
    cases = {name: x[:K] for name, x in samples.singular_tuples(K + 1, D, dtype).items()}
    cases["orthonormal"] = samples.orthonormal(np.random.default_rng(0), K, D, dtype)

    def first(method):
        return lambda x: leading_direction(x, method=method)[0]

    def everything(x):
        return [(jax.grad(first(m))(x), jax.hessian(first(m))(x)) for m in METHODS]

    with jax.enable_x64(dtype == np.float64):
        found = jax.jit(jax.vmap(everything))(np.stack(list(cases.values())))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
