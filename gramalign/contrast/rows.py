"""Rows of a batch by their numbers, from whatever device has them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from gramalign.contrast.blocks import own_numbers, split, unsplit
from gramalign.contrast.engine import DEFAULT_ENGINE, Engine
from gramalign.contrast.exchange import choose, exchange, sums
from gramalign.mesh import AxisName, gathered, varying_as
from gramalign.scores import Side


def rows_at(
    tree: PyTree[Array],
    numbers: Int[Array, " n"],
    *,
    axis_name: AxisName | None = None,
    engine: Engine = DEFAULT_ENGINE,
) -> PyTree[Array]:
    """Rows of a batch by their numbers, from whatever device has them; reverse mode only.

    Args:
        tree: arrays `[batch, ...]`, this device's part of each.
        numbers: of rows of the whole batch; those of no row give zeros.
        axis_name: inside `jax.shard_map`, the mesh axis that the batch is split over.
        engine: by its strategy rows are gathered, or travel from device to device.

    Returns:
        Arrays `[n, ...]`.
    """
    axis = choose(axis_name, engine.strategy, tree)
    if axis is not None and axis.strategy == "ring":
        return _fetched(axis, tree, numbers)

    def taken(x: Array) -> Array:
        return _where((numbers >= 0) & (numbers < len(x)), x[numbers], jnp.zeros_like(x[:1]))

    return jax.tree.map(taken, gathered(tree, axis_name))


def _where(mask: Bool[Array, " n"], x: Array, y: Array) -> Array:
    return jnp.where(jnp.expand_dims(mask, range(1, x.ndim)), x, y)


def _among(
    visiting: Int[Array, "blocks tile"], numbers: Int[Array, " n"]
) -> tuple[Int[Array, " n"], Bool[Array, " n"]]:
    """The places of the wanted rows among the visiting ones, and whether each is there."""
    there = visiting.ravel()  # consecutive, but for padding
    places = jnp.clip(numbers - there[0], 0, len(there) - 1)
    return places, there[places] == numbers


def _fetch(axis, tree, numbers):
    own = own_numbers(jax.tree.leaves(tree)[0].shape[0], axis.name)
    side = Side(tree, jnp.ones(own.shape, bool))
    blocks = varying_as(split(side, own, -(-len(own) // 2), axis, numbers=own), own)

    def visit(found, visiting, _):
        places, here = _among(visiting.numbers(), numbers)
        rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[places], visiting.factors)
        return jax.tree.map(lambda x, y: _where(here, x, y), rows, found), None

    none = jax.tree.map(lambda x: jnp.zeros_like(x, shape=(len(numbers), *x.shape[1:])), tree)
    found, _ = exchange(visit, varying_as(none, numbers), blocks, axis)
    return found, (own, blocks.numbers(), numbers)


def _bring_back(axis, saved, slopes):
    own, offered, numbers = saved
    slopes = jax.tree.map(lambda d: None if d.dtype == jax.dtypes.float0 else d, slopes)

    def nothing(visiting):
        def zeros(d):
            return varying_as(jnp.zeros((*visiting.shape, *d.shape[1:]), d.dtype), d)

        return jax.tree.map(zeros, slopes)

    def visit(_, visiting, totals):
        places, here = _among(visiting, numbers)

        def add(d, total):
            flat = total.reshape(-1, *d.shape[1:])
            return flat.at[places].add(_where(here, d, jnp.zeros_like(d[:1]))).reshape(total.shape)

        return None, jax.tree.map(add, slopes, totals)

    _, totals = exchange(visit, None, offered, axis, sums(nothing))
    return unsplit(totals, len(own)), None


# A custom derivative, because that of a loop would store every device's visit.
_fetched = jax.custom_vjp(lambda *arguments: _fetch(*arguments)[0], nondiff_argnums=(0,))
_fetched.defvjp(_fetch, _bring_back)
