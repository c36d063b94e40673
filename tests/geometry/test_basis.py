"""Orthonormal bases of tuples: orthonormal, of the same span, zero where nothing is added."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry import orthonormal_basis
from tests import reference, samples

K, D = 4, 16

# Of the tuples in samples.singular_tuples.
RANKS = {
    "all alike": 1,
    "collinear": 1,
    "two alike": 3,
    "two opposite": 3,
    "zero first": 3,
    "zero later": 3,
    "all zero": 0,
    "three coplanar": 3,
    "all coplanar": 2,
}


@cache
def cases():
    """By name: a tuple, the rank of its present vectors, and which these are."""
    rng, everyone = np.random.default_rng(0), np.ones(K, bool)
    close = {x: samples.close(rng, 1, K, D, x, np.float32)[0] for x in (1, 1e-2, 1e-3, 1e-4)}
    found = {f"distance {x}": (vectors, K, everyone) for x, vectors in close.items()}
    coplanar = samples.nearly_coplanar(rng, 1, K, D, 1e-3, np.float32)[0]
    found["nearly coplanar"] = coplanar, K, everyone
    for name, x in samples.singular_tuples(K, D, np.float32).items():
        found[name] = x, RANKS[name], everyone
    for mask in ([False, True, False, True], [False] * K):
        broken = np.where(np.array(mask)[:, None], close[1], np.float32(np.nan))
        found[f"present {mask}"] = broken, sum(mask), np.array(mask)
    return found


@cache
def bases():
    vectors, _, present = zip(*cases().values(), strict=True)
    found = jax.jit(orthonormal_basis)(jnp.asarray(vectors), jnp.asarray(present))
    found = [np.asarray(x, np.float64) for x in found]
    return dict(zip(cases(), zip(*found, strict=True), strict=True))


@pytest.mark.parametrize("name", cases())
def test_orthonormal_and_of_the_same_span(name):
    (vectors, rank, present), (basis, volume, log_volume) = cases()[name], bases()[name]
    lengths = np.round((basis**2).sum(axis=1))
    np.testing.assert_allclose(basis @ basis.T, np.diag(lengths), atol=2e-6)
    assert lengths.sum() == rank
    np.testing.assert_array_equal(basis[~present], 0)
    there = vectors[present].astype(np.float64)
    np.testing.assert_allclose(there - there @ basis.T @ basis, 0, atol=2e-6)
    if rank < present.sum():
        assert volume == 0 and log_volume == -np.inf
    else:
        np.testing.assert_allclose(volume, reference.volume(there), rtol=5e-5)


def combinations(k, rank, dim):
    """Tuples `[1024, k, dim]` of k unit vectors that a few span."""
    rng = np.random.default_rng(0)
    few, weights = rng.normal(size=(1024, rank, dim)), rng.normal(size=(1024, k, rank))
    return samples.normalized(weights @ few)


@pytest.mark.parametrize(("k", "rank", "dim"), [(3, 2, 8), (6, 3, 3), (8, 4, 64)])
def test_many_that_a_few_span(k, rank, dim):
    """Of a few tuples, rounding makes one dimension more, orthogonal to the others."""
    vectors = combinations(k, rank, dim).astype(np.float32)
    basis, volume, _ = (np.asarray(x, np.float64) for x in jax.jit(orthonormal_basis)(vectors))
    lengths = np.round((basis**2).sum(axis=2))
    assert np.all(lengths.sum(axis=1) >= rank) and np.mean(lengths.sum(axis=1) > rank) < 0.05
    np.testing.assert_allclose(basis @ basis.mT, lengths[:, None] * np.eye(k), atol=2e-3)
    np.testing.assert_allclose(vectors @ basis.mT @ basis, vectors, atol=2e-3)
    np.testing.assert_allclose(volume, 0, atol=1e-6)


def test_many_that_a_few_nearly_span():
    noise = np.random.default_rng(1).normal(size=(1024, 8, 32))
    vectors = samples.normalized(combinations(8, 3, 32) + 1e-5 * noise).astype(np.float32)
    volume = jax.jit(orthonormal_basis)(vectors).volume
    assert np.quantile(np.abs(volume / reference.volume(vectors) - 1), 0.99) < 2e-3


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-4])
def test_the_span_of_close_vectors_is_known_in_every_direction(distance):
    """Their differences span all of it but one direction, and must lie in the basis too."""
    name = f"distance {distance}"
    differences = samples.normalized(np.diff(cases()[name][0].astype(np.float64), axis=0))
    basis = bases()[name][0]
    np.testing.assert_allclose(differences - differences @ basis.T @ basis, 0, atol=2e-6)


def test_projections_have_the_right_derivative(x64):
    """A basis is free to turn; the projection on its span is what it stands for."""
    rng = np.random.default_rng(0)
    vectors, other = samples.unit(rng, K, D), samples.unit(rng, D)

    def inside(x):
        return jnp.sum((orthonormal_basis(x).vectors @ other) ** 2)

    def exact(x):
        inverse = np.linalg.inv(x @ np.swapaxes(x, -1, -2))
        along = x @ other
        return np.einsum("...k,...kl,...l->...", along, inverse, along)

    value, gradient = jax.jit(jax.value_and_grad(inside))(vectors)
    np.testing.assert_allclose(value, exact(vectors), rtol=1e-12)
    np.testing.assert_allclose(gradient, reference.gradient(exact, vectors), atol=1e-8)
