"""The leading direction: by both methods, its sign, and its derivatives."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import leading_direction
from tests import reference, samples

METHODS = ("eigh", "power")
K, D = 3, 8
ROOM = 64  # for one compilation


@jax.jit
def compiled(vectors, present):
    return jnp.stack([leading_direction(vectors, present, method=m) for m in METHODS])


def directions(vectors, present=None):
    """By both methods, [2, n, D]."""
    size = len(vectors)
    padding = np.zeros((ROOM - size, K, D), np.float32)
    present = np.ones((size, K), bool) if present is None else present
    present = np.concatenate([present, np.ones((ROOM - size, K), bool)])
    vectors = np.concatenate([vectors.astype(np.float32), padding])
    return np.asarray(compiled(jnp.asarray(vectors), jnp.asarray(present)))[:, :size]


@pytest.mark.parametrize("distance", [10, 1, 1e-1, 1e-2, 1e-4])
def test_both_methods_give_the_leading_singular_vector(distance):
    vectors = samples.close(np.random.default_rng(0), 32, K, D, distance, np.float32)
    exact = reference.leading_direction(vectors)
    for found in directions(vectors):
        np.testing.assert_allclose(found, exact, atol=1e-4 if distance > 1 else 2e-6)


def test_it_points_towards_the_mean():
    vectors = samples.close(np.random.default_rng(0), ROOM, K, D, 1.0, np.float32)
    found, turned = directions(vectors), directions(-vectors)
    assert np.all(np.sum(found * vectors.mean(axis=1), axis=-1) > 0)
    np.testing.assert_allclose(turned, -found, atol=1e-5)


def test_order_decides_nothing_where_there_is_a_mean():
    vectors = samples.close(np.random.default_rng(0), 16, K, D, 0.5, np.float32)
    np.testing.assert_allclose(directions(vectors), directions(vectors[:, ::-1]), atol=2e-6)


def test_without_a_mean_along_it_it_points_as_the_first_modality_does():
    """Two vectors at an obtuse angle lead along their difference, orthogonal to their mean."""
    angle = np.linspace(1.7, 3.1, 8)
    vectors = np.zeros((8, K, D))
    vectors[:, 0, 0] = 1
    vectors[:, 1, :2] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    present = np.array([[True, True, False]] * 8)
    exact = samples.normalized(vectors[:, 0] - vectors[:, 1])
    np.testing.assert_allclose(directions(vectors, present), [exact, exact], atol=1e-5)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_rounding_leaves_that_rule_alone(method, k):
    """At slightly obtuse angles rounding turns the direction by much more than its own size."""
    pairs = samples.unit(np.random.default_rng(0), 4096, 2, 64)
    cosine = np.einsum("nd,nd->n", *pairs.transpose(1, 0, 2))
    obtuse = np.zeros((1024, k, 64), np.float32)
    obtuse[:, :2] = pairs[(cosine < -1e-4) & (cosine > -0.2)][:1024]
    found = leading_direction(jnp.asarray(obtuse), method=method)
    assert (np.sum(np.asarray(found) * obtuse[:, 0], axis=1) > 0).all()


@pytest.mark.parametrize(
    "dtypes", [("bfloat16",) * 2, ("float32", "bfloat16"), ("float16", "float32"), ("float16",) * 2]
)
def test_half_precision_leaves_that_rule_alone(dtypes):
    """Rounding changes lengths, so that the mean is no longer orthogonal to it."""
    vectors = samples.unit(np.random.default_rng(0), 64, 2, 32)
    obtuse = vectors[np.einsum("nd,nd->n", *vectors.transpose(1, 0, 2)) < -0.02]
    # Whatever one of them came in, both are in one dtype when they meet.
    meet = "bfloat16" if set(dtypes) == {"bfloat16"} else "float32"
    both = [jnp.asarray(x, kind) for x, kind in zip(obtuse.swapaxes(0, 1), dtypes, strict=True)]
    narrow = jnp.stack([x.astype(meet) for x in both], axis=1)
    exact = samples.normalized(obtuse[:, 0] - obtuse[:, 1])
    for method in METHODS:
        found = jax.jit(lambda x, m=method: leading_direction(x, method=m))(narrow)
        assert (np.sum(np.asarray(found) * exact, axis=1) > 0.99).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_whatever_it_came_in_it_points_towards_a_mean_that_is_there(dtype):
    tuples = jnp.asarray(samples.unit(np.random.default_rng(0), 2000, 4, 64), dtype)
    mean = np.asarray(tuples, np.float64).mean(axis=1)
    along = np.sum(np.asarray(leading_direction(tuples)) * mean, axis=1)
    # Of vectors in all directions the mean may be orthogonal to it up to rounding.
    assert np.mean(along < 0) <= (0 if dtype == "float32" else 0.04)


def test_absent_modalities_do_not_count():
    vectors = samples.close(np.random.default_rng(0), 3, K, D, 0.5, np.float32)
    present = np.array([[True, False, True], [False, True, False], [False, False, False]])
    broken = np.where(present[..., None], vectors, np.nan)
    for found in directions(broken, present):
        exact = reference.leading_direction(vectors[0, [0, 2]])
        np.testing.assert_allclose(found[0], exact, atol=1e-5)
        np.testing.assert_allclose(found[1], vectors[1, 1], atol=1e-6)
        np.testing.assert_array_equal(found[2], 0)


def repeated(rng, number, values):
    """Tuples with the given singular values, in general position."""
    right = np.linalg.qr(rng.normal(size=(number, D, K)))[0]
    left = np.linalg.qr(rng.normal(size=(number, K, K)))[0]
    return np.einsum("nij,j,ndj->nid", left, np.array(values), right)


@pytest.mark.parametrize("values", [[1, 1, 1], [1, 1, 0.3]])
def test_repeated_values_give_some_unit_vector_of_the_leading_space(values):
    """On the side of the mean, though no vector's inner product with it is known."""
    vectors = repeated(np.random.default_rng(0), 32, values)
    leading = np.linalg.svd(vectors, full_matrices=False)[2][:, : values.count(1)]
    for found in directions(vectors):
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, rtol=1e-5)
        inside = np.linalg.norm(np.einsum("nkd,nd->nk", leading, found), axis=-1)
        np.testing.assert_allclose(inside, 1, rtol=1e-5)
        assert np.min(np.sum(found * vectors.mean(axis=1), axis=-1)) > -1e-6


