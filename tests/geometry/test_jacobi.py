"""The batched eigenproblem, on the matrices that are hard for it."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramalign.geometry.jacobi import eigh
from tests import samples

NUMBER = 100
solved = jax.jit(eigh)
KINDS = (
    "free",
    "aligned",
    "low rank",
    "one repeated value",
    "all alike",
    "orthonormal",
    "of all lengths",
    "zero",
)


def tuples(kind, k):
    """Vectors `[number, k, d]` whose Gram matrices are to be solved."""
    rng = np.random.default_rng(k)
    d = max(k, 8)
    free = rng.normal(size=(NUMBER, k, d))
    match kind:
        case "free":
            return free
        case "aligned":
            return samples.close(rng, NUMBER, k, d, 1e-3)
        case "low rank":
            return free[..., :2] @ rng.normal(size=(NUMBER, 2, d))
        case "one repeated value":
            return np.eye(k, d) + rng.uniform(-0.1, 0.9, size=(NUMBER, 1, 1))
        case "all alike":
            return np.broadcast_to(free[:, :1], free.shape)
        case "orthonormal":
            return np.linalg.qr(free.mT)[0].mT
        case "of all lengths":
            return free * 10.0 ** rng.uniform(-4, 4, size=(NUMBER, k, 1))
        case "zero":
            return 0 * free


# No pair, one, two with and without a row of zeros, four, eight.
@pytest.mark.parametrize(
    ("k", "dtype"),
    [*((k, np.float32) for k in (1, 2, 3, 4, 7, 16)), (3, np.float64), (8, np.float64)],
)
def test_hard_matrices(k, dtype):
    vectors = np.concatenate([tuples(kind, k) for kind in KINDS])
    gram = (vectors @ vectors.mT).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        values, rotation = (np.asarray(x, np.float64) for x in solved(gram))
    gram = gram.astype(np.float64)
    size = np.linalg.norm(gram, 2, axis=(1, 2), keepdims=True)
    rounding = 3 * k * np.finfo(dtype).eps
    diagonal = values[:, :, None] * np.eye(k)
    assert np.all(np.abs(rotation @ gram @ rotation.mT - diagonal) <= rounding * size)
    np.testing.assert_allclose(rotation @ rotation.mT, diagonal * 0 + np.eye(k), atol=rounding)


@pytest.mark.parametrize("k", [3, 8])
def test_short_vectors_keep_their_digits(k):
    """Nearly orthogonal vectors of lengths from 1e-4 to 1e4: each value to relative precision."""
    rng = np.random.default_rng(k)
    directions = tuples("orthonormal", k)
    directions = directions + 1e-2 * rng.normal(size=directions.shape)
    lengths = 10.0 ** rng.uniform(-4, 4, size=(NUMBER, k, 1))
    vectors = (lengths * directions).astype(np.float32)
    exact = np.linalg.svd(vectors.astype(np.float64), compute_uv=False) ** 2
    products = np.einsum("bkd,bmd->bkm", *[vectors.astype(np.float64)] * 2).astype(np.float32)
    values = np.sort(np.asarray(solved(products)[0]), axis=1)[:, ::-1]
    np.testing.assert_allclose(values, exact, rtol=1e-5)


def test_no_matrix_depends_on_those_beside_it():
    vectors = [tuples(kind, 4) for kind in ("free", "low rank", "of all lengths")]
    grams = [jnp.asarray(x @ x.mT, jnp.float32) for x in vectors]
    first = solved(jnp.concatenate(grams))
    again = solved(jnp.concatenate([grams[0], jnp.full_like(grams[1], jnp.nan), grams[0][::-1]]))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a[:NUMBER], b[:NUMBER])


def test_any_batch_shape():
    gram = jnp.asarray(tuples("free", 3)[:6] @ tuples("free", 3)[:6].mT, jnp.float32)
    values, rotation = solved(gram)
    for shape in ((), (2, 3), (0,)):
        size = math.prod(shape)
        found = solved(gram[:size].reshape(*shape, 3, 3))
        np.testing.assert_allclose(found[0].reshape(-1, 3), values[:size], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(found[1].reshape(-1, 3, 3), rotation[:size], atol=1e-5)


@pytest.mark.parametrize(("size", "dtype"), [(8, np.float32), (16, np.float32), (8, np.float64)])
def test_matrices_found_by_a_search_for_slow_convergence(size, dtype):
    """Vectors that an evolutionary search bred for what few sweeps leave beside the diagonal."""
    with np.load(Path(__file__).parent / "slow_jacobi.npz") as found:
        vectors = np.stack([found[name] for name in found if name.startswith(f"k{size}_")])
    vectors = vectors.astype(dtype)
    gram = np.einsum("nkd,nmd->nkm", vectors, vectors)
    with jax.enable_x64(dtype == np.float64):
        values, rotation = (np.asarray(x, np.float64) for x in solved(gram))
    gram, epsilon = gram.astype(np.float64), np.finfo(dtype).eps
    exact = np.linalg.eigvalsh(gram)[:, ::-1]
    np.testing.assert_allclose(values, exact, atol=8 * epsilon * exact.max())
    beside = rotation @ gram @ rotation.mT * (1 - np.eye(size))
    assert (np.abs(beside).max(axis=(1, 2)) <= 80 * epsilon * exact[:, 0]).all()
    np.testing.assert_allclose(np.linalg.norm(rotation, axis=2), 1, atol=2 * epsilon)
