"""Tuples and embeddings for tests: seeded, unit length, made in float64 and then rounded."""

import jax.numpy as jnp
import numpy as np


def unit(rng, *shape, dtype=np.float64):
    """Random directions."""
    return normalized(rng.normal(size=shape)).astype(dtype)


def normalized(x):
    """Rows of unit length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def close(rng, number, k, d, distance, dtype=np.float64):
    """Unit tuples [number, k, d] that lie about `distance` around a direction of their own."""
    centre = unit(rng, number, 1, d)
    noise = rng.normal(size=(number, k, d)) / np.sqrt(d)
    return normalized(centre + distance * noise).astype(dtype)


def nearly_coplanar(rng, number, k, d, distance, dtype=np.float64):
    """Unit tuples, far apart, whose last vector is about `distance` from the span of the others."""
    others = unit(rng, number, k - 1, d)
    mix = np.einsum("nk,nkd->nd", rng.uniform(0.5, 1.5, size=(number, k - 1)), others)
    last = normalized(mix) + distance * rng.normal(size=(number, d)) / np.sqrt(d)
    return normalized(np.concatenate([others, last[:, None]], axis=1)).astype(dtype)


def orthonormal(rng, k, d, dtype=np.float64):
    """k orthonormal rows."""
    return np.linalg.qr(rng.normal(size=(d, k)))[0].T.astype(dtype)


def embeddings(rng, batch, dim, names="abc", noise=1.0, dtype=np.float32):
    """Modalities that share a direction per example, {name: [batch, dim]}, as numpy."""
    shared = unit(rng, batch, dim)
    return {
        name: normalized(shared + noise * unit(rng, batch, dim)).astype(dtype) for name in names
    }


def by_name(tuples):
    """Tuples [batch, k, d] as embeddings by modality: a, b, ..."""
    return {name: tuples[:, i] for i, name in enumerate("abcdef"[: tuples.shape[1]])}


def as_jax(tree):
    """Numpy arrays of a mapping as JAX arrays, dtypes kept."""
    return {name: jnp.asarray(x) for name, x in tree.items()}


def masks(rng, batch, names="abc"):
    """Presence at random, with an example that has one modality and one that has none."""
    present = {name: rng.uniform(size=batch) < 0.7 for name in names}
    for number, name in enumerate(names):
        present[name][0] = number == 0
        present[name][1] = False
        present[name][2] = True
    return present


def singular_tuples(k, d, dtype=np.float64):
    """Unit tuples [k, d] that span no volume, by name (k >= 4)."""
    rng = np.random.default_rng(1)
    generic, one = unit(rng, k, d), unit(rng, d)

    def changed(index, row):
        return np.where(np.arange(k)[:, None] == index, row, generic)

    tuples = {
        "all alike": np.broadcast_to(one, (k, d)),
        "collinear": np.where(np.arange(k) % 2, -1, 1)[:, None] * one,
        "two alike": changed(2, generic[1]),
        "two opposite": changed(k - 1, -generic[0]),
        "zero first": changed(0, 0),
        "zero later": changed(2, 0),
        "all zero": np.zeros((k, d)),
        "three coplanar": changed(2, normalized(generic[0] - 2 * generic[1])),
        # To the bit: of coordinates that repeat.
        "all coplanar": normalized(rng.normal(size=(k, 2)) @ np.tile(np.eye(2), d // 2)),
    }
    return {name: np.array(x, dtype) for name, x in tuples.items()}


def degenerate_batches(batch, dim):
    """Three modalities [3, batch, dim] whose every example degenerates in the same way, by name."""
    rng = np.random.default_rng(0)
    one, generic = unit(rng, batch, dim), unit(rng, 3, batch, dim)
    bases = np.stack([orthonormal(rng, 3, dim) for _ in range(batch)], axis=1)
    return {
        "identical everywhere": np.broadcast_to(one[0], (3, batch, dim)),
        "aligned": np.broadcast_to(one, (3, batch, dim)),
        "antiparallel": np.array([1, -1, 1])[:, None, None] * one,
        "others alike": generic[[0, 1, 1]],
        "others opposite": np.stack([generic[0], generic[1], -generic[1]]),
        "anchor among the others": generic[[0, 0, 1]],
        "orthonormal": bases,
        "one basis for all": np.broadcast_to(bases[:, :1], (3, batch, dim)),
        "zero anchor": generic * np.array([0, 1, 1])[:, None, None],
        "zero other": generic * np.array([1, 0, 1])[:, None, None],
        "zero": np.zeros((3, batch, dim)),
    }