TARGET = samples.unit(np.random.default_rng(1), D)
ALONG = samples.unit(np.random.default_rng(2), K, D)


def regular():
    rng = np.random.default_rng(0)
    return np.stack([samples.unit(rng, K, D), samples.close(rng, 1, K, D, 0.3)[0]])


def singular():
    rng = np.random.default_rng(0)
    few = [x[:K] for x in samples.singular_tuples(K + 1, D).values()]
    many = [repeated(rng, 500, x) for x in ([1, 1, 1], [1, 1, 0.3])]
    return np.concatenate([few, np.eye(K, D)[None], *many])


@cache
def derivatives(dtype):
    """Of <u, TARGET>: the gradient, and its derivative along ALONG, at all tuples."""

    def both(x, method):
        def slope(y):
            return leading_direction(y, method=method) @ TARGET.astype(dtype)

        return jax.jvp(jax.grad(slope), (x,), (jnp.asarray(ALONG, dtype),))

    def everything(x):
        return [both(x, method) for method in METHODS]

    with jax.enable_x64(dtype == np.float64):
        vectors = np.concatenate([regular(), singular()]).astype(dtype)
        return jax.tree.map(np.asarray, jax.jit(jax.vmap(everything))(vectors))


@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_finite_differences(method):
    gradients, seconds = derivatives(np.float64)[METHODS.index(method)]

    def share(x):
        return reference.leading_direction(x) @ TARGET

    def exact_gradient(x):
        return reference.gradient(share, x, 1e-4)

    for i, x in enumerate(regular()):
        np.testing.assert_allclose(gradients[i], reference.gradient(share, x), atol=1e-8)
        change = reference.directional_derivative(exact_gradient, x, ALONG, 1e-4)
        np.testing.assert_allclose(seconds[i], change, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_derivatives_are_finite_everywhere(method, dtype):
    """Of the repeated values, a few per cent make lambda_1 - G singular to the last bit."""
    gradients, seconds = derivatives(dtype)[METHODS.index(method)]
    assert np.isfinite(gradients).all() and np.isfinite(seconds).all()
    assert np.abs(gradients[len(regular()) :]).max() < 10
