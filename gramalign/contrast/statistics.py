"""Log-sum-exps under way: what a row (or a column) has met so far, and how two such meet."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gramalign.contrast.blocks import Block
from gramalign.mesh import AxisName, varying_as


class Competition(NamedTuple):
    """Per row (or per column): log-sum-exp of its competitors' logits, their sum, their number."""

    logsumexp: Float[Array, "*n"]
    total: Float[Array, "*n"]
    count: Int[Array, "*n"]


class Running(NamedTuple):
    """A log-sum-exp under way: exp(largest) * sum, with the plain sum and the count beside it."""

    largest: Float[Array, "*n"]
    sum: Float[Array, "*n"]
    total: Float[Array, "*n"]
    count: Int[Array, "*n"]


def start(side: Block, scale: Float[Array, ""]) -> Running:
    """Nothing met yet, for each of a side's examples."""
    shape = side.valid.shape
    zeros = jnp.zeros(shape, scale.dtype)
    nothing = Running(jnp.full_like(zeros, -jnp.inf), zeros, zeros, jnp.zeros(shape, jnp.int32))
    return varying_as(nothing, scale)


def measure(logits: Float[Array, "r c"], mask: Bool[Array, "r c"], axis: int) -> Running:
    """What is met in one tile, along an axis of it."""
    largest = jnp.max(jnp.where(mask, logits, -jnp.inf), axis=axis)
    shift = jnp.expand_dims(_finite_or_zero(largest), axis)
    return Running(
        largest,
        jnp.sum(jnp.where(mask, jnp.exp(logits - shift), 0), axis=axis),
        jnp.sum(jnp.where(mask, logits, 0), axis=axis),
        jnp.sum(mask, axis=axis, dtype=jnp.int32),
    )


def join(a: Running, b: Running) -> Running:
    """What is met in two places together."""
    largest = jnp.maximum(a.largest, b.largest)
    shift = _finite_or_zero(largest)
    total = a.sum * jnp.exp(a.largest - shift) + b.sum * jnp.exp(b.largest - shift)
    return Running(largest, total, a.total + b.total, a.count + b.count)


def finish(running: Running) -> Competition:
    """The log-sum-exps, when all has been met."""
    none = running.sum <= 0  # not > 0: NaN is no absence of competitors
    logsumexp = running.largest + jnp.log(jnp.where(none, 1, running.sum))
    return Competition(jnp.where(none, -jnp.inf, logsumexp), running.total, running.count)


def scatter(everywhere: Running, axis_name: AxisName) -> Running:
    """Join what the columns have met on each device, on the device whose columns they are."""
    # Subtracting the same on all devices cancels out.
    largest = jax.lax.pmax(everywhere.largest, axis_name)
    scaled = everywhere.sum * jnp.exp(everywhere.largest - _finite_or_zero(largest))
    parts = scaled, everywhere.total, everywhere.count
    sums = jax.lax.psum_scatter(parts, axis_name, tiled=True)
    blocks = sums[0].shape[0]
    place = jax.lax.axis_index(axis_name) * blocks
    return Running(jax.lax.dynamic_slice_in_dim(largest, place, blocks), *sums)


def _finite_or_zero(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, 0)
