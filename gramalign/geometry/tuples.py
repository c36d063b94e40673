"""Tuples taken apart: k arrays `[..., d]`, and the small products between them.

A batched matrix product of k x d matrices is mostly overhead where k is far below the hardware's
tile size. Written as sums over whole arrays `[..., d]`, the products of few vectors are a few fused
passes over memory, and neither they nor their transposes ever concatenate or slice. As that is k^2
operations to compile, more vectors are stacked and multiplied as matrices.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision, stop_gradient
from jaxtyping import Array, Bool, Float

from gramalign.geometry.norms import at_least_float32, check_array
from gramalign.mesh import split_as

Rows = Sequence[Float[Array, "*batch d"]]

FEW_PRODUCTS = 36


def take_apart(
    vectors: Float[Array, "*batch k d"], present: Bool[Array, "*batch k"] | None
) -> list[Float[Array, "*batch d"]]:
    """The vectors of tuples in at least float32, with zeros (whatever they held) where absent.

    Raises:
        ValueError: unless `vectors` is floating point `[..., k, d]` and `present` bool `[..., k]`.
        TypeError: for anything but an array, such as a list.
    """
    check_array("vectors", vectors)
    if vectors.ndim < 2:
        raise ValueError(
            f"vectors must be [..., k, d] (k modalities of dimension d), got shape {vectors.shape}"
        )
    if not jnp.issubdtype(vectors.dtype, jnp.floating):
        raise ValueError(f"vectors must be floating point, got {vectors.dtype}")
    if vectors.shape[-2] == 0 or vectors.shape[-1] == 0:
        raise ValueError(
            f"vectors must hold at least one vector of length >= 1, got {vectors.shape}"
        )
    rows = [at_least_float32(row) for row in unstack(vectors, -2)]
    if present is None:
        return rows
    check_array("present", present)
    if present.shape != vectors.shape[:-1]:
        raise ValueError(
            f"present must have the shape of vectors without its last axis, {vectors.shape[:-1]}, "
            f"got {present.shape}"
        )
    if present.dtype != jnp.bool_:
        raise ValueError(f"present must be bool, got {present.dtype}")
    masks = unstack(present, -1)
    return [jnp.where(mask[..., None], row, 0) for mask, row in zip(masks, rows, strict=True)]


def unstack(x: Array, axis: int) -> list[Array]:
    """The slices along an axis; their transpose is a concatenation, that of indexing k paddings."""
    axis %= x.ndim
    return [jnp.squeeze(part, axis) for part in jax.lax.split(x, (1,) * x.shape[axis], axis)]


def first_kept(
    rows: Rows, kept: Bool[Array, "*batch k"]
) -> tuple[Float[Array, "*batch d"], Bool[Array, "*batch k"]]:
    """The first kept vector of each tuple (or the first, if none is), and a mask of its place."""
    first, is_first, sought = rows[0], [], jnp.ones_like(kept[..., 0])
    for m, row in enumerate(rows):
        is_first.append(sought & kept[..., m])
        first = jnp.where(is_first[m][..., None], row, first)
        sought &= ~kept[..., m]
    return first, jnp.stack(is_first, axis=-1)


def nearest_before(rows: Rows, kept: Bool[Array, "*batch k"]) -> list[Float[Array, "*batch d"]]:
    """For each vector of a tuple, the nearest kept one before it; itself if there is none."""
    nearest = []
    for m, row in enumerate(rows):
        near, least = row, jnp.inf
        for i, other in enumerate(rows[:m]):
            distance = jnp.sum(stop_gradient(row - other) ** 2, axis=-1)
            nearer = kept[..., i] & (distance < least)
            near = jnp.where(nearer[..., None], other, near)
            least = jnp.where(nearer, distance, least)
        nearest.append(near)
    return nearest


def inner_products(left: Rows, right: Rows | None = None) -> Float[Array, "*batch k m"]:
    """Inner products between two tuples, or within one, to full precision on every backend."""
    if len(left) * len(right or left) > FEW_PRODUCTS:
        a = jnp.stack(left, axis=-2)
        b = a if right is None else jnp.stack(right, axis=-2)
        return jnp.einsum("...kd,...md->...km", a, b, precision=Precision.HIGHEST)
    if right is None:
        return _symmetric(lambda a, b: jnp.sum(a * b, axis=-1), left)
    return _matrix([[jnp.sum(a * b, axis=-1) for b in right] for a in left])


def squared_distances(rows: Rows) -> Float[Array, "*batch k k"]:
    """Between all vectors of a tuple, from their differences: accurate however close they are."""
    return _symmetric(lambda a, b: jnp.sum((a - b) ** 2, axis=-1), rows)


def _symmetric(entry: Callable[[Array, Array], Array], rows: Rows) -> Float[Array, "*batch k k"]:
    half = {(i, j): entry(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows[: i + 1])}
    numbers = range(len(rows))
    return _matrix([[half[max(i, j), min(i, j)] for j in numbers] for i in numbers])


def _matrix(table: list[list[Float[Array, "*batch"]]]) -> Float[Array, "*batch k m"]:
    flat = jnp.stack([entry for line in table for entry in line], axis=-1)
    return flat.reshape(*flat.shape[:-1], len(table), len(table[0]))


def combine(weights: Float[Array, "*batch m k"], rows: Rows) -> list[Float[Array, "*batch d"]]:
    """Weighted sums of a tuple's vectors, one for every row of the weights."""
    if weights.shape[-2] * len(rows) > FEW_PRODUCTS:
        stacked = jnp.stack(rows, axis=-2)
        sums = jnp.einsum("...mk,...kd->...md", weights, stacked, precision=Precision.HIGHEST)
        return unstack(sums, -2)

    def weighted_sum(line: Array) -> Array:
        # Each number keeps an axis, to broadcast along its vector.
        numbers = jax.lax.split(line, (1,) * len(rows), line.ndim - 1)
        terms = [number * row for number, row in zip(numbers, rows, strict=True)]
        return sum(terms[1:], start=terms[0])

    return [weighted_sum(line) for line in unstack(weights, -2)]


def multiply(
    left: Float[Array, "*batch k m"], right: Float[Array, "*batch m n"]
) -> Float[Array, "*batch k n"]:
    """Products of small matrices, such as k x k, elementwise."""
    return jnp.sum(left[..., :, :, None] * right[..., None, :, :], axis=-2)


def identity(like: Float[Array, "*batch k k"]) -> Float[Array, "*batch k k"]:
    """An identity matrix for every matrix of the batch."""
    eye = np.eye(like.shape[-1], dtype=like.dtype)
    return split_as(jnp.broadcast_to(eye, like.shape), like)
