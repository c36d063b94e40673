"""How many digits of a volume survive in float32 as the vectors of a tuple get closer."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float

from gramalign import volume

DISTANCES = (1e-1, 1e-2, 1e-3, 1e-4)


def close_tuples(
    tuples: int, modalities: int, dim: int, distance: float
) -> Float[np.ndarray, "n k d"]:
    """Unit float32 vectors, each `distance` away from the common direction of its tuple."""
    rng = np.random.default_rng([0, modalities, round(-np.log10(distance))])
    shared = _unit(rng.standard_normal((tuples, 1, dim)))
    apart = _unit(rng.standard_normal((tuples, modalities, dim)))
    return _unit(shared + distance * apart).astype(np.float32)


def reference(vectors: Float[np.ndarray, "n k d"]) -> Float[np.ndarray, " n"]:
    """Volumes in float64, by QR of the first vector and the others' differences from it.

    Independent of gramalign, and of Gram matrices: at distance 1e-4 their determinant has few
    digits even in float64.
    """
    exact = vectors.astype(np.float64)
    sheared = np.concatenate([exact[:, :1], exact[:, 1:] - exact[:, :1]], axis=1)
    triangle = np.linalg.qr(sheared.transpose(0, 2, 1), mode="r")
    return np.abs(np.prod(np.diagonal(triangle, axis1=1, axis2=2), axis=1))


def by_determinant(vectors: Float[Array, "n k d"]) -> Float[Array, " n"]:
    """As published: the root of the Gram matrix's determinant, made positive."""
    # By LU as in torch: `jnp.linalg.det` expands 3 x 3 into six products, which loses more.
    return jnp.exp(jnp.linalg.slogdet(_gram(vectors)).logabsdet / 2)


def by_cholesky(vectors: Float[Array, "n k d"]) -> Float[Array, " n"]:
    """The diagonal of the Gram matrix's Cholesky factor, NaN where rounding made it indefinite."""
    diagonal = jnp.diagonal(jnp.linalg.cholesky(_gram(vectors)), axis1=-2, axis2=-1)
    return jnp.prod(diagonal, axis=-1)


METHODS: dict[str, Callable] = {
    "gramalign": jax.jit(volume),
    "determinant": jax.jit(by_determinant),
    "cholesky": jax.jit(by_cholesky),
}


def measure(modalities: int, dim: int, distance: float, tuples: int = 256) -> dict[str, Any]:
    """Median relative error of each method at one distance; None if most results are NaN."""
    vectors = close_tuples(tuples, modalities, dim, distance)
    wanted = reference(vectors)
    errors = {}
    for name, method in METHODS.items():
        got = np.asarray(method(jnp.asarray(vectors)), np.float64)
        error = np.abs(got - wanted) / wanted
        median = float(np.median(np.where(np.isnan(error), np.inf, error)))
        errors[name] = median if np.isfinite(median) else None
    return {
        "modalities": modalities,
        "dim": dim,
        "distance": distance,
        "tuples": tuples,
        "median_relative_error": errors,
    }


def _gram(vectors: Float[Array, "n k d"]) -> Float[Array, "n k k"]:
    return jnp.einsum("nkd,nmd->nkm", vectors, vectors, precision=Precision.HIGHEST)


def _unit(vectors: Float[np.ndarray, "n k d"]) -> Float[np.ndarray, "n k d"]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
