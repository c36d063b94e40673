"""Orthonormal bases of tuples: orthonormal, of the same span, zero where nothing is added."""

import jax
import jax.numpy as jnp
import numpy as np

from gramalign.geometry import orthonormal_basis
from tests import reference, samples

K, D = 4, 16

basis_of = jax.jit(orthonormal_basis)


def check(vectors, found, number, tolerance=2e-6):
    """The basis has `number` orthonormal rows, else zeros, and holds all the vectors."""
    basis = np.asarray(found.vectors, np.float64)
    gram = basis @ np.swapaxes(basis, -1, -2)
    lengths = np.round(np.diagonal(gram, axis1=-2, axis2=-1))
    np.testing.assert_allclose(gram, lengths[..., None] * np.eye(gram.shape[-1]), atol=tolerance)
    np.testing.assert_array_equal(lengths.sum(axis=-1), number)
    outside = vectors - vectors @ np.swapaxes(basis, -1, -2) @ basis
    np.testing.assert_allclose(outside, 0, atol=tolerance)


def test_orthonormal_and_spanning_however_close_the_vectors():
    rng = np.random.default_rng(0)
    kinds = [samples.close(rng, 8, K, D, x, np.float32) for x in (1, 1e-2, 1e-4)]
    kinds.append(samples.nearly_coplanar(rng, 8, K, D, 1e-3, np.float32))
    vectors = np.concatenate(kinds)
    found = basis_of(vectors)
    check(vectors, found, K)
    np.testing.assert_allclose(found.volume, reference.volume(vectors), rtol=1e-4)


def test_the_span_of_close_vectors_is_known_in_every_direction():
    """The differences span as much as the vectors do; the basis must hold these, too."""
    vectors = samples.close(np.random.default_rng(0), 8, K, D, 1e-3, np.float32)
    basis = np.asarray(basis_of(vectors).vectors, np.float64)
    differences = samples.normalized(np.diff(vectors.astype(np.float64), axis=1))
    outside = differences - differences @ np.swapaxes(basis, 1, 2) @ basis
    np.testing.assert_allclose(outside, 0, atol=1e-5)


def test_dependent_vectors_add_zero_rows():
    ranks = {
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
    cases = samples.singular_tuples(K, D, np.float32)
    found = basis_of(np.stack(list(cases.values())))
    check(np.stack(list(cases.values())), found, [ranks[name] for name in cases])
    np.testing.assert_array_equal(found.volume, 0)
    np.testing.assert_array_equal(found.log_volume, -np.inf)


def test_absent_vectors_are_zero_rows_and_change_nothing_else():
    vectors = samples.unit(np.random.default_rng(0), 2, K, D, dtype=np.float32)
    present = np.array([[True, False, True, True], [False, False, False, False]])
    broken = np.where(present[..., None], vectors, np.float32(np.nan))
    found = basis_of(jnp.asarray(broken), jnp.asarray(present))
    kept = np.where(present[..., None], vectors, 0)
    check(kept, found, [3, 0])
    np.testing.assert_array_equal(np.asarray(found.vectors)[~present], 0)
    exact = [reference.volume(vectors[0, present[0]]), 1]
    np.testing.assert_allclose(found.volume, exact, rtol=1e-6)


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
